"""A small real HTTP server on loopback that gives the answers it was made with, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """`body` is sent as JSON unless it is bytes; `headers` win over what follows from it."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Replay:
    """`answers` is by path, without query unless one is for that query only; what has no answer gets `otherwise`."""

    url: str
    answers: dict[str, Answer]
    otherwise: Answer
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def replaying(
    answers: Mapping[str, Answer] | None = None, *, otherwise: Answer | None = None, certificate: Path | None = None
) -> Iterator[Replay]:
    """A server for the length of the block; with a `certificate` (PEM with its key) it speaks https."""
    replay = Replay("", dict(answers or {}), otherwise or Answer(b"no such path", 404, {"Content-Type": "text/plain"}))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: two would wait for each other on a kept connection.
        wbufsize = -1

        def do_GET(self) -> None:
            replay.asked.append(Asked(self.command, self.path, dict(self.headers)))
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer = replay.answers.get(self.path) or replay.answers.get(urlsplit(self.path).path, replay.otherwise)
            json_body = not isinstance(answer.body, bytes)
            content = json.dumps(answer.body).encode() if json_body else answer.body
            headers = {"Content-Type": "application/json" if json_body else "text/plain", "Content-Length": str(len(content))}
            headers |= answer.headers
            # The whole is what a HEAD is about, also where a GET is answered with a part.
            self.send_response(200 if self.command == "HEAD" and answer.status == 206 else answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            # More announced than sent: only the end of the connection shows it.
            self.close_connection = int(headers["Content-Length"]) > len(content)

        do_POST = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    replay.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield replay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
