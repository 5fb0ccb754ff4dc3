"""The HTTP side: POST /mlflow accepts deliveries. Raw ASGI.

Nothing of a delivery is parsed before its signature is known to be right, and nothing is woken by what is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from promoter.webhook import events, signature
from promoter.webhook.asgi import Receive, Scope, Send, not_found, respond
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.pages import Pages
from promoter.webhook.signature import Trust

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
    """No `secrets`: deliveries are taken as they come. `wake` gets a model's name, without `pages` other paths do not exist."""

    secrets: Sequence[bytes]
    wake: Callable[[str], None]
    metrics: Metrics
    log: Log
    pages: Pages | None = None
    now: Callable[[], float] = field(default=time.time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == DELIVERIES:
            await self._delivery(scope, receive, send)
        elif self.pages:
            await self.pages(scope, receive, send)
        else:
            await not_found(send)

    async def _delivery(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except _Gone:
            self.metrics.delivery("incomplete")
            return
        self.metrics.delivery(answer.outcome)
        if answer.status < 300:
            await respond(send, answer.status, "text/plain", f"{answer.outcome}\n".encode())
            return
        self.log("refused", outcome=answer.outcome, status=answer.status, client=(scope.get("client") or ("",))[0])
        extra = ((b"allow", b"POST"),) if answer.status == 405 else ()
        body = f"{answer.reason}\n".encode()
        await respond(send, answer.status, "text/plain", body, (b"connection", b"close"), *extra, more=answer.drain)
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
