"""Resolving an alias: promoter over REST and MLflow's own client (mlflow-skinny) in the same run against one local server.

The same facts on both sides: the version by alias, its logged model, the listing of its files. In one process the server's
time is both sides' time, so nothing but fewer calls could help there; a new process is what a pipeline's step pays.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import Figure, Section
from tests.support.mlflow_server import MlflowServer, running

ROUNDS_IN_PROCESS, ROUNDS_FRESH = 30, 7

OURS = """
import os
from datetime import datetime, UTC
from promoter.model_registry.rest import RestStore
from promoter.model_registry.settings import read
def setup():
    return RestStore(read(os.environ))
def facts(store):
    version = store.by_alias("iris", "champion")
    logged = store.logged_model(version.source.removeprefix("models:/"))
    # A version created in 1970 has no lasting ETag: the listing alone, as on the other side, and one first byte more.
    files = store.artifacts(logged.artifact_uri).list(datetime(1970, 1, 1, tzinfo=UTC))
    return version.version, logged.status, sorted(file.path for file in files)
"""

PEER = """
import os
from mlflow import MlflowClient
def setup():
    return MlflowClient()
def facts(client):
    version = client.get_model_version_by_alias("iris", "champion")
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    files = client.list_logged_model_artifacts(logged.model_id)
    return str(version.version), str(logged.status.value), sorted(file.path for file in files)
"""


def measure() -> Section:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server:
        peer = _skinny(Path(folder, "skinny"))
        server.train("iris", alias="champion")
        os.environ.update(_environ(server))
        ours, theirs = _prepared(OURS), _prepared(PEER)
        if ours() != theirs():
            raise AssertionError(f"not the same facts: {ours()} and {theirs()}")
        inside = _alternating([ours, theirs], ROUNDS_IN_PROCESS)
        fresh = _alternating([_process(sys.executable, OURS), _process(peer, PEER)], ROUNDS_FRESH)
    return Section(
        title="Resolving an alias over HTTP (median of calls in turn)",
        rows=(
            ("promoter, in one process after imports", _ms(inside[0])),
            ("MlflowClient, in one process after imports", _ms(inside[1])),
            ("promoter, a new process with its imports", _ms(fresh[0])),
            ("MlflowClient of mlflow-skinny, a new process with its imports", _ms(fresh[1])),
        ),
        figures=(
            Figure("promoter / MlflowClient, in one process", inside[0] / inside[1], at_most=0.15),
            Figure("promoter / MlflowClient of mlflow-skinny, new processes", fresh[0] / fresh[1], at_most=0.15),
        ),
        notes=(
            "In one process both wait for the same answers of the same server: the ratio there can't be far from 1.",
            "What differs is the client: importing MLflow's costs more than everything that promoter does.",
        ),
    )


def _skinny(folder: Path) -> str:
    """A Python with mlflow-skinny alone, of the version that is installed here: it imports faster than all of mlflow."""
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    wanted = f"mlflow-skinny=={version('mlflow-skinny')}"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wanted], check=True)
    return python


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _environ(server: MlflowServer) -> dict[str, str]:
    return {**server.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}


def _prepared(source: str) -> Callable[[], object]:
    namespace: dict[str, Callable[..., object]] = {}
    exec(compile(source, "<benchmark>", "exec"), namespace)
    client = namespace["setup"]()
    return lambda: namespace["facts"](client)


def _process(python: str, source: str) -> Callable[[], object]:
    return lambda: subprocess.run([python, "-c", source + "\nfacts(setup())"], check=True, capture_output=True)


def _alternating(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median of each; in turns, so that whatever else the machine does meets both alike. The first round warms up."""
    seconds: list[list[float]] = [[] for _ in calls]
    for round_number in range(rounds + 1):
        for call, taken in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            if round_number:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


if __name__ == "__main__":
    print(measure().markdown())
