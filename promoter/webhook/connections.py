"""How many connections a server keeps, of all clients and of one, and which one it closes when another one comes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Phase(IntEnum):
    """What happens on a connection, in the order in which connections are closed to make room."""

    IDLE = 0
    RECEIVING = 1
    ANSWERING = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds`: for a whole request, its head, body and answer. A client is an address: a gateway is one client."""

    seconds: float = 10.0
    in_all: int = 512
    of_one: int = 128


class Connection(Protocol):
    @property
    def address(self) -> str: ...

    @property
    def phase(self) -> Phase: ...

    def displace(self) -> None:
        """Closes it: another connection gets its place."""


class Connections:
    """Those of one server, the one that has been quiet for longest first."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[Connection, None] = {}

    def admit(self, new: Connection) -> bool:
        """Whether there is room for it. A client at its own limit loses one of its own connections, never another client's."""
        crowd = [one for one in self._open if one.address == new.address]
        if len(crowd) < self._limits.of_one:
            crowd = list(self._open)
            if len(crowd) < self._limits.in_all:
                self._open[new] = None
                return True
        displaced = min(crowd, key=lambda one: one.phase)  # of equal phases the first
        if displaced.phase is Phase.ANSWERING:
            return False
        self.remove(displaced)
        displaced.displace()
        self._open[new] = None
        return True

    def stirred(self, one: Connection) -> None:
        """It sent something or got its answer."""
        if one in self._open:
            del self._open[one]
            self._open[one] = None

    def remove(self, one: Connection) -> None:
        self._open.pop(one, None)
