"""Clients that move over from MLflow's own server: what they ask for, how they send it, and how many ask at a time."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow.version
import pytest
import requests

from promoter.serving.cpu import processors, threads_of_libraries
from tests.support.serving import Server, pyfunc_model, serving

# What MLflow and pandas think of each other's newest release, and of models without type hints.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

JSON = "application/json"
BODY = {"inputs": [[1.0, 2.0]]}
# A call with a 4 waits for three others like it: they are answered only if they run at the same time.
TOGETHER = """
import os, threading
import mlflow

class Together(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.barrier = threading.Barrier(4)

    def predict(self, context, model_input, params=None):
        if model_input[0, 0] == 4:
            self.barrier.wait(120)
        return [float(os.environ["OMP_NUM_THREADS"])] * len(model_input)

mlflow.models.set_model(Together())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Four calls at a time, since the model's metadata asks for them."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    folder = tmp_path_factory.mktemp("together")
    signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))
    model = pyfunc_model(folder / "model", TOGETHER, signature, np.array([[1.0, 2.0]]), metadata={"concurrency": 4})
    with serving(folder, model, MAX_BODY_BYTES="100000") as server:
        yield server.wait_until_ready()


def test_what_mlflow_s_own_server_has_is_there(server: Server) -> None:
    assert (server.get("/ping").status_code, server.get("/ping").text) == (200, "\n")
    assert (server.get("/version").text, server.get("/version").headers["Content-Type"]) == (mlflow.version.VERSION, JSON)
    assert server.get("/info").json()["mlflow"] == mlflow.version.VERSION
    for path in ("/ping/", "/health/", "/version/"):
        assert server.get(path, allow_redirects=False).status_code == 200, path
    assert requests.post(f"{server.url}/invocations/", json=BODY, timeout=60).ok
    assert server.get("/health//").status_code == server.get("/").status_code == 404


CHAT = """
import mlflow
from mlflow.types.llm import ChatChoice, ChatCompletionResponse, ChatMessage

class Echo(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        said = ChatMessage(role="assistant", content=messages[-1].content.upper())
        return ChatCompletionResponse(choices=[ChatChoice(index=0, message=said)], model="echo")

mlflow.models.set_model(Echo())
"""


@pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow would rather have agents
def test_a_chat_model_answers_as_clients_of_chat_completions_read_it(tmp_path: Path) -> None:
    import mlflow.pyfunc

    (tmp_path / "code.py").write_text(CHAT)
    mlflow.pyfunc.save_model(str(tmp_path / "model"), python_model=str(tmp_path / "code.py"))
    # It has no predict_stream of its own: what is asked for in pieces comes in one.
    asked = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
    with serving(tmp_path, tmp_path / "model") as server:
        server.wait_until_ready()
        answers = [
            requests.post(f"{server.url}{path}", json=asked, timeout=60).json()
            for path in ("/v1/chat/completions", "/invocations")
        ]
    messages = [answer["choices"][0]["message"] for answer in answers]
    assert [(one["role"], one["content"]) for one in messages] == [("assistant", "HELLO")] * 2


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity"])
def test_packed_bodies_are_read(server: Server, encoding: str) -> None:
    body = json.dumps(BODY).encode()
    sent = body if encoding == "identity" else gzip.compress(body)
    headers = {"Content-Type": JSON, "Content-Encoding": encoding}
    answer = requests.post(f"{server.url}/invocations", data=sent, headers=headers, timeout=60)
    assert answer.json() == server.predict(BODY).json()


BOMB = gzip.compress(b" " * 50_000_000)
PACKED = {
    "unpacks to too much": (BOMB, "gzip", 413),
    "is not packed": (b'{"inputs": [[1, 2]]}', "gzip", 400),
    "is cut": (gzip.compress(json.dumps(BODY).encode())[:-4], "gzip", 400),
    "goes on behind its end": (gzip.compress(b"{}") + b"more", "gzip", 400),
    "is packed in another way": (b"x", "br", 415),
}


@pytest.mark.parametrize("what", PACKED)
def test_a_packed_body_that_can_not_be_read_is_refused(server: Server, what: str) -> None:
    body, encoding, status = PACKED[what]
    assert len(body) < 100_000
    headers = {"Content-Type": JSON, "Content-Encoding": encoding}
    answer = requests.post(f"{server.url}/invocations", data=body, headers=headers, timeout=60)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "in chunks"])
def test_a_client_that_reads_only_once_it_has_sent_all_gets_its_413(server: Server, chunked: bool) -> None:
    """Thirty megabytes, more than any socket's buffers take, without a look at the answer before they are sent."""
    host, port = server.url.removeprefix("http://").split(":")
    size, piece = 30_000_000, b"x" * 100_000
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    with socket.create_connection((host, int(port)), 60) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + length + b"\r\n\r\n")
        for _ in range(size // len(piece)):
            client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            client.sendall(b"0\r\n\r\n")
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"MAX_BODY_BYTES" in answer


def test_a_client_that_asks_before_it_sends_is_refused_at_once(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as client:
        client.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 30000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_rows_are_limited_only_where_requests_are_merged(server: Server) -> None:
    assert len(server.predict({"inputs": [[1.0, 2.0]] * 1000}).json()["predictions"]) == 1000
    csv = "a,b\n" + "1,2\n" * 1000
    assert "MAX_BATCH_SIZE" not in server.post(csv, "text/csv").text


def test_calls_run_at_a_time_as_the_model_s_metadata_asks(server: Server) -> None:
    """Of the four that wait for one another none would end by itself."""
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: server.predict({"inputs": [[4.0, 0.0]]}).status_code, range(4)))
    assert answers == [200] * 4


def test_libraries_get_the_worker_s_share_of_the_container_s_processors(server: Server) -> None:
    assert server.predict(BODY).json() == {"predictions": [max(1.0, processors() // 1)]}


CGROUPS = {
    "v2, half a processor": ({"cpu.max": "50000 100000\n"}, 0.5),
    "v2, no limit": ({"cpu.max": "max 100000\n"}, None),
    "v1, one and a half": ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
    "v1, no limit": ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    "none": ({}, None),
    "odd": ({"cpu.max": "many\n"}, None),
}


@pytest.mark.parametrize("name", CGROUPS)
def test_limits_of_a_container_as_the_kernel_writes_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, limit = CGROUPS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert processors(tmp_path) == (limit or 64)
    assert threads_of_libraries(4, tmp_path)["OMP_NUM_THREADS"] == ("1" if limit else "16")
