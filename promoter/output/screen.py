"""The part of a terminal that moves: what is going on is drawn in place, four times a second, below the lines that stay."""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING

from promoter.machine import verbose
from promoter.output import streams

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

REPAINTS = 4.0
"""A second, at most."""


def is_one() -> bool:
    """Whether stderr is a terminal on which something may move."""
    if os.environ.get("CI") or os.environ.get("TERM") == "dumb" or verbose.plain() or verbose.quiet():
        return False
    return sys.stderr.isatty()


def draws() -> bool:
    """Whether it has the signs that a drawing needs, too."""
    return is_one() and streams.takes_unicode(sys.stderr)


class Screen:
    """One for the process. Lines that are written meanwhile go above the drawing; nothing of it is left when it ends."""

    def __init__(self) -> None:
        self._live: Live | None = None

    @property
    def on(self) -> bool:
        return self._live is not None

    def show(self, drawing: RenderableType) -> None:
        """From now on this is drawn, until `close`."""
        if self._live is None:
            self._live = _live(drawing)
            self._live.start()
            atexit.register(self.close)
        else:
            self._live.update(drawing)

    def close(self) -> None:
        """Takes the drawing away, and gives the cursor back."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def _live(drawing: RenderableType) -> Live:
    from rich.console import Console
    from rich.live import Live

    return Live(
        drawing,
        console=Console(file=sys.stderr, highlight=False),
        refresh_per_second=REPAINTS,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        vertical_overflow="crop",
    )


SCREEN = Screen()
