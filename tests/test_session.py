"""Headers as servers send them and as credentials make them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from promoter.credential import Credential, origins
from promoter.errors import UsageError
from promoter.session import Authorization, Http, Limits, whole_number


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
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Overloaded)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("", None), ("\xb2", None), ("-1", None), ("1.5", None), ("9" * 400, None)]
)
def test_a_number_is_ascii_digits(text: str, number: int | None) -> None:
    assert whole_number(text) == number


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
