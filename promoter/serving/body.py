"""The body of a request: at most MAX_BODY_BYTES of it, also once it is unpacked, and all of it within a time."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from promoter.serving.errors import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message

_SECONDS = 30.0
# A client that sends a body which is too large reads no answer before it has sent it.
_DISCARDED = 256 * 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body as the model's requests have it, unpacked if its Content-Encoding is gzip.

    Raises:
        RequestError: 413 when it is too long, 408 when it does not come, 415 when it is packed in another way, 400 when its
            client has gone or it is damaged.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise RequestError(415, f"Content-Encoding is {encoding!r}, expected gzip or none", headers={"Accept-Encoding": "gzip"})
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > most_bytes:
        # Who asks first (RFC 9110, 10.1.1) has sent nothing yet.
        await _discard(request, 0 if "expect" in request.headers else int(announced[:20]))
        raise _too_large()
    message = await request.receive()
    if not message.get("more_body"):  # nearly always: all of it came with the headers
        body = _chunk(message)
    else:
        body = await _in_time(request, message, most_bytes)
    if len(body) > most_bytes:
        raise _too_large()
    return body if encoding == "identity" else await asyncio.to_thread(_unpacked, body, most_bytes)


async def _in_time(request: Request, message: Message, most_bytes: int) -> bytes:
    try:
        return await asyncio.wait_for(_rest(request, message, most_bytes), _SECONDS)
    except asyncio.TimeoutError:  # another class than the built-in one on Python 3.10
        raise RequestError(408, f"the body did not arrive within {_SECONDS:g} s", headers={"Connection": "close"}) from None


async def _rest(request: Request, message: Message, most_bytes: int) -> bytes:
    chunks = bytearray(_chunk(message))
    while message.get("more_body"):
        if len(chunks) > most_bytes:
            await _discard(request, _DISCARDED)
            break
        message = await request.receive()
        chunks += _chunk(message)
    return bytes(chunks)


async def _discard(request: Request, most_bytes: int) -> None:
    """Reads what is still being sent, up to a limit: an answer to a client that sends is lost when its connection is closed."""

    async def read() -> None:
        left = min(most_bytes, _DISCARDED)
        while left > 0:
            message = await request.receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body"):
                return

    try:
        await asyncio.wait_for(read(), _SECONDS)
    except asyncio.TimeoutError:
        return


def _unpacked(body: bytes, most_bytes: int) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    try:
        unpacked = unpacking.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise RequestError(400, f"the body is not gzip, as its Content-Encoding has it: {error}") from None
    if len(unpacked) > most_bytes:
        raise _too_large()
    if not unpacking.eof or unpacking.unused_data:
        raise RequestError(400, "the body is not one whole gzip member, as its Content-Encoding has it")
    return unpacked


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise RequestError(400, "the client has gone")
    body: bytes = message.get("body", b"")
    return body


def _too_large() -> RequestError:
    # What is left of the body is not read: the connection can't be used again.
    return RequestError(413, "the body has more bytes than MAX_BODY_BYTES allows", headers={"Connection": "close"})
