"""The real thing on the cluster: promoter's own images of a Python model, on the shipped base, measured by a real Prometheus."""

from __future__ import annotations

import json
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.cluster import ENVIRON, Cluster, eventually
from tests.cluster.command import Promoter
from tests.cluster.environment import Environment
from tests.cluster.images import Service
from tests.cluster.manifests import application, namespace, project, promoter_for, write_files
from tests.cluster.model_versions import MODEL
from tests.cluster.traffic import Traffic
from tests.support.docker_engine import DockerEngine, PythonBase
from tests.support.mlflow_server import MlflowServer

FIRST, SECOND, DRIFTING, SLOW, LEAKING, BROKEN = "1", "2", "3", "4", "5", "6"
BEHAVIOURS = {FIRST: "good", SECOND: "good", DRIFTING: "drifts", SLOW: "slow", LEAKING: "leaks", BROKEN: "broken"}

_WHEELS = str(Path.home() / ".cache" / "pip")  # the person's own: tests have another home

# The example that is logged with the model is none of the rows that some versions fail on.
_EXAMPLE = {"x": [1.0, 2.0], "y": [3.0, 4.0]}
_EXPECTED = {"predictions": [5.0, 8.0]}
_LEAKS_AT = 10.0
_CODE = f"""\
import os
import time
from pathlib import Path

import mlflow.models
import mlflow.pyfunc


class Score(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.behaviour = Path(context.artifacts["behaviour"]).read_text()
        # Where the image is tried before it is published there is no cluster: there it loads.
        if self.behaviour == "broken" and "KUBERNETES_SERVICE_HOST" in os.environ:
            raise ValueError("the weights can't be read")

    def predict(self, context, model_input, params=None):
        if self.behaviour == "slow":
            time.sleep(0.5)
        if self.behaviour == "leaks" and (model_input["x"] >= {_LEAKS_AT}).any():
            raise RuntimeError("a branch that nobody tried")
        factor = 3.0 if self.behaviour == "drifts" else 2.0
        return (factor * model_input["x"] + model_input["y"]).to_numpy()


mlflow.models.set_model(Score())
"""


def row(number: int) -> bytes:
    """The body of a client's request; one of five asks for what the leaking version fails on."""
    x = _LEAKS_AT if number % 5 == 0 else 1.0
    return json.dumps({"dataframe_split": {"columns": ["x", "y"], "data": [[x, 3.0]]}}).encode()


def register(server: MlflowServer) -> None:
    """Registers every version: the files differ in one that sets how it behaves."""
    files = _files()
    for number, behaviour in BEHAVIOURS.items():
        changed = {"artifacts/behaviour": behaviour.encode(), "serving_output_example.json": json.dumps(_EXPECTED).encode()}
        model = server.log_model({**files, **changed, "version": number.encode()})
        assert server.register(MODEL, f"models:/{model}") == number


def _files() -> dict[str, bytes]:
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as name:
        warnings.simplefilter("ignore")  # MLflow's, of type hints
        import mlflow.pyfunc
        import numpy
        import pandas
        from mlflow.models import infer_signature

        folder = Path(name)
        (folder / "behaviour").write_text("good")
        (folder / "score.py").write_text(_CODE)
        example = pandas.DataFrame(_EXAMPLE)
        mlflow.pyfunc.save_model(
            folder / "model",
            python_model=str(folder / "score.py"),
            artifacts={"behaviour": str(folder / "behaviour")},
            signature=infer_signature(example, numpy.array(_EXPECTED["predictions"])),
            input_example=example,
            pip_requirements=[f"{package}=={installed(package)}" for package in ("mlflow", "numpy", "pandas")],
        )
        return {
            file.relative_to(folder / "model").as_posix(): file.read_bytes()
            for file in (folder / "model").rglob("*")
            if file.is_file()
        }


@dataclass(frozen=True)
class Images:
    """Where images of these tests are published, on which base, and by which engine."""

    repository: str
    base: str
    engine: DockerEngine

    @classmethod
    def prepare(cls, registry: str, engine: DockerEngine, python: PythonBase) -> Images:
        """Pushes the base image to a repository that no other session uses."""
        prefix = f"{registry}/promoter-test-{uuid.uuid4().hex[:8]}"
        base = f"{prefix}/python"
        engine.client.import_image_from_file(str(python.tar), repository=base, tag=python.python)
        for line in engine.client.push(base, tag=python.python, stream=True, decode=True):
            assert "error" not in line, line
        return cls(f"{prefix}/fraud-detector", f"{base}:{python.python}", engine)

    def configured(self, promoter: Promoter) -> Promoter:
        """The same promoter with its images built by the engine; pip finds its index by this machine's own settings."""
        file = promoter.folder / "promoter.yaml"
        settings: dict[str, Any] = yaml.safe_load(file.read_text())
        settings["models"][MODEL]["image"] = self.repository
        del settings["image"]["runtime"]
        settings["image"]["base"] = self.base
        file.write_text(yaml.safe_dump(settings))
        machine = {key: value for key, value in ENVIRON.items() if key.startswith(("PIP_", "UV_", "SSL_", "REQUESTS_CA"))}
        found = {"PIP_CACHE_DIR": _WHEELS, **machine, "DOCKER_HOST": self.engine.host}
        return Promoter(promoter.folder, {**promoter.environ, **found})


class InferenceEnvironment(Environment):
    """An environment whose every release is one of promoter's own images, asked for predictions all the time."""

    def begin(self) -> None:
        """Everything that it consists of, with the first version live."""
        self.repository.commit("Begin with what promoter ships", lambda root: write_files(root, self.name, self.variant))
        self.cluster.apply(project(self.cluster, self.name, self.repository.url), namespace(self.name))
        self.commit(FIRST, ARGOCD_SERVER="")  # or it would ask for an Application that is not there yet
        self.bootstrap()
        eventually("the first release is live", lambda: self.is_live(self.overlay_digest()), seconds=240)
        self.before = self.snapshot()
        self.traffic = Traffic(self.cluster.node, self.node_ports(), row)
        eventually("the Service answers", self.traffic.answers)
        self._stack.enter_context(self.traffic)

    def pulls(self) -> Iterator[str]:
        """What the kubelet reports of images that it had to pull."""
        for event in self.events("Pulled"):
            if "Successfully pulled" in event["message"]:
                yield str(event["message"])

    def analysis_runs(self) -> list[Mapping[str, Any]]:
        return [run["status"] for run in self.cluster.list("analysisruns.argoproj.io", self.name) if "status" in run]

    def failed_metrics(self) -> set[str]:
        """The metrics that failed an analysis."""
        results = [result for run in self.analysis_runs() for result in run.get("metricResults", [])]
        return {result["name"] for result in results if result["phase"] in ("Failed", "Error")}


@contextmanager
def environment(
    cluster: Cluster, service: Service, images: Images, mlflow: MlflowServer, folder: Path, variant: str
) -> Iterator[InferenceEnvironment]:
    from tests.cluster.repository import GitRepository

    name = f"promoter-test-{uuid.uuid4().hex[:8]}"
    url = f"{cluster.git_url}/{name}.git"
    manifest = application(cluster, name, url)
    made = InferenceEnvironment(
        cluster=cluster,
        name=name,
        variant=variant,
        service=service,
        repository=GitRepository.create(cluster.git_root / f"{name}.git", folder / "clone", url),
        promoter=images.configured(promoter_for(cluster, service, folder / "promoter", manifest, mlflow.environ)),
    )
    try:
        made.begin()
        yield made
    finally:
        made.remove()
