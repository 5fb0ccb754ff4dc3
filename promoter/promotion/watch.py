"""watch: looks at a promotion until its end is certain, and reports every change on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from promoter.argocd.client import ArgoCD
from promoter.argocd.errors import UnwatchableError
from promoter.errors import AuthError, ExitCode, PromoterError, UnreachableError
from promoter.models import Application
from promoter.promotion.ending import EXIT_CODES
from promoter.promotion.observe import Observer
from promoter.verdict import Kind, Reason, Verdict, judge
from promoter.verdict.observation import Observation

OnVerdict = Callable[[Verdict], None]
OnLook = Callable[[Observation, Verdict], None]

_NOT_SYNCED = frozenset({Reason.AUTO_SYNC_OFF, Reason.AUTO_SYNC_SKIPPED, Reason.NOT_APPLIED})

_SPARE_REQUESTS = 3.0
_FIRST_STREAM_WAIT, _LONGEST_STREAM_WAIT = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `poll` between looks, `refresh` between refreshes, `stable_for` between the two looks that prove a release live.

    `observe`, `sync`, `roll`: how long the promotion may stay in that phase without getting further. `sync_grace`: how long
    Argo CD may take to begin a sync before it is asked for. `person`: how long to wait where only a person can help.
    `requests`: to Argo CD, for each second. 0.75 are 45 a minute, and with what a watch may have at once, a last look and the
    stream opened a few times never more than 60.
    """

    poll: float = 5.0
    refresh: float = 20.0
    stable_for: float = 10.0
    confirm: float = 1.0
    sync_grace: float = 30.0
    observe: float = 300.0
    sync: float = 900.0
    roll: float = 1800.0
    person: float = 0.0
    requests: float = 0.75


class Clock:
    """Time as it passes. A test has its own, that passes as fast as the test likes."""

    def now(self) -> float:
        return time.monotonic()

    def time(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float, wake: threading.Event) -> None:
        """Until `seconds` have passed or `wake` is set."""
        wake.wait(seconds)


@dataclass(frozen=True, slots=True)
class Watched:
    """The last verdict; `timed_out` when it is not an end, and `phase` seconds passed without one."""

    verdict: Verdict
    timed_out: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """How the process ends when nothing is restored."""
        return ExitCode.TIMED_OUT if self.timed_out else EXIT_CODES[self.verdict.kind]


@dataclass(slots=True)
class _Course:
    """What the looks so far amount to: the last verdict, and since when (seconds) what of it has been so."""

    verdict: Verdict = field(default_factory=lambda: Verdict(Kind.NOT_OBSERVED, "nothing was seen of the Application yet"))
    phase: str = ""
    phase_since: float = 0.0
    since: datetime | None = None
    certain_since: float = 0.0
    waiting_since: float | None = None
    looks: int = 0

    def take(self, verdict: Verdict, now: float) -> None:
        before = self.verdict
        if self.looks == 0 or (verdict.kind, verdict.reason) != (before.kind, before.reason):
            self.certain_since, self.looks = now, 0
        if self.phase != _phase(verdict):
            self.phase, self.phase_since, self.since = _phase(verdict), now, datetime.now(UTC)
        self.verdict = replace(verdict, since=self.since)
        self.waiting_since = (now if self.waiting_since is None else self.waiting_since) if verdict.sync_due else None
        self.looks += 1


@dataclass(slots=True)
class _Allowance:
    """So many requests a second, a few of them at once; what was overdrawn is waited for."""

    per_second: float
    since: float
    left: float = _SPARE_REQUESTS

    def spend(self, requests: int, now: float) -> None:
        self.left = min(_SPARE_REQUESTS, self.left + (now - self.since) * self.per_second) - requests
        self.since = now

    def wait(self, now: float) -> float:
        """Seconds until the next look may begin."""
        return max(0.0, -self.left / self.per_second - (now - self.since))


