"""Headers as servers send them and as credentials make them."""

from __future__ import annotations

import gzip
import http.server
import re
import socketserver
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3.exceptions

import promoter
from promoter.errors import UnexpectedAnswerError, UnreachableError, UsageError
from promoter.transport.boundary import LARGEST_ANSWER, MOST_VALUES, whole_number
from promoter.transport.credential import Credential, origins
from promoter.transport.session import Authorization, Http, Limits


class Overloaded(http.server.BaseHTTPRequestHandler):
    """Answers 503, and asks for a wait in a number that is not one."""

    seen: list[str]

    def do_GET(self) -> None:
        type(self).seen.append(self.headers["Authorization"])
        self.send_response(503)
        self.send_header("Retry-After", "\xb2")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Overloaded.seen = []
    with serving(Overloaded) as url:
        yield url


PACKED = gzip.compress(bytes(64 << 20), 1)


class Endless(http.server.BaseHTTPRequestHandler):
    """Answers with a body that has no end, in the way that the path names: at once, packed, chunked, or a byte now and then."""

    protocol_version = "HTTP/1.1"
    stopped: threading.Event

    def do_GET(self) -> None:
        kind, _, status = self.path.strip("/").partition("/")
        self.send_response(int(status or 200))
        if status.startswith("3"):
            self.send_header("Location", "/elsewhere")
        if kind == "packed":
            self.send_header("Content-Encoding", "gzip")
        self.send_header(*(("Transfer-Encoding", "chunked") if kind == "chunked" else ("Content-Length", str(1 << 50))))
        self.end_headers()
        piece = {"packed": PACKED, "chunked": b"10000\r\n" + bytes(1 << 16) + b"\r\n", "dripping": b" "}.get(
            kind, bytes(1 << 16)
        )
        try:
            while not self.stopped.wait(0.02 if kind == "dripping" else 0):
                self.wfile.write(piece)
        except OSError:
            pass  # the client has had enough
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def endless() -> Iterator[str]:
    Endless.stopped = threading.Event()
    with serving(Endless) as url:
        yield url
        Endless.stopped.set()


@pytest.mark.parametrize("status", [200, 302, 404, 503])
@pytest.mark.parametrize("kind", ["plain", "packed", "chunked"])
def test_an_answer_without_an_end_is_an_error(endless: str, kind: str, status: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UnexpectedAnswerError, match="answered unlike server: more than 16 MiB"):
            Http("server", endless, limits=Limits(total=0)).request("GET", f"/{kind}/{status}")
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_ANSWER
    finally:
        tracemalloc.stop()


def test_the_refusal_of_a_stream_is_bounded_too(endless: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match="more than 16 MiB"):
        Http("server", endless, limits=Limits(total=0)).request("GET", "/plain/500", stream=True)


def test_a_body_has_one_deadline(endless: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match="no end of it within 0 s"):
        Http("server", endless, limits=Limits(read=5, body=0.3)).request("GET", "/dripping")


