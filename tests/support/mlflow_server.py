"""A real MLflow server on a loopback port, and ways to fill it quickly. Import the fixture `mlflow_server` to have one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from tests.support.progress import while_it_works

READY = "LOGGED_MODEL_READY"
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
# Webhooks may go to loopback, and a new one counts at once. The key is for tests and secret to nobody.
_WEBHOOKS = {
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}


@dataclass(frozen=True)
class MlflowServer:
    """`database` is its SQLite file, `artifacts` the folder it serves model files from."""

    url: str
    database: Path
    artifacts: Path

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs to find it, and no credentials file of the person who runs the tests."""
        return {"MLFLOW_TRACKING_URI": self.url, "HOME": str(self.artifacts.parent)}

    def api(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """One REST call under /api/2.0/mlflow."""
        query, sent = (body, None) if method == "GET" else (None, body)
        answer = requests.request(method, f"{self.url}/api/2.0/mlflow/{path}", timeout=60, params=query, json=sent)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json()) if answer.content else {}

    def create_run(self, metrics: Mapping[str, float] | None = None) -> str:
        """A finished run with these metrics; gives its id."""
        run = self.api("POST", "runs/create", experiment_id="0", start_time=0)["run"]["info"]["run_id"]
        for key, value in (metrics or {}).items():
            self.api("POST", "runs/log-metric", run_id=run, key=key, value=value, timestamp=1, step=0)
        self.api("POST", "runs/update", run_id=run, status="FINISHED", end_time=1)
        return str(run)

    def create_experiment(self, name: str, artifact_location: str) -> str:
        """An experiment whose files lie at this URI instead of behind the server; gives its id."""
        return str(self.api("POST", "experiments/create", name=name, artifact_location=artifact_location)["experiment_id"])

    def log_model(
        self,
        files: Mapping[str, bytes] | None = None,
        *,
        experiment_id: str = "0",
        run_id: str | None = None,
        status: str = READY,
        metrics: Mapping[str, float] | None = None,
    ) -> str:
        """A logged model with these files, a small scikit-learn classifier by default; gives its id."""
        body = {"source_run_id": run_id} if run_id else {}
        info = self.api("POST", "logged-models", experiment_id=experiment_id, name="model", **body)["model"]["info"]
        content = sklearn_files(info["model_id"], run_id=run_id) if files is None else files
        self.put(info["artifact_uri"], content)
        for key, value in (metrics or {}).items():
            where = {"run_id": run_id, "model_id": info["model_id"]}
            self.api("POST", "runs/log-metric", key=key, value=value, timestamp=1, step=0, **where)
        if status != "LOGGED_MODEL_PENDING":
            self.api("PATCH", f"logged-models/{info['model_id']}", model_id=info["model_id"], status=status)
        return str(info["model_id"])

    def put(self, artifact_uri: str, files: Mapping[str, bytes]) -> None:
        """Writes files to where a model has its own, through the server or into a folder of this machine."""
        parts = urlsplit(artifact_uri)
        for path, content in files.items():
            if parts.scheme == "mlflow-artifacts":
                url = f"{self.url}/api/2.0/mlflow-artifacts/artifacts{quote(f'{parts.path}/{path}')}"
                assert requests.put(url, data=content, timeout=60).ok
            else:
                file = Path(parts.path, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)

    def register(self, name: str, source: str, *, run_id: str | None = None, alias: str | None = None, **tags: str) -> str:
        """A version of a registered model from `models:/m-...`, `models:/name/1` or another URI; gives its number."""
        found = requests.get(f"{self.url}/api/2.0/mlflow/registered-models/get", params={"name": name}, timeout=60)
        if found.status_code == 404:
            self.api("POST", "registered-models/create", name=name)
        written = [{"key": key, "value": value} for key, value in tags.items()]
        body = {"run_id": run_id} if run_id else {}
        if source.startswith("models:/m-"):
            body["model_id"] = source.removeprefix("models:/")
        version = self.api("POST", "model-versions/create", name=name, source=source, tags=written, **body)["model_version"]
        if alias:
            self.set_alias(name, alias, version["version"])
        return str(version["version"])

    def train(self, name: str, *, alias: str | None = None, metrics: Mapping[str, float] | None = None, **tags: str) -> str:
        """Run, logged scikit-learn model and registered version in one; gives the version's number."""
        run = self.create_run(metrics)
        return self.register(name, f"models:/{self.log_model(run_id=run)}", run_id=run, alias=alias, **tags)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self.api("POST", "registered-models/alias", name=name, alias=alias, version=version)

    def set_stage(self, name: str, version: str, stage: str) -> None:
        body = {"name": name, "version": version, "stage": stage, "archive_existing_versions": False}
        self.api("POST", "model-versions/transition-stage", **body)

    def set_status(self, name: str, version: str, status: str, message: str) -> None:
        """What only Databricks does by itself: a version that is not READY."""
        with closing(sqlite3.connect(self.database, timeout=60)) as database, database:
            statement = "update model_versions set status = ?, status_message = ? where name = ? and version = ?"
            assert database.execute(statement, (status, message, name, version)).rowcount == 1

    def set_source(self, name: str, version: str, uri: str) -> None:
        """Where a version's files are, as servers before 3.17 take it from anybody who registers one."""
        with closing(sqlite3.connect(self.database, timeout=60)) as database, database:
            statement = "update model_versions set source = ?, storage_location = ? where name = ? and version = ?"
            assert database.execute(statement, (uri, uri, name, version)).rowcount == 1


