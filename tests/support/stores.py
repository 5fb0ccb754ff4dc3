"""Object stores on loopback ports: emulators of S3, Google Cloud Storage and Azure Blob, and a Python that can reach them.

That Python (`.tools/stores`, made by .ci/models) has promoter's packages and the clients of all three.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.support.progress import while_it_works
from tests.support.serving import free_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".tools/stores/bin/python"
_AZURITE = ROOT / ".tools/azurite/node_modules/.bin/azurite-blob"
_ACCOUNT = "devstoreaccount1"
# Azurite's own key, which its documentation names: a secret to nobody.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_MAKE_CONTAINER = """
import sys
from azure.storage.blob import BlobServiceClient
BlobServiceClient.from_connection_string(sys.argv[1]).create_container("models")
"""


@dataclass(frozen=True)
class ObjectStore:
    """`uri` is the place for models in it, `environ` what a client needs to get there."""

    uri: str
    environ: Mapping[str, str]

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """The Python that has this store's client, with promoter's sources; its end is for the caller to judge."""
        kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
        return subprocess.run(
            [PYTHON, *map(str, arguments)],
            env={**kept, **self.environ},
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def s3(folder: Path) -> Iterator[ObjectStore]:
    """moto's server: https://docs.getmoto.org/en/latest/docs/server_mode.html"""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _running([_python(), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], url, folder):
        assert requests.put(f"{url}/models", timeout=60).ok
        names = {"AWS_ACCESS_KEY_ID": "ann", "AWS_SECRET_ACCESS_KEY": "of-the-emulator", "AWS_DEFAULT_REGION": "us-east-1"}
        yield ObjectStore("s3://models", {"MLFLOW_S3_ENDPOINT_URL": url, **names})


@contextmanager
def gcs(folder: Path) -> Iterator[ObjectStore]:
    """https://github.com/oittaa/gcp-storage-emulator"""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "models"]
    with _running([_python().with_name("gcp-storage-emulator"), "start", *options], url, folder):
        yield ObjectStore("gs://models", {"STORAGE_EMULATOR_HOST": url, "GOOGLE_CLOUD_PROJECT": "models"})


@contextmanager
def azure(folder: Path) -> Iterator[ObjectStore]:
    """https://github.com/Azure/Azurite"""
    if not _AZURITE.exists() or not shutil.which("node"):
        pytest.skip("no Azurite is here (.ci/models installs it into .tools where npm is)")
    _python()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    connection = f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={url}/{_ACCOUNT};"
    store = ObjectStore(f"wasbs://models@{_ACCOUNT}.blob.core.windows.net", {"AZURE_STORAGE_CONNECTION_STRING": connection})
    with _running([_AZURITE, "--location", folder / "azurite", *options], url, folder):
        made = store.run("-c", _MAKE_CONTAINER, connection)
        assert made.returncode == 0, made.stderr
        yield store


KINDS = {"S3": s3, "Google Cloud Storage": gcs, "Azure Blob": azure}


def _python() -> Path:
    if not PYTHON.exists():
        pytest.skip("no emulators of object stores are here (.ci/models installs them into .tools)")
    return PYTHON


@contextmanager
def _running(command: list[Path | str], url: str, folder: Path) -> Iterator[None]:
    log = folder / "store.log"
    kept = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=kept, cwd=folder, stdout=output, stderr=output, start_new_session=True)
    try:
        for _ in while_it_works(process):
            with suppress(requests.exceptions.RequestException):
                requests.get(url, timeout=5)
                break
        else:
            pytest.fail(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
