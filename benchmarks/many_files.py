"""A version of 1,500 files behind MLflow's server: promoter resolves it, and MLflow's own client lists its files, in one run.

promoter also asks for the ETag of each file, sixteen at a time, and does without any where that takes too long: then the files
are read again to know whether they have changed.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figure, Section
from promoter.model_registry import ModelReference, connect
from tests.support.mlflow_server import MlflowServer, running

_FILES, _FOLDERS, _ROUNDS = 1500, 30, 5


def measure() -> Section:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server:
        model_id = _registered(server)
        os.environ.update({**server.environ, "MLFLOW_DISABLE_TELEMETRY": "true"})
        found = connect(os.environ)
        ours = _median(lambda: len(found.resolve(ModelReference("vocabulary", alias="champion")).files))
        theirs = _median(lambda: _listed(model_id))
    return Section(
        title=f"Resolving a version of {_FILES:,} files (median of {_ROUNDS})",
        rows=(
            ("promoter, with an ETag of each file where the server gives them in time", f"{ours:.2f} s"),
            ("MlflowClient.list_artifacts, folder by folder", f"{theirs:.2f} s"),
        ),
        figures=(Figure("promoter", ours, at_most=5, unit="s"),),
    )


def _registered(server: MlflowServer) -> str:
    model_id = server.log_model()
    uri = server.api("GET", f"logged-models/{model_id}")["model"]["info"]["artifact_uri"]
    texts = {f"texts/{number % _FOLDERS}/{number}.txt": f"{number}\n".encode() for number in range(_FILES)}
    server.put(uri, texts)
    server.register("vocabulary", f"models:/{model_id}", alias="champion")
    return model_id


def _listed(model_id: str) -> int:
    """As a person would: MLflow's client lists one folder at a time."""
    from mlflow import MlflowClient

    client, folders, files = MlflowClient(), [""], 0
    while folders:
        for entry in client.list_logged_model_artifacts(model_id, folders.pop() or None):
            if entry.is_dir:
                folders.append(entry.path)
            else:
                files += 1
    return files


def _median(call: Callable[[], int]) -> float:
    taken = []
    for _ in range(_ROUNDS + 1):  # the first one warms up
        start = time.perf_counter()
        if call() < _FILES:
            raise AssertionError("not every file was found")
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])
