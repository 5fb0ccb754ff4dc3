"""Deliveries over HTTP: those that MLflow sent are taken, whatever is not quite one of them is refused and wakes nothing."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import pytest
import requests

from promoter.webhook.application import Application
from promoter.webhook.connections import Limits
from promoter.webhook.events import WAKING
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.pages import Pages
from promoter.webhook.serve import server
from tests.support.deliveries import SECRET, Delivery, captured

ALIAS = next(one for one in captured() if one.name == "model_version_alias.created")
LIMIT = 0.5  # seconds that a request may take
IN_A_HURRY, UNHURRIED = Limits(seconds=LIMIT), Limits(seconds=60)


@dataclass
class Receiver:
    """The HTTP side alone: `woken` is what it would have had looked at."""

    port: int = 0
    woken: list[str] = field(default_factory=list)
    now: float = ALIAS.received
    problem: str = ""
    metrics: Metrics = field(default_factory=Metrics)
    before: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """As if it had just been started."""
        self.woken.clear()
        self.now, self.problem, self.before = ALIAS.received, "", self._counts()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, one: Delivery) -> requests.Response:
        return requests.post(f"{self.url}/mlflow", data=one.body, headers=one.headers, timeout=20)

    def send(self, *parts: bytes, close: bool = False) -> bytes:
        """These bytes on one connection, and all that comes back until it is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            for part in parts:
                connection.sendall(part)
            if close:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def counted(self, outcome: str) -> int:
        """How many deliveries had this outcome; the connection's end may be seen a moment after the answer."""
        for _ in range(100):
            if found := self._counts().get(outcome, 0) - self.before.get(outcome, 0):
                return found
            time.sleep(0.05)
        return 0

    def _counts(self) -> dict[str, int]:
        text = requests.get(f"{self.url}/metrics", timeout=20).text
        lines = re.findall(r'^promoter_webhook_deliveries_total\{outcome="(.*)"\} (.*)$', text, re.MULTILINE)
        return {outcome: int(float(count)) for outcome, count in lines}


@contextmanager
def receiving(secrets: tuple[bytes, ...] = (SECRET,), limits: Limits = IN_A_HURRY) -> Iterator[Receiver]:
    receiver = Receiver()
    application = Application(
        secrets=secrets,
        wake=receiver.woken.append,
        metrics=receiver.metrics,
        log=Log(in_json=True),
        pages=Pages(lambda: receiver.problem, lambda: receiver.problem, receiver.metrics),
        now=lambda: receiver.now,
    )
    listening = socket.create_server(("127.0.0.1", 0))
    receiver.port = listening.getsockname()[1]
    running = server(application, receiver.metrics.delivery, limits)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield receiver
    finally:
        running.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def one_for_all() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(one_for_all: Receiver) -> Receiver:
    one_for_all.begin()
    return one_for_all


# -- what is taken ----------------------------------------------------------------------------------------------------


def test_every_captured_delivery_is_accepted_with_its_own_signature(receiver: Receiver) -> None:
    deliveries = captured()
    assert len(deliveries) == 12
    for one in deliveries:
        receiver.now, payload = one.received, json.loads(one.body)
        wakes = (payload["entity"], payload["action"]) in WAKING
        before = len(receiver.woken)
        answer = receiver.post(one)
        assert (answer.status_code, answer.text) == ((202, "accepted\n") if wakes else (200, "ignored\n")), one.name
        assert receiver.woken[before:] == ([payload["data"]["name"]] if wakes else []), one.name
    assert receiver.counted("accepted") + receiver.counted("ignored") == len(deliveries)


def test_either_secret_is_good_while_one_is_being_replaced() -> None:
    with receiving((b"the new one", SECRET)) as receiver:
        assert receiver.post(ALIAS).status_code == 202
        assert receiver.post(ALIAS.signed(b"the new one")).status_code == 202
        assert receiver.post(ALIAS.signed(b"the one before")).status_code == 401


def test_insecure_takes_what_nobody_signed() -> None:
    with receiving(()) as receiver:
        unsigned = ALIAS.with_header("X-MLflow-Signature", None)
        assert receiver.post(unsigned).status_code == 202
        assert receiver.woken == ["iris-clf"]


def test_a_kept_connection_takes_one_after_the_other(receiver: Receiver) -> None:
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(f"{receiver.url}/mlflow", data=ALIAS.body, headers=ALIAS.headers, timeout=20)
            assert answer.status_code == 202
            time.sleep(LIMIT * 0.8)  # together longer than one request may take
    assert len(receiver.woken) == 3


# -- what is refused --------------------------------------------------------------------------------------------------


