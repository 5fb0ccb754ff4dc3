"""Compares alias, Git and cluster on an event or on schedule, and puts what differs into the work queue."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promoter.errors import PromoterError
from promoter.promotion.survey import Survey
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients
    from promoter.webhook.source import ConfigSource
    from promoter.webhook.work import Key

_FIRST_RETRY, _LONGEST_RETRY = 5.0, 300.0
_REPORT = "this is a fault of promoter: please report it"


@dataclass
class Controller:
    """One thread. It looks at all models that were woken since its last look at once: a burst of events costs one look.

    `interval`: seconds between looks at everything. `survey` makes one for each look; `add` hands on what differs, with the
    survey that found it.
    """

    source: ConfigSource
    survey: Callable[[Clients], Survey]
    add: Callable[[Key, Survey], None]
    interval: float
    metrics: Metrics
    log: Log
    clock: Callable[[], float] = time.monotonic
    _turn: threading.Condition = field(default_factory=threading.Condition)
    _woken: dict[str, float] = field(default_factory=dict)
    _everything_at: float = float("-inf")
    _closed: bool = False
    _problem: str = "everything is being compared for the first time"
    _failures: int = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._thread.start()

    def wake(self, model: str, after: float = 0.0) -> None:
        """This model is looked at in so many seconds, if not earlier."""
        with self._turn:
            when = self.clock() + after
            self._woken[model] = min(when, self._woken.get(model, when))
            self._turn.notify()

    def close(self) -> None:
        with self._turn:
            self._closed = True
            self._turn.notify()

    def join(self) -> None:
        """Waits until the look at hand has ended."""
        self._thread.join()

    @property
    def health(self) -> str:
        """Nothing while the thread is at work, else what is wrong."""
        return "" if self._thread.is_alive() else "the thread that compares has ended"

    @property
    def ready(self) -> str:
        """Nothing once everything could be compared, the reason until then."""
        return "shutting down" if self._closed else self._problem

    # -- inside -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (woken := self._next()) is not None:
            self._look_at(woken)

    def _next(self) -> frozenset[str] | None:
        """The models that are due; empty if everything is due; None at the end."""
        with self._turn:
            while not self._closed:
                now = self.clock()
                if self._everything_at <= now:
                    self._woken.clear()
                    self._everything_at = now + self.interval * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret
                    return frozenset()
                if due := frozenset(model for model, when in self._woken.items() if when <= now):
                    self._woken = {model: when for model, when in self._woken.items() if model not in due}
                    return due
                self._turn.wait(min(self._everything_at, *self._woken.values(), float("inf")) - now)
        return None

    def _look_at(self, models: Collection[str]) -> None:
        try:
            survey, differing = self._differing(models)
        except Exception as error:  # what nobody foresaw ends this look, not the thread
            self._failed(models, error)
            return
        self._failures = 0
        self._problem = self._problem if models else ""
        self.metrics.looked("succeeded", at_everything=not models)
        for key in differing:
            self.log("differs", environment=key[0], model=key[1])
            self.add(key, survey)

    def _failed(self, models: Collection[str], error: Exception) -> None:
        known = error if isinstance(error, PromoterError) else PromoterError(f"{type(error).__name__}: {error}", hint=_REPORT)
        self._failures += 1
        self._again(models, min(_LONGEST_RETRY, _FIRST_RETRY * 2 ** min(self._failures - 1, 10)))
        self._problem = self._problem and known.message
        self.metrics.looked("failed", at_everything=not models)
        self.log("look", error=known.message, hint=known.hint)

    def _again(self, models: Collection[str], seconds: float) -> None:
        for model in models:
            self.wake(model, seconds)
        if not models:
            with self._turn:
                self._everything_at = min(self._everything_at, self.clock() + seconds)

    def _differing(self, models: Collection[str]) -> tuple[Survey, list[Key]]:
        clients = self.source.clients()
        survey = self.survey(clients)
        every = clients.config.environments
        chosen = [every.made(one) for one in every.named if one.model in models] if models else every
        found = survey.differing(chosen) if chosen else ()
        return survey, [(environment.name, environment.model.name) for environment in found]
