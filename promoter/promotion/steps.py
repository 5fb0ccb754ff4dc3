"""Steps, one after another. Each returns a value that the next one needs, and is reported when it starts and ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

from promoter.errors import PromoterError
from promoter.machine import tracing
from promoter.models import Status, Step
from promoter.promotion.ending import MEANINGS

T = TypeVar("T")
Report = Callable[[Step], None]


def silent(step: Step) -> None:
    """A report without output."""


@dataclass(slots=True)
class Steps:
    """Runs steps and keeps what became of each in `done`."""

    report: Report = silent
    done: list[Step] = field(default_factory=list)

    def run(
        self,
        name: str,
        work: Callable[[], T],
        detail: Callable[[T], str] = lambda _: "",
        skipped: Callable[[T], bool] = lambda _: False,
    ) -> T:
        """The value of `work`; an error is recorded as failed (a rule refused) or errored, and raised again."""
        started = time.monotonic()
        self.report(Step(name, Status.RUNNING))
        try:
            with tracing.span(name) if tracing.on else nullcontext():
                value = work()
        except PromoterError as error:
            self._end(Step(name, MEANINGS[error.exit_code].step, error.message, time.monotonic() - started))
            raise
        status = Status.SKIPPED if skipped(value) else Status.SUCCEEDED
        self._end(Step(name, status, detail(value), time.monotonic() - started))
        return value

    def _end(self, step: Step) -> None:
        self.done.append(step)
        self.report(step)
