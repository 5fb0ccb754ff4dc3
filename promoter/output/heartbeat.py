"""What is still going on, every thirty seconds: in a log, where a line appears only when something has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY = 30.0
"""Seconds of silence before a line."""


class Heartbeat:
    """Names what was begun last, while no other line appears. One thread, which ends with the process."""

    def __init__(self, say: Callable[[str], None], every: float = EVERY) -> None:
        self._say, self._every = say, every
        self._doing, self._since, self._silent_since = "", 0.0, 0.0
        self._thread: threading.Thread | None = None

    def begin(self, doing: str) -> None:
        """From now on this is going on."""
        self._doing, self._since = doing, time.monotonic()
        self.heard()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def heard(self) -> None:
        """Another line has appeared."""
        self._silent_since = time.monotonic()

    def end(self) -> None:
        """Nothing is going on that takes long."""
        self._doing = ""

    def _run(self) -> None:
        while True:
            time.sleep(max(0.01, self._silent_since + self._every - time.monotonic()))
            if self._doing and time.monotonic() - self._silent_since >= self._every:
                self._say(f"… {self._doing}, for {elapsed(time.monotonic() - self._since)}")
                self.heard()
            elif not self._doing:
                self.heard()


def elapsed(seconds: float) -> str:
    """`40 s`, `3 min 10 s`, `1 h 05 min`"""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
