"""SIGINT, SIGTERM and SIGHUP end a command as an exception, so that its last line and its notices still go out."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE = 5.0  # seconds: a group and its leader may both get the first signal, and a runner sends SIGTERM after SIGINT


class Interrupted(BaseException):
    """A signal asked the process to end: nothing that handles errors on the way may keep it."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"interrupted by {self.signal.name}")

    @property
    def exit_code(self) -> int:
        """As a shell reports it."""
        return 128 + self.signal


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises `Interrupted` at the first signal. Later ones end the process at once, but not within the next seconds.

    A signal that the process was started to ignore (nohup) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def end(number: int, _: object) -> None:
        if not first:
            first.append(time.monotonic())
            raise Interrupted(number)
        if time.monotonic() - first[0] > _GRACE:
            os._exit(128 + number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, end)
    try:
        yield
    finally:
        if not first:  # else the process is on its way out
            for number, handler in heeded.items():
                if signal.getsignal(number) is end:  # what is inside may have ended at a signal, and hold those that follow
                    signal.signal(number, handler)
