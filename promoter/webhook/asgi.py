"""What is needed of ASGI: its types, and a whole response at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def respond(
    send: Send, status: int, content_type: str, body: bytes, *headers: tuple[bytes, bytes], more: bool = False
) -> None:
    """`more`: the caller ends the response later."""
    length = (b"content-length", str(len(body)).encode())
    head = [(b"content-type", content_type.encode()), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def not_found(send: Send) -> None:
    await respond(send, 404, "text/plain", b"not found\n")
