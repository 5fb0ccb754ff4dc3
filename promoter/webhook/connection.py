"""How long a request may take to come in: uvicorn waits for the rest of one as long as the sender likes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0
"""For a whole request, head and body, from the connection or the first byte after the request before it."""

_ANSWER = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class TimedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 connection, closed with 408 when a request is not there in `seconds`; `late` is called for each."""

    seconds: ClassVar[float]
    late: ClassVar[Callable[[], None]]
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """The time runs while a request is on its way in; between two of them uvicorn's keep-alive limit does."""
        state = self.conn.their_state
        begun = self.cycle is None or bool(self.conn.trailing_data[0])
        if state is h11.SEND_BODY or (state is h11.IDLE and begun):
            self._timer = self._timer or self.loop.call_later(self.seconds, self._end)
        else:
            self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        type(self).late()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_ANSWER)
        self.transport.close()


def connection(late: Callable[[], None], seconds: float = SECONDS) -> type[asyncio.Protocol]:
    """The class of a receiver's connections."""
    return type("Connection", (TimedConnection,), {"seconds": seconds, "late": staticmethod(late)})
