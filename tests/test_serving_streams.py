"""Answers in pieces: what a chat model or an agent yields, as server-sent events, from the first on and whatever happens later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from promoter.serving.decode import JSON
from promoter.serving.model import Request, load_pyfunc
from tests.support.serving import Server, quiet, serving

pytest.importorskip("mlflow.pyfunc", reason="the full mlflow is not installed")

# What MLflow and pandas think of each other's newest release, and that MLflow would rather have agents.
pytestmark = pytest.mark.filterwarnings("ignore")

CHAT = """
import os, time
import mlflow
from mlflow.types.llm import ChatChoice, ChatChoiceDelta, ChatChunkChoice, ChatCompletionChunk, ChatCompletionResponse, ChatMessage

class Echo(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        said = ChatMessage(role="assistant", content=messages[-1].content.upper())
        return ChatCompletionResponse(choices=[ChatChoice(index=0, message=said)], model="echo", created=7)

    def predict_stream(self, context, messages, params):
        for word in messages[-1].content.split():
            if word == "breaks":
                raise KeyError("feature_table")
            while word.startswith("/") and not os.path.exists(word):
                time.sleep(0.01)
            delta = ChatChoiceDelta(role="assistant", content=word)
            yield ChatCompletionChunk(choices=[ChatChunkChoice(index=0, delta=delta)], model="echo", created=7)

mlflow.models.set_model(Echo())
"""
AGENT = """
import mlflow
from mlflow.types.responses import ResponsesAgentResponse, ResponsesAgentStreamEvent

class Echo(mlflow.pyfunc.ResponsesAgent):
    def predict(self, request):
        return ResponsesAgentResponse(output=[event.item for event in self.predict_stream(request)])

    def predict_stream(self, request):
        for number, word in enumerate(request.input[-1].content.split()):
            item = self.create_text_output_item(word.upper(), f"item-{number}")
            yield ResponsesAgentStreamEvent(type="response.output_item.done", item=item)

mlflow.models.set_model(Echo())
"""


def saved(folder: Path, source: str) -> Path:
    import mlflow.pyfunc

    (folder / "code.py").write_text(source)
    with quiet():
        mlflow.pyfunc.save_model(str(folder / "model"), python_model=str(folder / "code.py"), pip_requirements=[])
    return folder / "model"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("chat"), CHAT)


@pytest.fixture(scope="module")
def server(chat: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), chat) as server:
        yield server.wait_until_ready()


def asked(words: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": words}], "stream": True, **more}


def ask(server: Server, words: str, path: str = "/invocations", **more: Any) -> requests.Response:
    return requests.post(server.url + path, json=asked(words, **more), stream=True, timeout=120)


def events(answer: requests.Response) -> list[str]:
    """What the events have, each of them one line and an empty one."""
    blocks = answer.text.split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks), answer.text
    return [block.removeprefix("data: ") for block in blocks]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/invocations", "/responses", "/predict"])
def test_events_are_what_the_model_yields(server: Server, chat: Path, path: str) -> None:
    import mlflow.pyfunc

    answer = ask(server, "one two", path)
    wanted = list(mlflow.pyfunc.load_model(str(chat)).predict_stream(asked("one two")))
    *told, last = events(answer)
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/event-stream")
    assert (len(told), [json.loads(one) for one in told], last) == (2, wanted, "[DONE]")
    assert answer.headers["X-Model-Version"] == "42"


def test_the_first_event_is_there_while_the_model_makes_the_second(server: Server, tmp_path: Path) -> None:
    answer = ask(server, f"one {tmp_path}/go")
    lines = (line for line in answer.iter_lines() if line)
    assert json.loads(next(lines).removeprefix(b"data: "))["choices"][0]["delta"]["content"] == "one"
    (tmp_path / "go").touch()
    assert [line[:14] for line in lines] == [b'data: {"choice', b"data: [DONE]"]


def test_an_answer_in_one_piece_for_who_asks_for_no_other(server: Server) -> None:
    answer = ask(server, "one", stream=False)
    assert answer.json()["choices"][0]["message"]["content"] == "ONE"
    assert answer.headers["Content-Type"] == JSON


def test_a_model_that_breaks_later_ends_its_stream_with_the_error_and_is_counted(server: Server) -> None:
    first, error, last = events(ask(server, "one breaks"))
    assert json.loads(first)["choices"][0]["delta"]["content"] == "one"
    assert (list(json.loads(error)), "feature_table" in error, last) == (["error"], False, "[DONE]")
    server.wait_until(lambda: 'path="/invocations",status="500"' in server.get("/metrics").text, "counted")
    told = next(line for line in server.log if line["level"] == "ERROR")
    assert (told["exception"], len(told["request_id"])) == ("KeyError", 32)


def test_a_model_that_breaks_at_once_has_its_status(server: Server) -> None:
    answer = ask(server, "breaks")
    assert (answer.status_code, list(answer.json())) == (500, ["error"])


def test_a_client_that_leaves_costs_nobody_else(server: Server, tmp_path: Path) -> None:
    with ask(server, f"one {tmp_path}/go two") as answer:
        next(answer.iter_lines())
    (tmp_path / "go").touch()
    assert events(ask(server, "three"))[-1] == "[DONE]"
    assert "Traceback" not in server.log_file.read_text()


def test_an_agent_s_events_are_those_of_its_predict_stream(tmp_path: Path) -> None:
    folder = saved(tmp_path, AGENT)
    model = load_pyfunc(folder, 10, lambda _: None)
    body = {"input": [{"role": "user", "content": "one two"}], "stream": True}
    decoded = model.decode(Request(json.dumps(body).encode(), JSON))
    made = model.stream(decoded)
    assert decoded.streamed
    assert made is not None
    told = [json.loads(event.removeprefix(b"data: ")) for event in made]
    assert [event["item"]["content"][0]["text"] for event in told] == ["ONE", "TWO"]
    assert [event["type"] for event in told] == ["response.output_item.done"] * 2
