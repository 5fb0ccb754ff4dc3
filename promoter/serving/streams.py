"""Answers in pieces: server-sent events, in the form of MLflow's agent server (`data: JSON`, and `data: [DONE]` at the end)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

from promoter.serving.errors import RequestError

MEDIA_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"


def event(text: str) -> bytes:
    """One event; `text` is JSON, which has no line breaks."""
    return f"data: {text}\n\n".encode()


def error_event(error: RequestError) -> bytes:
    """For a client that has its status already."""
    return event(json.dumps(error.body()))


class Stream:
    """The events of one answer, from the model process that makes them to the client that reads them.

    `abandoned`: the client has left, and what still comes is for nobody.
    """

    def __init__(self) -> None:
        self._events: asyncio.Queue[bytes | RequestError | None] = asyncio.Queue()
        self.abandoned, self.ended = False, False

    def put(self, data: bytes) -> None:
        if not self.abandoned:
            self._events.put_nowait(data)

    def end(self, error: RequestError | None = None) -> None:
        """After the last event; or in the place of the next one, with what went wrong."""
        self.ended = True
        self._events.put_nowait(error)

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Raises: RequestError, as `end` got it."""
        try:
            while (found := await self._events.get()) is not None:
                if isinstance(found, RequestError):
                    raise found
                yield found
        finally:
            self.abandoned = True
