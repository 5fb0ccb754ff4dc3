"""A request on its way to a model process, and its answer on the way back: in one piece, or as a stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.serving.errors import RequestError
from promoter.serving.model import Request
from promoter.serving.streams import Stream

if TYPE_CHECKING:
    from promoter.serving.tracing import Trace


@dataclass(eq=False)
class Job:
    """`stream` is there once the first event of an answer in pieces has come; `expiry` ends what takes too long.

    `trace` is that of a request whose spans are sent.
    """

    request: Request
    answer: asyncio.Future[bytes | Stream]
    expiry: asyncio.TimerHandle | None = None
    stream: Stream | None = None
    trace: Trace | None = None
    alone: bool = False  # its process ended while it was not the only one there

    @property
    def done(self) -> bool:
        return self.stream.ended if self.stream else self.answer.done()

    def finish(self, body: bytes) -> None:
        """With all of the answer, or its last event."""
        if self.stream:
            self.stream.put(body)
            self.stream.end()
        else:
            self.answer.set_result(body)
        self.wait()

    def fail(self, error: RequestError) -> None:
        if self.stream:
            self.stream.end(error)
        else:
            self.answer.set_exception(error)
        self.wait()

    def wait(self, expiry: asyncio.TimerHandle | None = None) -> None:
        """Until that; for None there is nothing to wait for any more."""
        if self.expiry:
            self.expiry.cancel()
        self.expiry = expiry
