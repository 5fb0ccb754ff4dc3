"""Environments in which models of older MLflow are served, made of what promoter's own reading of their requirements asks for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promoter.image.runtime.requirements import read_requirements
from tests.support.models import listing, model_version, store

_TOOLS = Path(__file__).parents[2] / ".tools"
_UV = Path(sys.executable).with_name("uv")
# What MLflow's own server of those versions needs, and mlflow-skinny does not bring.
_REFERENCE = ("flask<3", "werkzeug<3", "sqlalchemy<2.1", "querystring_parser")
_MAKE = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow, mlflow.pyfunc, pandas
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, Schema

class Sums(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if (model_input["a"] == 666).any():
            raise KeyError("feature_table")
        return (model_input["a"] * 2 + model_input["b"]).to_numpy()

rows = pandas.DataFrame({"a": [1.0, 2.5], "b": [3, 4]})
signature = ModelSignature(Schema([ColSpec("double", "a"), ColSpec("long", "b")]), Schema([ColSpec("double")]))
mlflow.pyfunc.save_model(sys.argv[1], python_model=Sums(), signature=signature, input_example=rows, pip_requirements=["mlflow"])
"""
_ASK = """
import json, sys, warnings
warnings.simplefilter("ignore")
from mlflow.pyfunc import load_model, scoring_server

client = scoring_server.init(load_model(sys.argv[1])).test_client()
answers = []
for kind, body in json.load(sys.stdin):
    answer = client.post("/invocations", data=body.encode(), content_type=kind)
    answers.append([answer.status_code, json.loads(answer.data) if answer.status_code == 200 else None])
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class OldMlflow:
    """Its `python`, and a `model` that it logged."""

    version: str
    python: Path
    model: Path

    def own_answers(self, requests: list[tuple[str, str]]) -> Any:
        """Status and JSON of each (Content-Type, body), as this version's own server answers."""
        reference = self.python.parents[2] / f"{self.python.parents[1].name}-reference"
        if not reference.exists():
            _run([_UV, "pip", "install", "--quiet", "--python", self.python, "--target", f"{reference}.new", *_REFERENCE])
            Path(f"{reference}.new").rename(reference)
        done = subprocess.run(
            [self.python, "-c", _ASK, self.model],
            input=json.dumps(requests),
            env={"PYTHONPATH": str(reference), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def old_mlflow(version: str, pins: str, folder: Path) -> OldMlflow:
    """`pins` are the lines of requirements.txt next to MLflow itself."""
    python = environment(f"serving-mlflow-{version}", f"mlflow=={version}\n{pins}\n")
    model = folder / "model"
    _run([python, "-c", _MAKE, model], folder)
    return OldMlflow(version, python, model)


def environment(name: str, requirements: str) -> Path:
    """The Python of an environment as a model with this requirements.txt gets it, made once and kept in .tools."""
    place = _TOOLS / name
    python = place / "bin" / "python"
    if not (place / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        files = {"requirements.txt": requirements.encode(), "python_env.yaml": b"python: %d.%d\n" % sys.version_info[:2]}
        wanted = read_requirements(model_version(listing(files)), store(files).open).lines
        _run([_UV, "venv", "--quiet", "--python", sys.executable, place])
        _run([_UV, "pip", "install", "--quiet", "--python", python, "--only-binary", ":all:", *wanted])
        (place / "made").touch()
    return python


def _run(command: list[str | Path], folder: Path | None = None) -> None:
    """In the folder, for what leaves files where it runs: MLflow makes a store `mlruns` there."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if "Failed to fetch" in done.stderr or "error sending request" in done.stderr:
        pytest.skip("no package index is reached")
    assert done.returncode == 0, done.stderr
