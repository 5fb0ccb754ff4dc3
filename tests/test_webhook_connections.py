"""Which connection is closed when another one comes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from promoter.webhook.connections import Connections, Limits, Phase


@dataclass(eq=False)
class Connection:
    name: str
    phase: Phase
    closed: list[str] = field(repr=False)

    @property
    def address(self) -> str:
        return self.name[0]

    def displace(self) -> None:
        self.closed.append(self.name)


PHASES = {"i": Phase.IDLE, "r": Phase.RECEIVING, "a": Phase.ANSWERING}


@pytest.mark.parametrize(
    ("before", "admitted", "closed"),
    [
        ("Ai Bi", True, ""),
        ("Ai Bi Ci", True, ""),
        ("Ai Bi Ci Di", True, "Ai"),
        ("Ar Bi Ci Di", True, "Bi"),
        ("Aa Br Ca Dr", True, "Br"),
        ("Aa Ba Ca Da", False, ""),
        ("Ai Xi Xi", True, "Xi"),
        ("Ai Xa Xr", True, "Xr"),
        ("Ai Xa Xa", False, ""),
        ("Xr Ai Bi Ci", True, "Ai"),
    ],
)
def test_the_first_that_does_least_is_closed(before: str, admitted: bool, closed: str) -> None:
    """A client is a letter, and a phase the one after it; there may be four in all, two of one client. X comes."""
    ended: list[str] = []
    connections = Connections(Limits(in_all=4, of_one=2))
    for name in before.split():
        assert connections.admit(Connection(name, PHASES[name[1]], ended))
    assert connections.admit(Connection("X", Phase.IDLE, ended)) is admitted
    assert ended == closed.split()


def test_who_stirs_is_closed_last_and_who_left_takes_no_place() -> None:
    ended: list[str] = []
    connections = Connections(Limits(in_all=3, of_one=3))
    first, second, third = (Connection(name, Phase.IDLE, ended) for name in "ABC")
    for one in (first, second, third):
        connections.admit(one)
    connections.stirred(first)
    assert connections.admit(Connection("D", Phase.IDLE, ended))
    assert ended == ["B"]
    connections.remove(third)
    connections.stirred(third)
    assert connections.admit(Connection("E", Phase.IDLE, ended))
    assert ended == ["B"]
