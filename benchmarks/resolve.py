"""Resolving an alias: ours over REST against MLflow's own client, in the same run against one local server.

The same facts on both sides: the version by alias, its logged model, the listing of its files.
`python -m benchmarks.resolve [PYTHON]`, where PYTHON is one that has mlflow-skinny alone: it imports faster than mlflow.
In one process the server's time is both sides' time, so nothing but fewer calls could help there.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Result:
    """Medians in seconds."""

    what: str
    ours: float
    peer: float

    @property
    def ratio(self) -> float:
        return self.ours / self.peer


def measure(peer: str = sys.executable) -> list[Result]:
    """In one process after imports and first use; and as a new process, imports included, where `peer` is MLflow's Python."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server:
        server.train("iris", alias="champion")
        os.environ.update(_environ(server))
        ours, theirs = _prepared(OURS), _prepared(PEER)
        if ours() != theirs():
            raise AssertionError(f"not the same facts: {ours()} and {theirs()}")
        inside = _alternating([ours, theirs], ROUNDS_IN_PROCESS)
        fresh = _alternating([_process(sys.executable, OURS), _process(peer, PEER)], ROUNDS_FRESH)
    return [Result("in one process, after imports", *inside), Result("a new process, imports included", *fresh)]


def markdown(results: Sequence[Result]) -> str:
    lines = ["| resolve an alias | promoter | MLflow's client | ratio |", "|---|---|---|---|"]
    lines += [f"| {r.what} | {r.ours * 1000:.0f} ms | {r.peer * 1000:.0f} ms | {r.ratio:.2f} |" for r in results]
    return "\n".join(lines)


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
    print(markdown(measure(*sys.argv[1:2])))
