"""A small container registry over real HTTP that misbehaves on demand: token server, faults, redirects to a storage host."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

USERNAME, PASSWORD, TOKEN = "robot", "battery-staple", "opaque-token"


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    authorization: str | None


@dataclass
class FakeRegistry:
    """What is stored, what was asked, and faults: answers (status, headers, body) by `METHOD path-prefix`, used up in turn."""

    host: str = ""
    bearer: bool = False
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    storage: str = ""

    def fail(self, request: str, status: int, *, code: str = "", headers: dict[str, str] | None = None, times: int = 1) -> None:
        body = json.dumps({"errors": [{"code": code, "message": f"{code} it is"}]}).encode() if code else b"<html>"
        self.faults.setdefault(request, []).extend([(status, headers or {}, body)] * times)

    def asked(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]


@contextmanager
def fake_registry(registry: FakeRegistry) -> Iterator[FakeRegistry]:
    class Handler(_Handler):
        state = registry

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    registry.host = f"127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FakeRegistry

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PATCH = do_PUT = do_GET

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.calls.append(Call(self.command, self.path, self.headers.get("Authorization")))
        for request, answers in self.state.faults.items():
            method, _, path = request.partition(" ")
            if answers and method == self.command and self.path.startswith(path):
                return self._answer(*answers.pop(0))
        if self.path.startswith("/token"):
            return self._token()
        if self.state.bearer and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="http://{self.state.host}/token",service="fake",scope="repository:team/model:pull,push"'
            return self._answer(401, {"WWW-Authenticate": challenge}, b"")
        return self._registry(body)

    def _token(self) -> None:
        basic = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        asked = parse_qs(urlsplit(self.path).query)
        if self.headers.get("Authorization") != basic or asked.get("scope") != ["repository:team/model:pull,push"]:
            return self._answer(401, {}, b"{}")
        return self._answer(200, {}, json.dumps({"token": TOKEN}).encode())

    def _registry(self, body: bytes) -> None:
        url = urlsplit(self.path)
        kind, _, name = re.sub(r"^/v2/team/model/", "", url.path).partition("/")
        if kind == "manifests":
            return self._manifest(name, body)
        if name.startswith("uploads/"):
            return self._upload(name.removeprefix("uploads/"), parse_qs(url.query), body)
        if name in self.state.blobs and self.state.storage:
            return self._answer(307, {"Location": f"http://{self.state.storage}/v2/team/model/blobs/{name}"}, b"")
        return self._found(self.state.blobs.get(name))

    def _manifest(self, name: str, body: bytes) -> None:
        if self.command != "PUT":
            return self._found(self.state.manifests.get(name))
        self.state.manifests[name] = body
        return self._answer(201, {"Docker-Content-Digest": digest(body)}, b"")

    def _upload(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
        if self.command == "POST":
            return self._answer(202, {"Location": "/v2/team/model/blobs/uploads/1?_state=a"}, b"")
        if self.command == "PATCH":
            self.state.uploads[name] = body
            return self._answer(202, {"Location": f"http://{self.state.host}/v2/team/model/blobs/uploads/1?_state=b"}, b"")
        stored = self.state.uploads.pop(name, None)
        if stored is None:
            return self._answer(404, {}, b"")
        if query["digest"] != [digest(stored)] or query["_state"] != ["b"]:
            return self._answer(400, {}, b"")
        self.state.blobs[digest(stored)] = stored
        return self._answer(201, {"Docker-Content-Digest": digest(stored)}, b"")

    def _found(self, data: bytes | None) -> None:
        self._answer(404 if data is None else 200, {}, data or b"")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