def sklearn_files(model_id: str | None = None, *, run_id: str | None = None) -> dict[str, bytes]:
    """The files that mlflow.sklearn writes for a classifier of two columns, `x` and `y`: it predicts whether x + y > 1."""
    os.environ.update(_QUIET)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # scikit-learn's, pandas' and MLflow's deprecations among themselves do not concern these tests.
        warnings.simplefilter("ignore")
        import mlflow.sklearn
        import pandas
        from mlflow.models import Model, infer_signature
        from sklearn.linear_model import LogisticRegression

        rows = pandas.DataFrame({"x": [0.0, 0.2, 0.8, 1.0], "y": [0.0, 0.4, 0.6, 1.0]})
        labels = [0, 0, 1, 1]
        path = Path(folder, "model")
        mlflow.sklearn.save_model(
            LogisticRegression().fit(rows, labels),
            path,
            mlflow_model=Model(model_id=model_id, run_id=run_id),
            signature=infer_signature(rows, labels),
            input_example=rows.head(1),
            pip_requirements=[f"scikit-learn=={importlib.metadata.version('scikit-learn')}"],
        )
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@contextmanager
def running(folder: Path, python: str = sys.executable, **environ: str) -> Iterator[MlflowServer]:
    """An MLflow server that keeps its things in `folder` and ends with the block; `environ` sets more of its settings.

    `python` is the program that has the MLflow to run.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = MlflowServer(f"http://127.0.0.1:{port}", folder / "mlflow.db", folder / "artifacts")
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{server.database}", "--artifacts-destination", str(server.artifacts)]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PYTHONWARNINGS"))}
    log = folder / "server.log"
    with log.open("wb") as output:
        # A session of its own: MLflow starts processes, which have to end with it.
        process = subprocess.Popen(
            command, env=kept | _QUIET | _WEBHOOKS | environ, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait(server.url, process, log)
        yield server
    finally:
        _end(process)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in while_it_works(process):
        with suppress(requests.exceptions.RequestException):
            if requests.get(f"{url}/health", timeout=5).ok:
                return
    pytest.fail(f"the MLflow server did not start:\n{log.read_text()[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


OLDER = ("2.22.0", "3.5.0")
"""Versions that take any place for a version's files from anybody who registers one."""


@contextmanager
def older_mlflow(version: str, folder: Path) -> Iterator[MlflowServer]:
    """A server of another MLflow than the one that is installed; the test is skipped where it is not here."""
    python = Path(__file__).parents[2] / f".tools/mlflow-{version}/bin/python"
    if not python.exists():
        pytest.skip(f"no MLflow {version} is here (.ci/run installs it into .tools)")
    with running(folder, str(python)) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One MLflow server for the whole run: give models names of your own."""
    missing = [module for module in ("mlflow", "sklearn", "sqlalchemy", "uvicorn") if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"no MLflow server on this machine: {', '.join(missing)} missing")
    with running(tmp_path_factory.mktemp("mlflow")) as server:
        yield server