@dataclass(slots=True)
class Watcher:
    """One watch. `on_verdict` gets each verdict that differs from the last, `on_look` each look with its verdict.

    `may_terminate`: whether a revision's operation may be terminated: only that of the release being replaced.
    `syncs`: a sync is asked for where auto-sync is off, too.
    """

    observer: Observer
    argocd: ArgoCD
    on_verdict: OnVerdict
    timing: Timing = Timing()
    clock: Clock = field(default_factory=Clock)
    wake: threading.Event = field(default_factory=threading.Event)
    may_terminate: Callable[[str], bool] = lambda _: False
    syncs: bool = False
    on_look: OnLook = lambda *_: None
    _asked_for_sync: bool = False
    _refusal: str = ""
    _refusals: int = 0
    _refreshed: float = float("-inf")
    _reported: tuple[object, ...] = ()

    def watch(self) -> Watched:
        """Looks until an end is seen twice: a failure in two looks in a row, a live release `stable_for` apart.

        Raises:
            AuthError: Argo CD or the Git server refuses us, twice in a row.
        """
        course = _Course(phase_since=self.clock.now())
        allowance = _Allowance(self.timing.requests, self.clock.now())
        while True:
            before = self.argocd.requests
            seen = self._look(course)
            now = self.clock.now()
            if seen is not None:
                course.take(seen, now)
                self._report(course.verdict)
            if (end := self._end(course, seen is not None, now)) is not None:
                return end
            if seen is not None:
                self._help(seen, now - (now if course.waiting_since is None else course.waiting_since))
            allowance.spend(self.argocd.requests - before, now)
            self._pause(course, allowance)

    def _end(self, course: _Course, answered: bool, now: float) -> Watched | None:
        verdict = course.verdict
        if answered and verdict.terminal:
            certain = course.looks > 1 and now - course.certain_since >= self._certain_after(verdict)
            return Watched(verdict) if certain else None
        if now - course.phase_since <= self._limit(verdict):
            return None
        since = f" (since {verdict.since:%Y-%m-%d %H:%M:%S} UTC)" if verdict.since else ""
        return Watched(replace(verdict, summary=verdict.summary + since), timed_out=True)

    def _report(self, verdict: Verdict) -> None:
        """Reports a verdict only if it differs from the last."""
        if (words := _words(verdict)) != self._reported:
            self._reported = words
            self.on_verdict(verdict)

    # -- one look -----------------------------------------------------------------------------------------------------

    def _look(self, course: _Course) -> Verdict | None:
        """The verdict now; None while Argo CD or Git does not answer."""
        now = self.clock.now()
        refresh = now - self._refreshed >= (2.0 if course.verdict.kind is Kind.NOT_OBSERVED else self.timing.refresh)
        try:
            seen = self.observer.look(refresh=refresh, sync_requested=self._asked_for_sync)
        except AuthError:
            self._refusals += 1
            if self._refusals > 1:
                raise
            return None
        except UnwatchableError as error:
            return Verdict(Kind.NEEDS_PERSON, error.message, Reason.UNWATCHABLE, (error.hint,))
        except PromoterError as error:
            # Nothing that one look meets ends the watch: the deadline does, with an outcome.
            self._report(replace(course.verdict, summary=f"no answer at the moment: {error.message}"))
            return None
        self._refusals = 0
        self._refreshed = now if refresh else self._refreshed
        verdict = judge(seen, self.observer.expected)
        self.on_look(seen, verdict)
        if self.syncs and verdict.reason is Reason.AUTO_SYNC_OFF and not self._asked_for_sync:
            return Verdict(Kind.SYNCING, "auto-sync is off: a sync is asked for", Reason.AUTO_SYNC_OFF, sync_due=True)
        concerns = verdict.held_by or verdict.reason in _NOT_SYNCED
        return replace(verdict, evidence=(*verdict.evidence, self._refusal)) if self._refusal and concerns else verdict

    def _help(self, verdict: Verdict, waited: float) -> None:
        """The two requests that promoter may make of Argo CD in addition to a refresh; the next verdict shows the result."""
        application = self.observer.environment.application
        grace = 0.0 if verdict.reason is Reason.AUTO_SYNC_OFF else self.timing.sync_grace  # auto-sync may still begin one
        if verdict.sync_due and waited >= grace and not self._asked_for_sync:
            self._asked_for_sync = self._ask(lambda: self.argocd.sync(application))
        if verdict.held_by and self.may_terminate(verdict.held_by):
            self._ask(lambda: self.argocd.terminate(application))

    def _ask(self, ask: Callable[[], object]) -> bool:
        """Whether Argo CD answered, if only with a refusal, which the next verdicts name. Otherwise it is asked again."""
        try:
            ask()
        except UnreachableError:
            return False
        except AuthError as error:
            self._refusal = f"{error.message}; {error.hint}"
        except PromoterError:
            pass  # nothing to sync or to end by now: the next verdict shows it
        return True

    # -- time ---------------------------------------------------------------------------------------------------------

    def _certain_after(self, verdict: Verdict) -> float:
        if verdict.kind is Kind.LIVE:
            return self.timing.stable_for
        if verdict.reason in (Reason.CHANGED_BY_HAND, Reason.NOT_APPLIED):
            return max(self.timing.person, self.timing.sync_grace)  # a sync may be about to undo it
        if verdict.reason is Reason.AUTO_SYNC_OFF and self._asked_for_sync and not self._refusal:
            return max(self.timing.person, self.timing.sync_grace)  # the sync that was asked for may not be seen yet
        return self.timing.person if verdict.kind is Kind.NEEDS_PERSON else 0.0

    def _pause(self, course: _Course, allowance: _Allowance) -> None:
        """Until the next look: as soon as an event of Argo CD's stream wakes it, if the requests of the minute allow that."""
        left, confirms = self._until_next(course), course.verdict.terminal and course.verdict.kind is not Kind.LIVE
        if not confirms and (least := allowance.wait(self.clock.now())) > 0:
            self.clock.wait(least, threading.Event())
            left -= least
        if left > 0:
            self.clock.wait(left, self.wake)
        self.wake.clear()

    def _until_next(self, course: _Course) -> float:
        if not course.verdict.terminal:
            return min(1.0, self.timing.poll) if course.verdict.kind is Kind.NOT_OBSERVED else self.timing.poll
        left = course.certain_since + self._certain_after(course.verdict) - self.clock.now()
        return min(self.timing.poll, max(self.timing.confirm, left))

    def _limit(self, verdict: Verdict) -> float:
        if verdict.kind is Kind.NOT_OBSERVED:
            return self.timing.observe
        return self.timing.roll if verdict.kind is Kind.ROLLING else self.timing.sync


