"""The health analysis against a real HTTP server: what passes, what does not, and what it reports."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from promoter.serving.health import main

MODEL = {"MODEL_VERSION": "7", "MODEL_DIGEST": "sha256:aa"}
GOOD = b'{"status": "ok", "model_version": "7", "model_digest": "sha256:aa"}'


class Answers(BaseHTTPRequestHandler):
    """Gives the answers one after the other, the last one for ever; remembers from which port each was asked."""

    answers: ClassVar[list[tuple[int, bytes]]] = []
    ports: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.ports.append(self.client_address[1])
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/health"
        running.shutdown()
        thread.join()


def run(
    url: str, answers: list[tuple[int, bytes]], capsys: pytest.CaptureFixture[str], attempts: int = 3
) -> tuple[int, list[dict[str, object]]]:
    Answers.answers[:], Answers.ports[:] = answers, []
    code = main([f"--url={url}", f"--attempts={attempts}", "--interval=0.01", "--timeout=5"], MODEL)
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_healthy_throughout_and_each_attempt_over_a_connection_of_its_own(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = run(server, [(200, GOOD)], capsys)
    assert code == 0
    assert [(line["attempt"], line["of"], line["healthy"], line["status"]) for line in lines] == [
        (number, 3, True, 200) for number in (1, 2, 3)
    ]
    assert len(set(Answers.ports)) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b""), "the answer is not JSON"),
        ((200, b"<html>ok</html>"), "the answer is not JSON"),
        ((200, b"\xff"), "the answer is not JSON"),
        ((200, b"null"), "the answer's status is not ok"),
        ((200, GOOD.replace(b"ok", b"loading")), "the answer's status is not ok"),
        ((200, GOOD.replace(b'"7"', b'"8"')), "model_version is '8', not '7'"),
        ((200, GOOD.replace(b'"7"', b"7")), "model_version is 7, not '7'"),
        ((200, b'{"status": "ok"}'), "model_version is None, not '7'; model_digest is None, not 'sha256:aa'"),
        ((204, b""), "status 204, not 200"),
        ((503, GOOD), "status 503, not 200"),
    ],
)
def test_one_answer_that_is_not_healthy_ends_it(
    server: str, capsys: pytest.CaptureFixture[str], answer: tuple[int, bytes], said: str
) -> None:
    code, lines = run(server, [(200, GOOD), answer], capsys)
    assert code == 1
    assert [line["healthy"] for line in lines] == [True, False]
    assert lines[-1]["problem"] == said


def test_nobody_there(capsys: pytest.CaptureFixture[str], free_tcp_port: int) -> None:
    code, lines = run(f"http://127.0.0.1:{free_tcp_port}/health", [(200, GOOD)], capsys)
    assert code == 1
    assert str(lines[0]["problem"]).startswith("no answer: ")
    assert len(lines) == 1


def test_without_a_single_attempt_nothing_is_proven(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, [(200, GOOD)], capsys, attempts=0) == (1, [])
