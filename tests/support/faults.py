"""A proxy on loopback between promoter and an Argo CD: it counts what is asked, and answers wrongly where a test wants it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

STREAM = "/api/v1/stream/applications"


@dataclass(frozen=True)
class Asked:
    """One request, and when it came (seconds of the test's clock)."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def call(self) -> str:
        """What is asked of an Application: its name alone is `application`."""
        parts = self.path.removeprefix("/api/v1/applications").strip("/").split("/")
        return "stream" if self.path == STREAM else parts[1] if len(parts) > 1 else "application" if parts[0] else "list"


@dataclass(frozen=True)
class Answer:
    """`cut` breaks the connection off without any answer."""

    status: int = 200
    body: bytes = b"{}"
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Forward = Callable[[Asked], Answer]
Fault = Callable[[Asked, Forward], Answer | None]
"""What is answered to a request; None if this fault does not concern it."""


class Faults:
    """The proxy at `url`. Of the faults the first that answers decides; what was asked is in `asked`, oldest first."""

    def __init__(self, upstream: str, clock: Callable[[], float]) -> None:
        self.upstream, self.clock = upstream, clock
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.stream: Callable[[], Iterable[bytes]] | None = None
        self.closing = threading.Event()
        self.url = ""

    def count(self, *calls: str) -> int:
        return sum(one.call in calls for one in self.asked)

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        self.faults.insert(0, fault)
        try:
            yield
        finally:
            self.faults.remove(fault)

    def answer(self, asked: Asked) -> Answer:
        for fault in self.faults:
            if (answer := fault(asked, self.forward)) is not None:
                return answer
        return self.forward(asked)

    def forward(self, asked: Asked) -> Answer:
        kept = {name: asked.headers[name] for name in ("Authorization", "Content-Type") if name in asked.headers}
        got = requests.request(
            asked.method, self.upstream + asked.path, params=asked.query, headers=kept, data=asked.body, timeout=20
        )
        return Answer(got.status_code, got.content, got.headers["Content-Type"])


# -- faults -----------------------------------------------------------------------------------------------------------


def always(answer: Answer, *calls: str) -> Fault:
    """The same answer to every request, or to these calls."""
    return lambda asked, _: answer if not calls or asked.call in calls else None


def times(count: int, fault: Fault) -> Fault:
    """That fault, until it has answered so many times."""
    left = [count]

    def limited(asked: Asked, forward: Forward) -> Answer | None:
        answer = fault(asked, forward) if left[0] else None
        left[0] -= answer is not None
        return answer

    return limited


def changed(change: Callable[[dict[str, Any]], None], call: str = "application") -> Fault:
    """The true answer to a call, with something changed in its JSON."""

    def fault(asked: Asked, forward: Forward) -> Answer | None:
        if asked.call != call:
            return None
        true = forward(asked)
        document = json.loads(true.body)
        if "manifest" in document:
            manifest = json.loads(document["manifest"])
            change(manifest)
            document = {"manifest": json.dumps(manifest)}
        else:
            change(document)
        return replace(true, body=json.dumps(document).encode())

    return fault


def refresh_dropped(asked: Asked, forward: Forward) -> Answer | None:
    """Argo CD loses a refresh that is asked for during another: it answers what it knew before."""
    return forward(replace(asked, query={})) if asked.query.get("refresh") else None


UNAUTHENTICATED = Answer(401, b'{"error":"invalid session","code":16,"message":"invalid session: token is expired"}')
LOGIN_PAGE = Answer(200, b"<html>Please log in</html>", "text/html; charset=utf-8")
UNAVAILABLE = Answer(503, b"upstream connect error", "text/plain")
TOO_MANY = Answer(429, b"slow down", "text/plain")
DOWN = Answer(cut=True)
FORBIDDEN = Answer(403, b'{"error":"permission denied","code":7,"message":"permission denied"}')


# -- serving ----------------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    faults: Faults


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        faults, url = self.server.faults, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), dict(self.headers), body, faults.clock())
        faults.asked.append(asked)
        if asked.call == "stream":
            self._stream(faults, asked)
        else:
            self._send(faults.answer(asked))

    do_POST = do_DELETE = do_GET

    def _send(self, answer: Answer) -> None:
        if answer.cut:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        usual = {"Date": self.date_time_string(), "Content-Type": answer.type, "Content-Length": str(len(answer.body))}
        for name, value in {**usual, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def _stream(self, faults: Faults, asked: Asked) -> None:
        """The scripted stream; else silence, until the world ends."""
        refused = next((answer for fault in faults.faults if (answer := fault(asked, faults.forward)) is not None), None)
        if refused is not None:
            self._send(refused)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            for event in faults.stream() if faults.stream else ():
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                self.wfile.flush()
            if faults.stream is None:
                faults.closing.wait()
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            return

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def in_front_of(upstream: str, clock: Callable[[], float]) -> Iterator[Faults]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.faults = Faults(upstream, clock)
    server.faults.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.faults
    finally:
        server.faults.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
