"""A Docker engine over real HTTP that answers what a test wants: faults that a real one can't be brought to at will."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeEngine:
    """`says` holds the lines, or the status and message, of the answer to each kind of request: pull, build, push, inspect."""

    host: str = ""
    says: dict[str, list[Mapping[str, Any]] | tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    logins: list[dict[str, Any]] = field(default_factory=list)  # what came with builds, by registry


@contextmanager
def fake_engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()

    class Handler(_Handler):
        state = engine

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    engine.host = f"tcp://127.0.0.1:{server.server_port}"
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FakeEngine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.endswith("/version"):
            return self._send(200, b'{"ApiVersion": "1.41"}')
        return self._answer("inspect")

    def do_POST(self) -> None:
        self._skip_body()
        path = self.path.partition("?")[0]
        for end, kind in (("/images/create", "pull"), ("/build", "build"), ("/push", "push")):
            if path.endswith(end):
                if logins := self.headers.get("X-Registry-Config"):
                    self.state.logins.append(json.loads(base64.urlsafe_b64decode(logins)))
                return self._answer(kind)
        return self._send(201, b"")

    def _answer(self, kind: str) -> None:
        self.state.asked.append(kind)
        said = self.state.says.get(kind, [])
        if isinstance(said, tuple):
            return self._send(said[0], json.dumps({"message": said[1]}).encode())
        if kind == "inspect":
            return self._send(200, json.dumps(said[0]).encode())
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in (*(json.dumps(line).encode() + b"\r\n" for line in said), b""):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        return None

    def _skip_body(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
