"""The inference server: a real model, a real process, asked over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

pytest.importorskip("mlflow.pyfunc", reason="the full mlflow is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

# What MLflow and pandas think of each other's newest release is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS = [[0.1, 1.2], [2.5, 0.3], [1.0, 1.0]]


def model_folder(folder: Path) -> Path:
    import mlflow.sklearn
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame(ROWS, columns=["amount", "age"])
    model = LinearRegression().fit(frame, [1.0, 2.0, 3.0])
    mlflow.sklearn.save_model(model, str(folder), input_example=frame, pip_requirements=[])
    return folder


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    url: str

    def wait_until_ready(self) -> None:
        for _ in range(3000):
            assert self.process.poll() is None, "the server ended before it was ready"
            if self.get("/ready") == 200:
                return
            time.sleep(0.1)
        raise AssertionError("never ready")

    def get(self, path: str) -> int | None:
        try:
            return requests.get(self.url + path, timeout=5).status_code
        except requests.ConnectionError:
            return None

    def predict(self, body: Any, **kwargs: Any) -> requests.Response:
        return requests.post(self.url + "/predict", json=body, timeout=30, **kwargs)


def start(path: Path) -> Server:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MODEL_NAME": "fraud-detector",
        "MODEL_VERSION": "42",
        "MODEL_DIGEST": "sha256:abc",
        "MODEL_PATH": str(path),
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "-m", "promoter.serving"], env=environment, stderr=subprocess.PIPE)
    return Server(process, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    server = start(folder)
    server.wait_until_ready()
    yield server
    server.process.kill()
    server.process.communicate()


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["amount", "age"], "data": ROWS}},
        {"dataframe_records": [{"amount": a, "age": b} for a, b in ROWS]},
        {"inputs": {"amount": [a for a, _ in ROWS], "age": [b for _, b in ROWS]}},
        {"instances": [{"amount": a, "age": b} for a, b in ROWS]},
    ],
    ids=lambda body: next(iter(body)),
)
def test_predictions_equal_those_of_pyfunc(server: Server, folder: Path, body: dict[str, Any]) -> None:
    import mlflow.pyfunc
    import pandas as pd

    expected = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame(ROWS, columns=["amount", "age"]))
    answer = server.predict(body)
    assert answer.status_code == 200
    assert answer.json() == {"predictions": list(expected)}


def test_health_names_the_model(server: Server) -> None:
    assert requests.get(server.url + "/health", timeout=5).json() == {
        "status": "ok",
        "model_name": "fraud-detector",
        "model_version": "42",
        "model_digest": "sha256:abc",
    }


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{broken", 400),
        (b'{"rows": []}', 400),
        (b'{"dataframe_split": {"columns": ["amount"], "data": [[1.0]]}}', 400),
        (b'{"dataframe_split": {"columns": ["amount", "age"], "data": [["x", "y"]]}}', 400),
        (b"\xff\xfe", 400),
    ],
)
def test_bad_input_is_told_in_json_without_a_traceback(server: Server, content: bytes, status: int) -> None:
    answer = requests.post(server.url + "/predict", data=content, headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert "Traceback" not in answer.text


def test_an_unknown_content_type_is_refused(server: Server) -> None:
    answer = requests.post(server.url + "/predict", data=b"1", headers={"Content-Type": "text/plain"}, timeout=30)
    assert answer.status_code == 415
    assert "error" in answer.json()


def test_not_ready_until_the_model_is_loaded_and_sigterm_ends_cleanly(folder: Path) -> None:
    server = start(folder)
    try:
        seen = []
        while 200 not in seen:
            assert server.process.poll() is None
            if (status := server.get("/ready")) is not None:
                seen.append(status)
        assert seen[0] == 503
        assert set(seen) == {200, 503}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    finally:
        server.process.kill()
        server.process.communicate()


def test_a_model_that_can_not_be_loaded_ends_the_process_and_says_why(tmp_path: Path) -> None:
    server = start(tmp_path / "nothing")
    _, errors = server.process.communicate(timeout=300)
    assert server.process.returncode == 1
    assert str(tmp_path / "nothing") in errors.decode()
    assert "Traceback" not in errors.decode()
