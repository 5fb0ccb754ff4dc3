"""How long a request may take, and what a connection does that is one too many: uvicorn waits as long as the sender likes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from promoter.webhook.connections import Connections, Limits, Phase

_ANSWER = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_SLOW = _ANSWER % b"408 Request Timeout"
_OVERLOADED = _ANSWER % b"503 Service Unavailable"


class LimitedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 connection within `limits`; `refused` is called with the outcome of each request that they end."""

    limits: ClassVar[Limits]
    others: ClassVar[Connections]
    refused: ClassVar[Callable[[str], None]]
    _timer: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        return self.client[0] if self.client else ""

    @property
    def phase(self) -> Phase:
        if self.cycle is None or self.cycle.response_complete:
            arriving = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
            return Phase.RECEIVING if arriving else Phase.IDLE
        return Phase.RECEIVING if self.cycle.more_body else Phase.ANSWERING

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if self.others.admit(self):
            self._watch()
        else:
            self._refuse("overloaded", _OVERLOADED)

    def data_received(self, data: bytes) -> None:
        self.others.stirred(self)
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        self.others.stirred(self)
        self._stop()
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self.others.remove(self)
        self._stop()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def displace(self) -> None:
        if self.phase is Phase.RECEIVING:
            self._refuse("overloaded", _OVERLOADED)
        else:
            self._close()

    def _watch(self) -> None:
        """The time runs from a request's first byte until its sender has the answer; before the first one from the start."""
        waits = self.phase is Phase.IDLE and self.cycle is not None and not self.transport.is_closing()
        if waits:  # for another request: uvicorn's keep-alive limit holds
            self._stop()
        else:
            self._timer = self._timer or self.loop.call_later(self.limits.seconds, self._refuse, "slow", _SLOW)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, outcome: str, answer: bytes) -> None:
        type(self).refused(outcome)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(answer)
        self._close()

    def _close(self) -> None:
        """At once, even if the other side does not read what was written to it: it would keep its place for ever."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.transport.abort()


def connection(refused: Callable[[str], None], limits: Limits) -> type[asyncio.Protocol]:
    """The class of one server's connections."""
    own = {"limits": limits, "others": Connections(limits), "refused": staticmethod(refused)}
    return type("Connection", (LimitedConnection,), own)
