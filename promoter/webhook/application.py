"""The HTTP side: POST /mlflow accepts deliveries, GET /health, /ready and /metrics show the receiver's state. Raw ASGI.

Nothing of a delivery is parsed before its signature is known to be right, and nothing is woken by what is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promoter.webhook import events, signature
from promoter.webhook.log import Log
from promoter.webhook.metrics import CONTENT_TYPE, Metrics
from promoter.webhook.signature import Trust

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DELIVERIES = "/mlflow"
LARGEST_BODY = 64 * 1024
"""Bytes. MLflow's payloads have some hundreds; a tag's value, the longest thing in one, 5,000 characters at most."""

_DRAINED = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """`outcome` is the label of the metric; `drain`: the rest of the body is read first, so that the sender sees it."""

    status: int
    outcome: str
    reason: str = ""
    drain: bool = False


_UNTRUSTED = {
    Trust.UNSIGNED: Response(401, "unsigned", "X-MLflow-Signature, -Timestamp and -Delivery-Id are needed"),
    Trust.FORGED: Response(401, "forged", "the signature is not right: the secrets differ, or the body was changed"),
    Trust.STALE: Response(401, "stale", f"signed more than {signature.WINDOW:.0f} s ago, or ahead of this clock"),
}
_TOO_LARGE = Response(413, "too-large", f"more than {LARGEST_BODY} bytes", drain=True)


class _Gone(Exception):
    """The sender went, or was sent away, before the request was complete."""


@dataclass(frozen=True)
class Application:
    """No `secrets`: deliveries are taken as they come. `wake` gets a model's name, `health` and `ready` say what is wrong."""

    secrets: Sequence[bytes]
    wake: Callable[[str], None]
    health: Callable[[], str]
    ready: Callable[[], str]
    metrics: Metrics
    log: Log
    now: Callable[[], float] = field(default=time.time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == DELIVERIES:
            await self._delivery(scope, receive, send)
            return
        pages: Mapping[str, Callable[[], tuple[int, str, bytes]]] = {
            "/health": lambda: _state(self.health()),
            "/ready": lambda: _state(self.ready()),
            "/metrics": lambda: (200, CONTENT_TYPE, self.metrics.text()),
        }
        page = pages.get(scope["path"])
        if page is None:
            await _send(send, 404, "text/plain", b"not found\n")
        elif scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, "text/plain", b"GET only\n", (b"allow", b"GET, HEAD"))
        else:
            await _send(send, *page())

    async def _delivery(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except _Gone:
            self.metrics.delivery("incomplete")
            return
        self.metrics.delivery(answer.outcome)
        if answer.status < 300:
            await _send(send, answer.status, "text/plain", f"{answer.outcome}\n".encode())
            return
        self.log("refused", outcome=answer.outcome, status=answer.status, client=(scope.get("client") or ("",))[0])
        extra = ((b"allow", b"POST"),) if answer.status == 405 else ()
        body = f"{answer.reason}\n".encode()
        await _send(send, answer.status, "text/plain", body, (b"connection", b"close"), *extra, more=answer.drain)
        if answer.drain:
            await _drain(receive)
            await send({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        headers = dict(scope["headers"])
        if scope["method"] != "POST":
            return Response(405, "wrong-method", "POST only")
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            return Response(415, "wrong-content-type", "application/json only")
        body = await _body(headers, receive)
        if body is None:
            return _TOO_LARGE
        if self.secrets and (trust := signature.judge(headers, body, self.secrets, self.now())) is not Trust.VERIFIED:
            return _UNTRUSTED[trust]
        try:
            event = events.parse(body)
        except events.UnreadableError as error:
            return Response(400, "unreadable", str(error))
        id = headers.get(b"x-mlflow-delivery-id", b"").decode("latin-1")
        self.log("delivery", id=id, entity=event.entity, action=event.action, model=event.model)
        if not event.wakes:
            return Response(200, "ignored")
        self.wake(event.model)
        return Response(202, "accepted")


async def _body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
    """The whole body, None when it is too large, which its announced length may say already."""
    if int(headers.get(b"content-length", b"0")) > LARGEST_BODY:  # digits only, or the HTTP server had refused it
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _drain(receive: Receive) -> None:
    """Throws away what still comes, up to a limit: closed in the middle of it, the sender would see no answer at all."""
    left = _DRAINED
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _state(problem: str) -> tuple[int, str, bytes]:
    body = json.dumps({"status": "unavailable", "reason": problem} if problem else {"status": "ok"})
    return (503 if problem else 200), "application/json", body.encode()


async def _send(
    send: Send, status: int, content_type: str, body: bytes, *headers: tuple[bytes, bytes], more: bool = False
) -> None:
    length = (b"content-length", str(len(body)).encode())
    head = [(b"content-type", content_type.encode()), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": more})