def listen(argocd: ArgoCD, application: Application, wake: threading.Event, ended: threading.Event) -> threading.Thread:
    """Sets `wake` when Argo CD's event stream reports the Application. A hint only: events get lost."""

    def follow() -> None:
        wait = _FIRST_STREAM_WAIT
        while not ended.is_set():
            opened = time.monotonic()
            try:
                for _ in argocd.stream(application):
                    wake.set()
                    if ended.is_set():
                        return
            except PromoterError:
                pass  # a hint that does not come: the looks go on without it
            lasted = time.monotonic() - opened >= _LONGEST_STREAM_WAIT
            wait = _FIRST_STREAM_WAIT if lasted else min(_LONGEST_STREAM_WAIT, wait * 2)
            ended.wait(wait)

    thread = threading.Thread(target=follow, name="argocd-events", daemon=True)
    thread.start()
    return thread


def phase_name(seen: Observation, verdict: Verdict) -> str:
    """What goes on, in a word or two: `syncing`, `step 2: pause 5s`, `live`."""
    rollout = seen.workload.rollout if seen.workload else None
    if verdict.kind is not Kind.ROLLING or rollout is None or rollout.step is None or rollout.step >= len(rollout.steps):
        return str(verdict.kind)
    return f"step {rollout.step + 1}: {rollout.steps[rollout.step].words}"


def _phase(verdict: Verdict) -> str:
    return f"{verdict.kind} {verdict.step} {verdict.held_by}"


def _words(verdict: Verdict) -> tuple[object, ...]:
    return verdict.kind, verdict.reason, verdict.summary, verdict.evidence, verdict.step, verdict.weight
