"""A small container registry over real HTTP that misbehaves on demand: token server, faults, cuts, redirects to a storage host."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

USERNAME, PASSWORD, TOKEN = "robot", "battery-staple", "opaque-token"
REPOSITORY = "team/model"
_PATH = re.compile(r"/v2/(?P<repository>team/[^/]+)/(?P<kind>blobs|manifests|referrers)/(?P<name>.*)")
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    authorization: str | None


@dataclass
class Stored:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)


@dataclass
class FakeRegistry:
    """What is stored, what was asked, and faults: answers (status, headers, body) by `METHOD path-prefix`, used up in turn.

    `cuts` are amounts of body bytes of an upload's requests after which the connection breaks, one after the other; `taken`
    counts such bytes, `ranges` are the chunks that were begun. `keeps_parts`: whether it keeps what came of a chunk that
    broke; `longest_chunk`, `least_chunk` and `takes` (methods, and `chunks`) are how it wants to get blobs.
    `lists`: it lists what refers to an image, an artifact a page.
    """

    host: str = ""
    bearer: bool = False
    storage: str = ""
    stores: dict[str, Stored] = field(default_factory=lambda: defaultdict(Stored))
    uploads: dict[str, bytearray] = field(default_factory=dict)
    faults: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    taken: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)
    keeps_parts: bool = True
    longest_chunk: int | None = None
    least_chunk: int = 0
    takes: frozenset[str] = frozenset({"PATCH", "chunks"})
    mounts: bool = True
    lists: bool = False

    @property
    def blobs(self) -> dict[str, bytes]:
        return self.stores[REPOSITORY].blobs

    @property
    def manifests(self) -> dict[str, bytes]:
        return self.stores[REPOSITORY].manifests

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


class _Cut(Exception):
    """The connection broke, as far as the client can see."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FakeRegistry

    def do_GET(self) -> None:
        try:
            # A client that is wrong about something goes away before it is answered.
            with suppress(ConnectionError):
                self._handle()
        except _Cut:
            self.close_connection = True
            # Without reading on: the client gets a reset, as when a proxy goes away.
            self.connection.shutdown(socket.SHUT_RDWR)

    do_HEAD = do_POST = do_PATCH = do_PUT = do_GET

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        self.state.calls.append(Call(self.command, self.path, self.headers.get("Authorization")))
        for request, answers in self.state.faults.items():
            method, _, path = request.partition(" ")
            if answers and method == self.command and self.path.startswith(path):
                self._body()
                return self._answer(*answers.pop(0))
        if self.path.startswith("/token"):
            return self._token()
        if self.state.bearer and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._body()
            scope = f"repository:{REPOSITORY}:pull,push"
            return self._answer(
                401, {"WWW-Authenticate": f'Bearer realm="http://{self.state.host}/token",scope="{scope}"'}, b""
            )
        return self._registry()

    def _token(self) -> None:
        basic = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        asked = parse_qs(urlsplit(self.path).query)
        if self.headers.get("Authorization") != basic or asked.get("scope") != [f"repository:{REPOSITORY}:pull,push"]:
            return self._answer(401, {}, b"{}")
        return self._answer(200, {}, json.dumps({"token": TOKEN}).encode())

    def _registry(self) -> None:
        url = urlsplit(self.path)
        match = _PATH.fullmatch(url.path)
        assert match
        stored, name = self.state.stores[match["repository"]], match["name"]
        if match["kind"] == "manifests":
            return self._manifest(stored, name)
        if match["kind"] == "referrers":
            return self._referrers(stored, url.path, name, int(parse_qs(url.query).get("page", ["0"])[0]))
        if name.startswith("uploads/"):
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            return self._upload(stored, url.path, name.removeprefix("uploads/"), query)
        if name in stored.blobs and self.state.storage:
            return self._answer(307, {"Location": f"http://{self.state.storage}{url.path}"}, b"")
        return self._found(stored.blobs.get(name))

    def _manifest(self, stored: Stored, name: str) -> None:
        if self.command != "PUT":
            by_digest = (one for one in stored.manifests.values() if digest(one) == name)
            return self._found(stored.manifests.get(name) or next(by_digest, None))
        stored.manifests[name] = body = bytes(self._body())
        subject = json.loads(body).get("subject") if self.state.lists else None
        seen = {"OCI-Subject": subject["digest"]} if subject else {}
        return self._answer(201, {"Docker-Content-Digest": digest(body), **seen}, b"")

    def _referrers(self, stored: Stored, path: str, image: str, page: int) -> None:
        if not self.state.lists:
            return self._refuse(404, "NOT_FOUND")
        referring = [one for one in stored.manifests.values() if (json.loads(one).get("subject") or {}).get("digest") == image]
        manifests = [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(one),
                "size": len(one),
                "artifactType": json.loads(one)["artifactType"],
                "annotations": json.loads(one)["annotations"],
            }
            for one in referring[page : page + 1]
        ]
        link = {"Link": f'<{path}?page={page + 1}>; rel="next"'} if page + 1 < len(referring) else {}
        return self._answer(200, link, json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())

    # -- uploads ------------------------------------------------------------------------------------------------------

    def _upload(self, stored: Stored, path: str, name: str, query: dict[str, str]) -> None:
        if self.command == "POST":
            return self._open(stored, path, query)
        data = self.state.uploads.get(name)
        if data is None:
            self._body()
            return self._refuse(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "GET":
            return self._told(204, path, data)
        if self.command == "PATCH":
            return self._patch(path, data)
        # A client that does not go where it was pointed to last is not let in.
        right_place = query["_state"] == str(len(data))
        self._body(data, count=True)
        if query["digest"] != digest(bytes(data)) or not right_place:
            return self._refuse(400, "DIGEST_INVALID")
        stored.blobs[digest(bytes(data))] = bytes(self.state.uploads.pop(name))
        return self._answer(201, {"Docker-Content-Digest": query["digest"]}, b"")

    def _open(self, stored: Stored, path: str, query: dict[str, str]) -> None:
        there = self.state.stores[query["from"]].blobs.get(query["mount"]) if "from" in query else None
        if there is not None and self.state.mounts:
            stored.blobs[query["mount"]] = there
            return self._answer(201, {"Docker-Content-Digest": query["mount"]}, b"")
        name = str(len(self.state.uploads) + len(self.state.calls))
        data = self.state.uploads[name] = bytearray()
        least = {"OCI-Chunk-Min-Length": str(self.state.least_chunk)} if self.state.least_chunk else {}
        return self._told(202, f"{path.rstrip('/')}/{name}", data, least)

    def _patch(self, path: str, data: bytearray) -> None:
        at, given = len(data), self.headers.get("Content-Range")
        if "PATCH" not in self.state.takes or (given and "chunks" not in self.state.takes):
            self._body()
            return self._refuse(405, "UNSUPPORTED")
        length = int(self.headers.get("Content-Length") or 0)
        if given and (given != f"{at}-{at + length - 1}" or length > (self.state.longest_chunk or length)):
            self._body()
            return self._refuse(416, "RANGE_INVALID")
        if given:
            self.state.ranges.append((at, at + length))
        try:
            self._body(data, count=True)
        except _Cut:
            if not self.state.keeps_parts:
                del data[at:]
            raise
        return self._told(202, path, data)

    def _told(self, status: int, path: str, data: bytearray, headers: dict[str, str] | None = None) -> None:
        location = f"http://{self.state.host}{path}?_state={len(data)}"
        self._answer(status, {"Location": location, "Range": f"0-{max(0, len(data) - 1)}", **(headers or {})}, b"")

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    def _body(self, into: bytearray | None = None, *, count: bool = False) -> bytearray:
        """The request's body, added to `into`; broken off where a cut is due."""
        into = bytearray() if into is None else into
        for block in self._blocks():
            if count and self.state.cuts and self.state.taken + len(block) > self.state.cuts[0]:
                into += block[: self.state.cuts[0] - self.state.taken]
                self.state.taken = self.state.cuts.pop(0)
                raise _Cut
            into += block
            self.state.taken += len(block) if count else 0
        return into

    def _blocks(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left and (block := self.rfile.read(min(left, _BLOCK))):
            left -= len(block)
            yield block

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, {}, json.dumps({"errors": [{"code": code, "message": "no"}]}).encode())

    def _found(self, data: bytes | None) -> None:
        self._answer(404 if data is None else 200, {}, data or b"")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
