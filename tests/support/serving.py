"""Inference servers as processes on loopback, and the models they serve."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

import promoter.serving
from promoter.serving.content import content_digest

ROWS = [[0.1, 1.2], [2.5, 0.3], [1.0, 1.0]]
# One function a model, as source: a process that serves it has no tests to import.
ORDERS = '''
import mlflow, pandas

class Orders(mlflow.pyfunc.PythonModel):
    """Strings, dates and missing values; `percent` and `note` are params."""

    def predict(self, context, model_input, params=None):
        orders = model_input.reindex(columns=["customer", "ordered", "amount"])
        known = orders["customer"].map(lambda name: len(name) if isinstance(name, str) else 0)
        amount = orders["amount"].fillna(0.0) * params["percent"] / 100
        score = orders["ordered"].dt.day.fillna(0) + known + amount
        return pandas.DataFrame({"score": score, "note": params["note"], "ordered": orders["ordered"]})

mlflow.models.set_model(Orders())
'''
SCALED = '''
import mlflow

class Scaled(mlflow.pyfunc.PythonModel):
    """Numbers, and `factor` is a param."""

    def predict(self, context, model_input, params=None):
        return [x * params["factor"] for x in model_input["x"]]

mlflow.models.set_model(Scaled())
'''
PIXELS = '''
import time
import mlflow

class Pixels(mlflow.pyfunc.PythonModel):
    """A tensor of pairs: the sum of each, row by row. The first number of a pair asks for more, from 900 on."""

    def predict(self, context, model_input, params=None):
        for asked in model_input[:, 0]:
            if asked == 901:
                raise ValueError("a pixel of 901")
            if asked == 902:
                raise RuntimeError("broken")
            if asked == 903:
                time.sleep(3600)
            if asked == 904:
                time.sleep(0.5)
        return model_input.sum(axis=1)

mlflow.models.set_model(Pixels())
'''


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    url: str
    log_file: Path

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=60, **kwargs)

    def predict(self, body: Any, **kwargs: Any) -> requests.Response:
        return requests.post(self.url + "/predict", json=body, timeout=60, **kwargs)

    def post(self, body: str, content_type: str) -> requests.Response:
        return requests.post(self.url + "/invocations", data=body, headers={"Content-Type": content_type}, timeout=60)

    def status(self, path: str = "/ready") -> int | None:
        """None while nobody listens."""
        try:
            return self.get(path).status_code
        except requests.ConnectionError:
            return None

    def wait_until(self, done: Callable[[], bool], what: str) -> None:
        for _ in range(3000):
            if done():
                return
            assert self.process.poll() is None, f"the server ended, not {what}: {self.log_file.read_text()}"
            time.sleep(0.1)
        raise AssertionError(f"never {what}: {self.log_file.read_text()}")

    def wait_until_ready(self) -> Server:
        self.wait_until(lambda: self.status() == 200, "ready")
        return self


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(scratch: Path, model: Path | None, python: Path | None = None, /, **environ: str) -> Iterator[Server]:
    """A server of this model, with these variables; `scratch` is its temporary folder and has its log.

    `python` is that of another environment, which knows nothing of promoter but these sources.
    """
    port = free_port()
    named = {
        "MODEL_NAME": "fraud-detector",
        "MODEL_VERSION": "42",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "TMPDIR": str(scratch),
    }
    path = {"MODEL_PATH": str(model)} if model else {}
    sources = {"PYTHONPATH": str(Path(promoter.serving.__file__).parents[2])} if python else {}
    log_file = scratch / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [python or sys.executable, "-m", "promoter.serving"],
            env={**os.environ, **named, **path, **sources, **environ},
            stdout=log,
            stderr=log,
        )
    try:
        yield Server(process, f"http://127.0.0.1:{port}", log_file)
    finally:
        process.kill()
        process.wait()


def sklearn_model(folder: Path) -> Path:
    """Two columns of doubles, a regression."""
    with quiet():
        import mlflow.sklearn
        import pandas as pd
        from sklearn.linear_model import LinearRegression

        frame = pd.DataFrame(ROWS, columns=["amount", "age"])
        model = LinearRegression().fit(frame, [1.0, 2.0, 3.0])
        mlflow.sklearn.save_model(model, str(folder), input_example=frame, pip_requirements=[])
    return folder


def orders_model(folder: Path) -> Path:
    with quiet():
        import pandas as pd
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

        inputs = Schema(
            [
                ColSpec("string", "customer", required=False),
                ColSpec("datetime", "ordered"),
                ColSpec("double", "amount", required=False),
            ]
        )
        params = ParamSchema([ParamSpec("percent", "double", 100.0), ParamSpec("note", "string", "")])
        days = pd.to_datetime(["2026-01-05", "2026-02-06"]).as_unit("ns")
        example = pd.DataFrame({"customer": ["ada", None], "ordered": days, "amount": [1.5, None]})
        return pyfunc_model(folder, ORDERS, ModelSignature(inputs=inputs, params=params), example)


def scaled_model(folder: Path) -> Path:
    with quiet():
        import pandas as pd
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

        params = ParamSchema([ParamSpec("factor", "double", 1.0)])
        signature = ModelSignature(inputs=Schema([ColSpec("double", "x")]), params=params)
        return pyfunc_model(folder, SCALED, signature, pd.DataFrame({"x": [1.0]}))


def pixels_model(folder: Path) -> Path:
    with quiet():
        import numpy as np
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))
        return pyfunc_model(folder, PIXELS, signature, np.array([[1.0, 2.0]]))


def pyfunc_model(folder: Path, source: str, signature: Any, example: Any, **more: Any) -> Path:
    """A model whose code is this script."""
    import mlflow.pyfunc

    script = folder.parent / f"{folder.name}.py"
    script.write_text(source)
    mlflow.pyfunc.save_model(
        str(folder), python_model=str(script), signature=signature, input_example=example, pip_requirements=[], **more
    )
    return folder


def with_expected_output(model: Path, folder: Path) -> Path:
    """A copy with the file that the prediction check compares with."""
    shutil.copytree(model, folder)
    with quiet(), (folder / "serving_output_example.json").open("w") as file:
        import mlflow.pyfunc
        from mlflow.pyfunc.scoring_server import predictions_to_json

        loaded = mlflow.pyfunc.load_model(str(folder))
        predictions_to_json(loaded.predict(loaded.input_example), file)
    return folder


def digest(folder: Path) -> str:
    return content_digest(folder)


@contextmanager
def quiet() -> Iterator[None]:
    """What MLflow, pandas and scikit-learn think of each other's newest release is not what is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