def flipped(value: bytes, place: int) -> bytes:
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


def header(name: str, value: str | None) -> Callable[[Delivery], Delivery]:
    return lambda one: one.with_header(name, value)


def body(change: Callable[[bytes], bytes]) -> Callable[[Delivery], Delivery]:
    return lambda one: replace(one, body=change(one.body))


REFUSED: dict[str, tuple[Callable[[Delivery], Delivery], int, str]] = {
    "one bit of the body": (body(lambda raw: flipped(raw, 70)), 401, "forged"),
    "one bit of the signature": (
        header("X-MLflow-Signature", "v1,jOUMNi8b6mz2mH1OcckiUnXrUSu8bl1VN8q7HPXRX+E="),
        401,
        "forged",
    ),
    "another scheme": (header("X-MLflow-Signature", ALIAS.headers["X-MLflow-Signature"].replace("v1", "v0")), 401, "forged"),
    "another delivery id": (header("X-MLflow-Delivery-Id", "d147b2b2-72c8-4d3c-b4ef-d8b52dc638cb"), 401, "forged"),
    "another time": (header("X-MLflow-Timestamp", "1795378816"), 401, "forged"),
    "no signature": (header("X-MLflow-Signature", None), 401, "unsigned"),
    "no time": (header("X-MLflow-Timestamp", None), 401, "unsigned"),
    "no whole number of seconds": (header("X-MLflow-Timestamp", "+1795378815"), 401, "unsigned"),
    "a later byte": (body(lambda raw: raw + b" "), 401, "forged"),
    "a form": (header("Content-Type", "application/x-www-form-urlencoded"), 415, "wrong-content-type"),
    "no content type": (header("Content-Type", None), 415, "wrong-content-type"),
    "10 MB": (body(lambda _: b"x" * 10_000_000), 413, "too-large"),
    "one byte too many": (body(lambda _: b"x" * 65_537), 413, "too-large"),
    "no JSON": (lambda one: replace(one, body=b"{").signed(), 400, "unreadable"),
    "no object": (lambda one: replace(one, body=b"[1]").signed(), 400, "unreadable"),
    "no model": (lambda one: replace(one, body=one.body.replace(b"iris-clf", b"")).signed(), 400, "unreadable"),
}


@pytest.mark.parametrize(("change", "status", "outcome"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_a_delivery_is_refused(
    receiver: Receiver, change: Callable[[Delivery], Delivery], status: int, outcome: str
) -> None:
    answer = receiver.post(change(ALIAS))
    assert answer.status_code == status, answer.text
    assert receiver.counted(outcome) == 1
    assert receiver.woken == []


@pytest.mark.parametrize(("seconds", "status"), [(299, 202), (301, 401), (-299, 202), (-301, 401)])
def test_the_time_it_was_signed_may_be_five_minutes_off(receiver: Receiver, seconds: int, status: int) -> None:
    receiver.now = int(ALIAS.headers["X-MLflow-Timestamp"]) + seconds
    assert receiver.post(ALIAS).status_code == status
    assert receiver.woken == (["iris-clf"] if status == 202 else [])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_another_method_is_refused(receiver: Receiver, method: str) -> None:
    answer = requests.request(method, f"{receiver.url}/mlflow", data=ALIAS.body, headers=ALIAS.headers, timeout=20)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert receiver.woken == []


HEAD = b"POST /mlflow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "status", "outcome"),
    [
        ([CHUNKED, b"not hex\r\n"], b"400 Bad Request", "incomplete"),
        ([CHUNKED, b"5\r\nabcdefgh\r\n"], b"400 Bad Request", "incomplete"),
        ([CHUNKED, *[b"4000\r\n" + b"x" * 0x4000 + b"\r\n"] * 8, b"0\r\n\r\n"], b"413 Content Too Large", "too-large"),
        ([HEAD + b"Content-Length: -1\r\n\r\n"], b"400 Bad Request", ""),
        ([HEAD + b"X: " + b"y" * 70_000], b"400 Bad Request", ""),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], b"400 Bad Request", ""),
    ],
    ids=["chunked garbage", "chunk of another size", "chunked 128 KB", "negative length", "endless header", "TLS"],
)
def test_what_is_no_http_is_refused(receiver: Receiver, parts: list[bytes], status: bytes, outcome: str) -> None:
    answer = receiver.send(*parts, close=True)
    assert answer.split(b"\r\n")[0].split(b" ", 1)[1].split()[0] == status.split()[0], answer
    assert not outcome or receiver.counted(outcome) == 1
    assert receiver.woken == []


