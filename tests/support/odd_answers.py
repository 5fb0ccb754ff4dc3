"""Odd answers: a relay in front of a good server that remembers its answers and alters one of them, by a seed."""

from __future__ import annotations

import http.client
import http.server
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2, 10**30, -(10**15), 1.5, float("inf"), float("nan")),
    *("", "odd", "\u00b2", "2026-01-01T00:00:00", "9" * 5000, "http://[", "../../etc", "a\0b", "\ud800", "\u202e"),
    *([], {}, [1], ["odd"], [[]], {"odd": 1}, [None], [{}]),
)
_WHOLE = (
    b"",
    b"{",
    b"[" * 100_000,
    b"null",
    b"1",
    b"[]",
    b"{}",
    b'{"items":[1]}',
    b"\xff\xfe",
    b"<html>log in</html>",
    b"9" * 5000,
)
_STATUSES = (200, 201, 204, 301, 400, 401, 404, 409, 422)
_HEADERS = (
    ("Location", "http://["),
    ("ETag", '"odd"'),
    ("Last-Modified", "Mon, 99 Jan 99999 99:99:99 GMT"),
    ("Content-Type", "odd"),
    ("Content-Type", "application/json; charset=odd"),
    ("Content-Encoding", "gzip"),
    ("Docker-Content-Digest", "odd"),
    ("Range", "bytes=odd"),
    ("WWW-Authenticate", 'Bearer realm="http://["'),
    ("X-RateLimit-Reset", "\xb2"),
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


_UNKNOWN = Answer(404, {"Content-Type": "application/json"}, b'{"message": "Not Found"}')


def odd(answer: Answer, chance: random.Random) -> Answer:
    """The answer with one thing altered: mostly one value of its JSON, else its whole body, its status or a header."""
    roll = chance.random()
    if roll < 0.06:
        return Answer(chance.choice(_STATUSES), answer.headers, answer.body)
    if roll < 0.12:
        return Answer(answer.status, {**answer.headers, **dict([chance.choice(_HEADERS)])}, answer.body)
    if roll < 0.2:
        return Answer(answer.status, answer.headers, chance.choice(_WHOLE))
    return Answer(answer.status, answer.headers, _altered(answer.body, chance))


def _altered(body: bytes, chance: random.Random) -> bytes:
    """One value in one of the JSON documents of the body, which may have one in each line; or some bytes fewer."""
    lines = body.splitlines(keepends=True) or [b""]
    try:
        return json.dumps(altered(json.loads(body), chance)).encode()
    except ValueError:
        pass
    at = chance.randrange(len(lines))
    head, brace, tail = lines[at].partition(b"{")
    try:
        lines[at] = head + json.dumps(altered(json.loads(brace + tail), chance)).encode() + b"\n"
    except ValueError:
        lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
    return b"".join(lines)


def altered(document: Any, chance: random.Random) -> Any:
    """A copy with one value replaced, removed or repeated; also within a string that is JSON itself."""
    if chance.random() < 0.02 or not isinstance(document, (dict, list)) or not document:
        if isinstance(document, str) and document.startswith(("{", "[")) and chance.random() < 0.9:
            return json.dumps(altered(json.loads(document), chance))
        return chance.choice(_VALUES)
    copy: Any = dict(document) if isinstance(document, dict) else list(document)
    key = chance.choice(list(copy)) if isinstance(copy, dict) else chance.randrange(len(copy))
    if chance.random() < 0.08:
        del copy[key]
    elif chance.random() < 0.04 and isinstance(copy, list):
        copy.append(copy[key])
    else:
        copy[key] = altered(copy[key], chance)
    return copy


@dataclass
class Relay:
    """`url` stands for `upstream`, which is asked until `begin`; what is not known then does not exist. `alter` gets each answer's
    number, from 0.
    """

    upstream: str
    url: str = ""
    alter: Callable[[int, Answer], Answer] = lambda _, answer: answer
    count: int = 0
    learning: bool = True
    known: dict[tuple[str, str], Answer] = field(default_factory=dict)

    def begin(self, alter: Callable[[int, Answer], Answer]) -> None:
        self.count, self.alter, self.learning = 0, alter, False

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if self.learning and (method, path) not in self.known:
            self.known[method, path] = self._asked(method, path, headers, body)
        self.count += 1
        return self.alter(self.count - 1, self.known.get((method, path), _UNKNOWN))

    def _asked(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        where = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        sent = {name: value for name, value in headers.items() if name.lower() not in ("host", "accept-encoding", "connection")}
        connection.request(method, where.path + path, body, sent)
        response = connection.getresponse()
        content = response.read().replace(self.upstream.encode(), self.url.encode())
        dropped = ("content-length", "transfer-encoding", "connection", "date", "server")
        kept = {name: value for name, value in response.getheaders() if name.lower() not in dropped}
        connection.close()
        return Answer(response.status, kept, content)


@contextmanager
def relaying(upstream: str) -> Iterator[Relay]:
    relay = Relay(upstream)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = relay.answer(self.command, self.path, dict(self.headers), body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD" and answer.status != 204:
                self.wfile.write(answer.body)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that has seen enough closes the connection."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    relay.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
