"""Several releases followed at once, each in a thread of its own, which ends with the one that waits for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from promoter.errors import PromoterError
from promoter.machine.interrupts import Interrupted
from promoter.promotion.watch import Clock

T = TypeVar("T")

_SLICE = 0.5  # seconds until a thread notices that it is to end
_LAST_WORDS = 10.0


@dataclass
class _Ending:
    """Set when a signal has ended the wait for the threads."""

    event: threading.Event = field(default_factory=threading.Event)
    error: Interrupted | None = None


class _EndingClock(Clock):
    """The clock of one of the threads: its waits end when the wait for the thread has."""

    def __init__(self, clock: Clock, ending: _Ending) -> None:
        self._clock, self._ending = clock, ending

    def now(self) -> float:
        return self._clock.now()

    def time(self) -> datetime:
        return self._clock.time()

    def wait(self, seconds: float, wake: threading.Event) -> None:
        end = self.now() + seconds
        while True:
            if self._ending.event.is_set() and self._ending.error is not None:
                raise self._ending.error
            left = end - self.now()
            if left <= 0 or wake.is_set():
                return
            self._clock.wait(min(_SLICE, left), wake)


class _Run(Generic[T]):
    """One piece of work and what came of it."""

    def __init__(self, work: Callable[[Clock], T], clock: Clock) -> None:
        self.value: T | PromoterError | None = None
        self.error: BaseException | None = None
        self._work, self._clock = work, clock
        self.thread = threading.Thread(target=self._run, name="release", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.value = self._work(self._clock)
        except PromoterError as error:
            self.value = error
        except BaseException as error:
            self.error = error


def side_by_side(works: Sequence[Callable[[Clock], T]], clock: Clock) -> list[T | PromoterError]:
    """What each returns or raises of promoter's own errors, once all have ended. They wait by the clock that they are given.

    Raises: whatever else one of them raises, and Interrupted after they have ended too.
    """
    ending = _Ending()
    runs = [_Run(work, _EndingClock(clock, ending)) for work in works]
    try:
        for run in runs:
            while run.thread.is_alive():
                run.thread.join(_SLICE)
    except Interrupted as error:
        ending.error = error
        ending.event.set()
        for run in runs:
            run.thread.join(_LAST_WORDS)
        raise
    found: list[T | PromoterError] = []
    for run in runs:
        if run.error is not None:
            raise run.error
        assert run.value is not None  # noqa: S101 - it ended, and without an error
        found.append(run.value)
    return found