@pytest.mark.parametrize(
    "parts",
    [[b""], [b"POST /ml"], [HEAD], [HEAD + b"Content-Length: 170\r\n\r\n", ALIAS.body[:50]], [CHUNKED + b"5\r\n"]],
    ids=["nothing", "a line", "a head", "a body", "a chunk"],
)
def test_what_does_not_come_in_time_is_ended(receiver: Receiver, parts: list[bytes]) -> None:
    assert receiver.send(*parts).startswith(b"HTTP/1.1 408 ")
    assert receiver.counted("slow") == 1
    assert receiver.woken == []


def test_one_byte_after_the_other_is_no_way_around_it(receiver: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as connection:
        ended = False
        for byte in HEAD * 100:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                ended = True
                break
            time.sleep(LIMIT / 20)
    assert ended
    assert receiver.counted("slow") == 1


def test_the_sender_who_goes_away_wakes_nothing(receiver: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 170\r\n\r\n" + ALIAS.body[:50])
    assert receiver.counted("incomplete") == 1
    assert receiver.woken == []


# -- how it is --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["/health", "/ready"])
def test_health_and_ready_report_why_not(receiver: Receiver, page: str) -> None:
    assert requests.get(receiver.url + page, timeout=20).json() == {"status": "ok"}
    receiver.problem = "Git can't be reached"
    answer = requests.get(receiver.url + page, timeout=20)
    assert (answer.status_code, answer.json()["reason"]) == (503, "Git can't be reached")


def test_other_paths_are_not_there(receiver: Receiver) -> None:
    assert requests.post(receiver.url, data=ALIAS.body, headers=ALIAS.headers, timeout=20).status_code == 404
    assert requests.post(f"{receiver.url}/metrics", timeout=20).status_code == 405
    assert receiver.woken == []


# -- too many of them -------------------------------------------------------------------------------------------------


@contextmanager
def connections(receiver: Receiver, count: int, sent: bytes = b"", client: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connections of one client, each of which has sent these bytes."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", receiver.port), timeout=20, source_address=(client, 0))
            opened.append(stack.enter_context(one))
            one.sendall(sent)
        yield opened


def rest(one: socket.socket) -> bytes:
    """All that comes until the receiver closes the connection."""
    return b"".join(iter(lambda: one.recv(65536), b""))


def ask(one: socket.socket) -> bytes:
    """GET /health on an open connection, and the whole answer."""
    one.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b'{"status": "ok"}') and (part := one.recv(65536)):
        answer += part
    return answer


@pytest.mark.parametrize("clients", [["127.0.0.1"], [f"127.0.0.{number}" for number in range(1, 7)]], ids=["one", "six"])
def test_idle_connections_keep_nobody_out(clients: list[str]) -> None:
    with receiving(limits=UNHURRIED) as receiver, ExitStack() as stack:
        for client in clients:
            stack.enter_context(connections(receiver, 600 // len(clients), client=client))
        assert requests.get(f"{receiver.url}/health", timeout=20).status_code == 200
        assert receiver.post(ALIAS).status_code == 202


def test_requests_that_do_not_end_keep_nobody_out() -> None:
    begun = HEAD + b"Expect: 100-continue\r\nContent-Length: 170\r\n\r\n"
    with receiving(limits=replace(UNHURRIED, in_all=3)) as receiver, connections(receiver, 3, begun) as waiting:
        assert all(one.recv(65536).startswith(b"HTTP/1.1 100 ") for one in waiting)
        assert receiver.post(ALIAS).status_code == 202
        assert rest(waiting[0]).startswith(b"HTTP/1.1 503 ")
        assert receiver.counted("overloaded")


def test_a_client_with_many_connections_loses_its_own() -> None:
    limits = replace(UNHURRIED, of_one=4)
    with receiving(limits=limits) as receiver, connections(receiver, 2, client="127.0.0.2") as quiet:
        assert [ask(one)[:12] for one in quiet] == [b"HTTP/1.1 200"] * 2
        with connections(receiver, 6, client="127.0.0.3") as many:
            assert [rest(one) for one in many[:2]] == [b""] * 2
            assert [ask(one)[:12] for one in (*quiet, *many[2:])] == [b"HTTP/1.1 200"] * 6


def test_who_does_not_read_answers_is_closed() -> None:
    with receiving() as receiver, connections(receiver, 1) as [one]:
        one.settimeout(LIMIT / 10)
        asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
        with pytest.raises(ConnectionError):  # noqa: PT012 # until the receiver reads no more, and then until it has closed
            while True:
                try:
                    one.sendall(asked)
                except TimeoutError:
                    time.sleep(LIMIT / 10)
        assert receiver.counted("slow") == 1
