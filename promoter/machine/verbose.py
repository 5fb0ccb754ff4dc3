"""How much a run shows of what it does: no progress (-q), or each request and process (-v, -vv) to whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class _Volume:
    level: int = 0
    quiet: bool = False
    listener: Callable[[str], None] | None = None


_VOLUME = _Volume()


def louder(steps: int) -> None:
    _VOLUME.level += steps


def hush() -> None:
    _VOLUME.quiet = True


def quiet() -> bool:
    """Whether progress is wanted by nobody."""
    return _VOLUME.quiet


def listen(listener: Callable[[str], None]) -> None:
    """`listener` gets each line from now on; it takes secrets out."""
    _VOLUME.listener = listener


def wanted(level: int = 1) -> bool:
    """Whether lines of this level are shown: 1 for what `-v` shows, 2 for `-vv`."""
    return _VOLUME.listener is not None and _VOLUME.level >= level


def show(line: str, level: int = 1) -> None:
    """One line, to the listener."""
    if _VOLUME.listener is not None and _VOLUME.level >= level:
        _VOLUME.listener(line)


@contextmanager
def timed(what: str, level: int = 1) -> Iterator[list[str]]:
    """Shows `what` once it has ended, with what the block puts into the list, and how long it took."""
    ended: list[str] = []
    started = time.monotonic()
    try:
        yield ended
    finally:
        show(" ".join([what, *ended, f"{(time.monotonic() - started) * 1000:.0f} ms"]), level)
