"""A small HTTP server that answers as a recorded Argo CD did, on loopback."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """`chunks` instead of a body: sent one by one; `cut` then breaks the connection off. `hang`: no more is ever sent."""

    body: bytes = b"{}"
    status: int = 200
    type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] = ()
    cut: bool = False
    hang: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Replay:
    """Answers by method and path; a list is answered in turn, its last for ever. What was asked is kept in `requests`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._answers: dict[tuple[str, str], list[tuple[Mapping[str, str], list[Answer]]]] = {}

    def on(self, method: str, path: str, *answers: Answer, query: Mapping[str, str] | None = None) -> None:
        """`query` must be part of the request's; what is registered later comes first."""
        self._answers.setdefault((method, path), []).insert(0, (query or {}, list(answers)))

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        for query, answers in self._answers.get((request.method, request.path), []):
            if query.items() <= request.query.items():
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return Answer(b"Not Found\n", 404, "text/plain; charset=utf-8")


def recorded(line: Mapping[str, Any]) -> Answer:
    """The answer of one recorded line, with the manifest as the string that it was."""
    body = line["body"]
    if "_raw" in body:
        return Answer(body["_raw"].encode(), line["status"], line["type"])
    if isinstance(body.get("manifest"), dict):
        body = {"manifest": json.dumps(body["manifest"])}
    return Answer(json.dumps(body).encode(), line["status"], line["type"])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    served: Replay


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, url.path, dict(parse_qsl(url.query)), dict(self.headers), body)
        if self.command != "GET" and self.headers.get("Content-Type", "").lower() != JSON:  # as Argo CD does
            self._send(Answer(b"Invalid content type\n", 415, "text/plain; charset=utf-8"))
        else:
            self._send(self.server.served.answer(request))

    do_POST = do_DELETE = do_GET

    def _send(self, answer: Answer) -> None:
        if answer.hang and not answer.chunks:
            self._never()
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunks:
            self._stream(answer)
            return
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _stream(self, answer: Answer) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in answer.chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        if answer.hang:
            self._never()
        elif not answer.cut:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _never(self) -> None:
        self.server.served.closing.wait()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def replay(context: ssl.SSLContext | None = None) -> Iterator[Replay]:
    """With a context it speaks TLS."""
    server = _Server(("127.0.0.1", 0), _Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.served = Replay(f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.served
    finally:
        server.served.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
