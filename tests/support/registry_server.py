"""A real container registry (`docker-registry`) for one test, with or without a password, on a free loopback port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

USERNAME, PASSWORD = "promoter", "correct-horse"
_START_SECONDS = 30


@dataclass(frozen=True)
class RegistryServer:
    host: str
    root: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}"


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry that anybody may push to; one for all tests, which use repositories of their own."""
    with running(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def private_registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry that wants USERNAME and PASSWORD."""
    root = tmp_path_factory.mktemp("private-registry")
    if shutil.which("htpasswd") is None:
        pytest.skip("htpasswd (package apache2-utils) is not installed")
    line = subprocess.run(["htpasswd", "-Bbn", USERNAME, PASSWORD], capture_output=True, check=True).stdout
    (root / "htpasswd").write_bytes(line)
    with running(root, f"auth:\n  htpasswd:\n    realm: test\n    path: {root}/htpasswd\n") as server:
        yield server


@contextmanager
def running(root: Path, auth: str = "") -> Iterator[RegistryServer]:
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        pytest.skip("docker-registry (package docker-registry) is not installed")
    server = RegistryServer(f"127.0.0.1:{_free_port()}", root)
    config = root / "config.yml"
    config.write_text(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"
        f"storage:\n  filesystem:\n    rootdirectory: {root}/data\n  delete:\n    enabled: true\n"
        f"http:\n  addr: {server.host}\n{auth}"
    )
    with (root / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
        try:
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            process.wait()


def _wait(server: RegistryServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            requests.get(f"{server.url}/v2/", timeout=1)
        except requests.exceptions.ConnectionError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"docker-registry did not start: {(server.root / 'log').read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
