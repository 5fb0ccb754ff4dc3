"""How much a run shows of what it does: no progress (-q), or each request and process (-v, -vv) to whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Volume:
    level: int = 0
    quiet: bool = False
    plain: bool = False
    listener: Callable[[str], None] | None = None


VOLUME = Volume()
"""Looked at where much is done, so that nothing is called while nobody listens."""


def louder(steps: int) -> None:
    VOLUME.level += steps


def hush() -> None:
    VOLUME.quiet = True


def in_lines() -> None:
    VOLUME.plain = True


def plain() -> bool:
    """Whether progress is wanted as lines, on a terminal too."""
    return VOLUME.plain


def quiet() -> bool:
    """Whether progress is wanted by nobody."""
    return VOLUME.quiet


def listen(listener: Callable[[str], None]) -> None:
    """`listener` gets each line from now on; it takes secrets out."""
    VOLUME.listener = listener


def show(line: str, level: int = 1) -> None:
    """One line, to the listener."""
    if VOLUME.listener is not None and VOLUME.level >= level:
        VOLUME.listener(line)


def took(what: str, started: float) -> None:
    """Shows what has ended, and how long ago it started (`time.monotonic`)."""
    show(f"{what} {(time.monotonic() - started) * 1000:.0f} ms")