FLAT = {
    "lists": b"[" + b"[]," * (LARGEST_ANSWER // 3 - 2) + b"[]]",
    "mappings": b"[" + b"{}," * (LARGEST_ANSWER // 3 - 2) + b"{}]",
    "keys": b"{" + b",".join(b'"%x":{}' % number for number in range(1_000_000)) + b"}",
    "depth": b"[" * LARGEST_ANSWER,
}


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with serving(Answering) as url:
        yield url


@pytest.mark.parametrize("kind", FLAT)
def test_an_answer_of_too_many_values_is_not_read(kind: str) -> None:
    with answering(FLAT[kind]) as url:
        server = Http("server", url)
        with pytest.raises(UnexpectedAnswerError, match="more than 500000 values"):
            server.request("GET", "/").json()


def test_as_many_values_as_are_read_take_bounded_memory() -> None:
    body = b"[" + b'{"a":1},' * (MOST_VALUES // 2 - 2) + b"{}]"
    with answering(body) as url:
        server = Http("server", url)
        tracemalloc.start()
        try:
            assert len(server.request("GET", "/").json()) == MOST_VALUES // 2 - 1
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 100 << 20


FULL_OF_COMMAS = {
    "a string": b'{"a":"' + b"[{," * MOST_VALUES + b'"}',
    "a string of escaped quotes": b'{"a":"' + b'\\",\\\\' * MOST_VALUES + b'"}',
    "a string that has no end": b'"' + b'\\",' * MOST_VALUES,
}


@pytest.mark.parametrize("kind", FULL_OF_COMMAS)
def test_what_stands_in_strings_is_no_value(kind: str) -> None:
    """Manifests that Argo CD renders, for example."""
    with answering(FULL_OF_COMMAS[kind]) as url:
        started = time.monotonic()
        assert Http("server", url).request("GET", "/").content == FULL_OF_COMMAS[kind]
        assert time.monotonic() - started < 20, "each part of it is looked at once"


EMPTY_BLOCK = b"\0\0\0\xff\xff"  # of a deflate stream: stored, without a byte (RFC 1951, 3.2.4)
HOLLOW = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1000000\r\n\r\n" + gzip.compress(b"")[:10]
SLOW = {
    "a head": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "a status": (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X-More: x\r\n"),
    "a chunk's size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "what unpacks to nothing": (HOLLOW, EMPTY_BLOCK),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
}
"""What a server begins with, and goes on with a little at a time, for ever."""


@contextmanager
def dripping(kind: str) -> Iterator[str]:
    begins, goes_on = SLOW[kind]
    stopped = threading.Event()

    class Dripping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with suppress(OSError):
                self.request.sendall(begins)
                while not stopped.wait(0.02):
                    self.request.sendall(goes_on)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Dripping) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            stopped.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", SLOW)
def test_an_answer_that_drips_is_an_error_wherever_it_does(kind: str) -> None:
    with dripping(kind) as url, pytest.raises((UnreachableError, UnexpectedAnswerError)):
        Http("server", url, limits=Limits(read=0.5, body=0.5, total=0)).request("GET", "/")


def test_a_streamed_file_that_drips_is_given_up() -> None:
    with dripping("a body") as url:
        http = Http("server", url, limits=Limits(read=5, body=0.3, total=0))
        response = http.request("GET", "/", stream=True)
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            response.raw.read(1000)
        response.close()


def test_a_stream_of_events_may_be_slow() -> None:
    with dripping("a body") as url:
        response = Http("server", url, limits=Limits(read=5, body=0.1, total=0)).request("GET", "/", stream=True, paced=False)
        assert response.raw.read(20) == b"x" * 20
        response.close()


def test_a_body_that_breaks_off_is_asked_for_again() -> None:
    seen: list[str] = []

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "4" if len(seen) > 1 else "400")
            self.end_headers()
            self.wfile.write(b"good")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with serving(Broken) as url:
        assert Http("server", url, limits=Limits(backoff=0.01)).request("GET", "/").text == "good"
        assert len(seen) == 2
        seen.clear()
        with pytest.raises(UnreachableError, match="can't be reached"):
            Http("server", url, limits=Limits(total=0)).request("GET", "/")


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("", None), ("\xb2", None), ("-1", None), ("1.5", None), ("9" * 400, None)]
)
def test_a_number_is_ascii_digits(text: str, number: int | None) -> None:
    assert whole_number(text) == number


def test_no_other_code_takes_text_for_a_number_by_its_digits() -> None:
    """`isdigit` is true for superscripts, and `int` takes 4,300 digits. The server's own code imports nothing of promoter."""
    package = Path(promoter.__file__).parent
    asks = [file for file in package.rglob("*.py") if re.search(r"\.is(digit|numeric)\(", file.read_text())]
    assert {str(file.relative_to(package)) for file in asks} == {"transport/boundary.py", "kustomize/promotion_file.py"}


def test_an_odd_retry_after_is_no_number(url: str) -> None:
    assert Http("server", url, limits=Limits(total=0)).request("GET", "/").status_code == 503


def test_a_token_from_a_file_loses_its_line_break(url: str) -> None:
    Http("server", url, auth=Authorization(Credential("made-up-token\n", origins([url]))), limits=Limits(total=0)).request(
        "GET", "/"
    )
    assert Overloaded.seen == ["Bearer made-up-token"]


def test_a_token_that_cannot_be_sent_is_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Http("server", url, auth=Authorization(Credential("made-up\ntoken", origins([url]))), limits=Limits(total=0)).request(
            "GET", "/"
        )
    assert "made-up" not in f"{caught.value}{caught.value.hint}"
    assert Overloaded.seen == []
