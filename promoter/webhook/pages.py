"""GET /health, /ready, /metrics and /report: the receiver's state, on the port of the deliveries or on one of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from promoter.webhook.asgi import Receive, Scope, Send, not_found, respond
from promoter.webhook.metrics import CONTENT_TYPE, Metrics


@dataclass(frozen=True)
class Pages:
    """`health` and `ready` return what is wrong, `report` the answer of /report; without it that page does not exist."""

    health: Callable[[], str]
    ready: Callable[[], str]
    metrics: Metrics
    report: Callable[[], tuple[int, str, bytes]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 # as ASGI calls it
        pages: Mapping[str, Callable[[], tuple[int, str, bytes]]] = {
            "/health": lambda: _state(self.health()),
            "/ready": lambda: _state(self.ready()),
            "/metrics": lambda: (200, CONTENT_TYPE, self.metrics.text()),
        }
        page = self.report if scope["path"] == "/report" else pages.get(scope["path"])
        if page is None:
            await not_found(send)
        elif scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, "text/plain", b"GET only\n", (b"allow", b"GET, HEAD"))
        else:
            await respond(send, *page())


def _state(problem: str) -> tuple[int, str, bytes]:
    body = json.dumps({"status": "unavailable", "reason": problem} if problem else {"status": "ok"})
    return (503 if problem else 200), "application/json", body.encode()
