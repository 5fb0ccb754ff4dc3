"""What is done about one environment that differs: it is reconciled here, or a pipeline is dispatched that reconciles it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from promoter.commands.reconcile import Action, Reconciled, Reconciler
from promoter.errors import ExitCode, PromoterError
from promoter.models import Environment, Step
from promoter.promotion.survey import Survey
from promoter.promotion.watch import Clock
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics

if TYPE_CHECKING:
    from promoter.webhook.dispatch import Pipeline
    from promoter.webhook.source import ConfigSource

Key = tuple[str, str]
"""An environment by name and model."""

DISPATCHED_AGAIN = 1800.0
"""Seconds before the same thing is dispatched once more, should nothing have come of it."""

_RETRY = 30.0
_RECENT = 10.0  # seconds: what waited longer for its turn is read again
_SLICE = 0.5
_AFTER = 1.0  # seconds after the end of a freeze: not a moment before it


class StoppedError(Exception):
    """The receiver ends while it watches: no error of the release's, so none that reconcile would answer for it with."""


class StoppingClock(Clock):
    """Ends a watch soon after `stopping` is set."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def wait(self, seconds: float, wake: threading.Event) -> None:
        end = self.now() + seconds
        while not self._stopping.is_set():
            left = end - self.now()
            if left <= 0 or wake.wait(min(_SLICE, left)):
                return
        raise StoppedError


@dataclass(frozen=True)
class Work:
    """Reconciles one environment. `wake` asks for another look at a model in so many seconds.

    A survey that `found` the environment to differ is used if it is recent; otherwise everything is read again.
    """

    source: ConfigSource
    reconciler: Callable[..., Reconciler]
    wake: Callable[[str, float], None]
    metrics: Metrics
    log: Log
    clock: Callable[[], float] = time.monotonic
    _surveys: dict[Key, tuple[float, Survey]] = field(default_factory=dict)

    def found(self, key: Key, survey: Survey) -> None:
        """This survey was made just now, and the environment differs in it."""
        self._surveys[key] = self.clock(), survey

    def __call__(self, key: Key) -> None:
        name, model = key
        started = time.monotonic()
        try:
            survey = self._recent(key)
            clients = survey.clients if survey else self.source.clients()
            environment = clients.config.environment(name, model)
            grouped = environment.group is not None
            (done,) = self.reconciler(clients, partial(self._step, name, model), survey=survey).run([environment])
        except StoppedError:
            self.log("left", environment=name, model=model, detail="stopped watching: the next reconcile goes on")
            return
        except PromoterError as error:
            done, grouped = Reconciled(name, model, Action.FAILED, error.message, error.exit_code), False
        self.metrics.reconciled(done)
        self.log(
            "reconciled",
            environment=name,
            model=model,
            action=done.action.value,
            detail=done.detail,
            commit=done.commit,
            exit_code=int(done.exit_code),
            seconds=round(time.monotonic() - started, 3),
        )
        if done.exit_code is ExitCode.UNREACHABLE or done.action is Action.ON_ITS_WAY:
            self.wake(model, _RETRY)  # an alias may have moved on while somebody else watches the release before
        if done.commit is not None and grouped:
            self.wake(model, _AFTER)  # the rest of its group may wait for what was done here
        if done.until is not None:
            self.wake(model, max(0.0, (done.until - datetime.now(UTC)).total_seconds()) + _AFTER)

    def _recent(self, key: Key) -> Survey | None:
        when, survey = self._surveys.pop(key, (0.0, None))
        return survey.handed_on() if survey is not None and self.clock() - when <= _RECENT else None

    def failed(self, key: Key, error: BaseException) -> None:
        """What nobody foresaw ends this run, not the receiver: it is tried again."""
        name, model = key
        self.metrics.reconciled(Reconciled(name, model, Action.FAILED, "", ExitCode.UNEXPECTED))
        self.log(
            "reconciled", environment=name, model=model, action="failed", detail=f"{type(error).__name__}: {error}", exit_code=1
        )
        self.wake(model, _RETRY)

    def _step(self, environment: str, model: str, step: Step) -> None:
        self.metrics.step(step)
        self.log.step(environment, model, step)


@dataclass
class Dispatcher:
    """Dispatches `pipeline` for what is missing.

    It remembers what it dispatched, so that the looks until the pipeline has committed don't dispatch it again. That is to
    spare runs, and may be lost: a second run of the same finds nothing left to do.
    """

    pipeline: Pipeline
    clock: Callable[[], float] = time.monotonic
    _dispatched: dict[Key, tuple[str, float]] = field(default_factory=dict)

    def __call__(self, environment: Environment, missing: str) -> Reconciled:
        name, model = key = environment.name, environment.model.name
        before, when = self._dispatched.get(key, ("", 0.0))
        if before == missing and self.clock() - when < DISPATCHED_AGAIN:
            return Reconciled(name, model, Action.ON_ITS_WAY, f"{missing}: dispatched {self.clock() - when:.0f} s ago")
        self.pipeline.dispatch(model, name)
        self._dispatched[key] = missing, self.clock()
        return Reconciled(name, model, Action.DISPATCHED, f"{missing}: {self.pipeline.where}")
