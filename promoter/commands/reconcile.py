"""reconcile: compares alias, Git and cluster, and does what is missing. Safe to repeat, also during a running promotion."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from promoter.commands import waves
from promoter.commands.group import Group, GroupOutcome, ProgressView
from promoter.commands.plan import plan
from promoter.commands.promote import promote
from promoter.errors import ExitCode, PromoterError
from promoter.model_registry import ModelReference
from promoter.models import Environment, OnAlias, OnFailure, Release, Write
from promoter.output import Progress
from promoter.promotion import gates, proposed, releases
from promoter.promotion.announce import Announcer
from promoter.promotion.ending import MEANINGS, Ending, worst
from promoter.promotion.follow import Follower
from promoter.promotion.freezes import FrozenError, not_frozen
from promoter.promotion.gates.asking import waits
from promoter.promotion.labels import Labels
from promoter.promotion.observe import Observer
from promoter.promotion.record import Made
from promoter.promotion.recorder import Recorder
from promoter.promotion.steps import Report, Steps
from promoter.promotion.survey import Survey
from promoter.promotion.watch import Clock, Timing, Watched
from promoter.verdict import Kind, Reason, Verdict, judge

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients
    from promoter.promotion.releases import Committed


class Action(StrEnum):
    """What reconcile did, or why it did nothing."""

    AGREES = "agrees"
    ON_ITS_WAY = "on its way"
    PROMOTED = "promoted"
    PROPOSED = "proposed"
    RESTORED = "restored"
    DISPATCHED = "dispatched"
    LEFT = "left alone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One environment: what was done, in a sentence, with the exit code that this alone would end with.

    `until`: it is frozen until then, and to be looked at again.
    """

    environment: str
    model: str
    action: Action
    detail: str
    exit_code: ExitCode = ExitCode.DONE
    commit: str | None = None
    until: datetime | None = None


def exit_code(done: Sequence[Reconciled]) -> ExitCode:
    """The worst of them; a release that a gate refused or another one superseded is not a failure of reconcile."""
    return worst(one.exit_code for one in done)


def _progress(application: str) -> ProgressView:
    return Progress(application, in_json=False)


Dispatch = Callable[[Environment, str], Reconciled]


@dataclass
class Reconciler:
    """One run over many environments.

    `dispatch` is called with what is missing, in a sentence that stays the same while it is, where somebody else shall do it:
    then Argo CD may be unknown here, and only alias and Git are compared. `survey` is what was read a moment ago.
    """

    clients: Clients
    report: Report
    progress: Callable[[str], ProgressView] = _progress
    timing: Timing | None = None
    clock: Clock = field(default_factory=Clock)
    dispatch: Dispatch | None = None
    survey: Survey | None = None
    _survey: Survey = field(init=False)

    def __post_init__(self) -> None:
        self._survey = self.survey or Survey(self.clients, with_argocd=self.dispatch is None)

    def run(self, environments: Sequence[Environment]) -> tuple[Reconciled, ...]:
        """Each environment in turn; what is wrong with one does not keep the others from being looked at.

        Raises:
            AuthError, UnreachableError, ArgoCDError: Argo CD does not answer what is asked once for all of them.
        """
        if self.survey is None:
            self._survey.list()
        self._survey.look_up(environments)
        done = [self._guarded(environment, self._one) for environment in environments]
        return tuple(
            one if environment.group is None else self._guarded(environment, partial(self._grouped, one))
            for environment, one in zip(environments, done, strict=True)
        )

    def _guarded(self, environment: Environment, work: Callable[[Environment], Reconciled]) -> Reconciled:
        try:
            return work(self._survey.with_source(environment))
        except PromoterError as error:
            if not waits(error):  # there was a notice when it was frozen
                Announcer(self.clients, environment).refused(error)
            return replace(self._broke(environment, error), until=error.until if isinstance(error, FrozenError) else None)

    def _one(self, environment: Environment) -> Reconciled:
        self._show_gates(environment)
        deployed = self._survey.deployed(environment)
        wanted = self._survey.alias(environment, deployed).other
        behind = wanted is not None
        if deployed is not None and not self._survey.content(environment):
            done = self._attend(environment, behind=behind)
            if done is not None:
                return done
        if wanted is not None and environment.group is not None:
            detail = f"{environment.alias} is version {wanted.version}, which comes in waves of {environment.group.name}"
            return self._outcome(environment, Action.LEFT, detail)
        if wanted is not None:
            return self._promote(environment, wanted.version)
        if deployed is not None and self.dispatch is None:
            self._copy(environment, deployed)
        return self._outcome(environment, Action.AGREES, f"version {deployed.version}" if deployed else "no release yet")

    def _show_gates(self, environment: Environment) -> None:
        """On the open pull request, which may have stopped passing. What can't be shown keeps nothing else from being done."""
        try:
            if environment.write is Write.PULL_REQUEST and self.dispatch is None and self._survey.proposed(environment):
                proposed.refresh(self.clients, environment)
        except PromoterError as error:
            say = self.progress(environment.application.name).say
            say(f"the pull request of {environment.name!r} does not show what gates decide: {error.message}")

    def _copy(self, environment: Environment, deployed: Release) -> None:
        """MLflow gets the labels that it lacks, and images their records, if the release is proven to be live."""
        say = self.progress(environment.application.name).say
        labels, recorder = Labels(self.clients, environment, say), Recorder(self.clients, environment, say)
        repository, tip = self.clients.repository(environment.application), self._survey.branch(environment.application).tip
        complete = recorder.complete(repository, tip)
        if self._labelled(environment, deployed, labels) and complete:
            return
        committed = releases.current(repository, environment)
        observer = Observer(self._survey.argocd, repository, environment, committed.expectation(environment))
        verdict = judge(observer.first_look(self._pause), observer.expected)
        if verdict.kind is Kind.LIVE:
            labels.show(repository, committed.release)
            if not complete:
                recorder.repair(repository, tip, committed.release, verdict)

    def _labelled(self, environment: Environment, deployed: Release, labels: Labels) -> bool:
        try:
            named = self._survey.aliases(environment)
            return (
                not labels.wanted or labels.named(deployed, named) or labels.shown(deployed, self._survey.wanted(environment))
            )
        except PromoterError:
            return True  # labels are copies: the environment itself agrees, and the next look tries again

    # -- waves --------------------------------------------------------------------------------------------------------

    def _grouped(self, done: Reconciled, environment: Environment) -> Reconciled:
        """What is done about a group with its first environment, of which `done` is; for any other environment that stays."""
        if environment.group is None or done.action in (Action.ON_ITS_WAY, Action.DISPATCHED):
            return done
        now = self._survey.group(environment)
        if now is None:
            return done
        wanted = self._survey.wanted(environment) if environment.on_alias is OnAlias.PROMOTE else None
        begins = wanted is not None and waves.begins(now, wanted)
        if self.dispatch is not None:
            missing = f"{environment.alias} is version {wanted.version}" if begins and wanted else now.sentence
            return self.dispatch(environment, missing) if begins or now.unfinished else done
        every = self.clients.config.members(environment.group.name, environment.model.name)
        say = self.progress(environment.application.name).say
        group = Group(self.clients, every, self.progress, say, self.timing, self.clock)
        run = waves.Waves(group, waves.RESUMING, self.report)
        if not begins or wanted is None:
            outcome = run.go_on()
        else:
            outcome = run.promote(waves.resolved(group, ModelReference(environment.model.name, version=wanted.version)))
        return done if outcome is None else self._of_group(environment, outcome)

    def _of_group(self, environment: Environment, outcome: GroupOutcome) -> Reconciled:
        if outcome.exit_code is ExitCode.DONE:
            proposed = any(one.pull_request for one in outcome.environments)
            waits = Action.PROPOSED if proposed else Action.ON_ITS_WAY
            action = waits if outcome.waiting else Action.PROMOTED
        else:
            action = Action.RESTORED if outcome.exit_code is ExitCode.RESTORED else Action.LEFT
        done = self._outcome(environment, action, f"{outcome.group}: {outcome.detail}", outcome.exit_code)
        commits = [one.restored or one.commit for one in outcome.environments]
        return replace(done, commit=next(filter(None, reversed(commits)), None), until=outcome.until)

    # -- what is done about it ----------------------------------------------------------------------------------------

    def _attend(self, environment: Environment, *, behind: bool) -> Reconciled | None:
        """Looks at the releases that Argo CD does not report as live, and restores Git if necessary.

        None if the alias means another version (`behind`) and nothing of the present one is under way: it is the fix.
        """
        repository = self.clients.repository(environment.application)
        committed = releases.current(repository, environment)
        observer = Observer(self._survey.argocd, repository, environment, committed.expectation(environment))
        verdict = judge(observer.first_look(self._pause), observer.expected)
        held = environment.on_failure is OnFailure.HOLD and behind
        due = (verdict.restore and not committed.restores and not held) or verdict.sync_due
        if due or self._refused(environment, committed, verdict):
            if self.dispatch is not None:
                return self.dispatch(environment, f"{verdict.kind} at {committed.commit.sha}")
            return self._follow(environment, committed, found=verdict.restore)
        age = datetime.now(UTC) - committed.commit.when
        late = age > timedelta(seconds=self.clients.config.watch.timeout)
        since = "" if verdict.terminal else f" (committed {committed.commit.when:%Y-%m-%d %H:%M} UTC)"
        if not verdict.terminal and not late:
            return self._outcome(environment, Action.ON_ITS_WAY, f"{verdict.kind}: {verdict.summary}{since}")
        if behind and not _waits_for_a_person(verdict):
            return None
        if verdict.kind is Kind.LIVE:
            return self._outcome(environment, Action.AGREES, f"version {committed.release.version}")
        code = Watched(verdict, timed_out=not verdict.terminal).exit_code
        Announcer(self.clients, environment).stands(committed, verdict, code)
        return self._outcome(environment, Action.LEFT, f"{verdict.kind}: {verdict.summary}{since}", code)

    def _refused(self, environment: Environment, committed: Committed, verdict: Verdict) -> bool:
        """By a gate, since it was merged: following it restores what was there before."""
        say = self.progress(environment.application.name).say
        asked = environment.write is Write.PULL_REQUEST and verdict.kind in proposed.UNDER_WAY
        return asked and proposed.refusal(self.clients, environment, committed, say) is not None

    def _pause(self, seconds: float) -> None:
        self.clock.wait(seconds, threading.Event())

    def _promote(self, environment: Environment, version: str) -> Reconciled:
        if environment.on_alias is not OnAlias.PROMOTE:
            detail = f"{environment.alias} is version {version}; on-alias: {environment.on_alias}"
            return self._outcome(environment, Action.LEFT, detail)
        # every gate is asked here and in the plan of this very version; the alias is not resolved again in between
        resolved = self.clients.model_registry.resolve(ModelReference(environment.model.name, version=version))
        known = self._survey.decisions(environment)
        gates.not_undone(known, resolved, force=False, unattended=True)
        not_frozen(known)
        if self.dispatch is not None:
            return self.dispatch(environment, f"{environment.alias} is version {version}")
        steps = Steps(self.report)
        reference = ModelReference.at(environment.model.name, str(environment.alias))
        made = plan(self.clients, environment, reference, steps, version=resolved, unattended=True)
        outcome = promote(self.clients, made, steps, reopen=False)
        if outcome.pull_request is not None:
            detail = f"version {version}: {outcome.pull_request.done} {outcome.pull_request.url}"
            return self._outcome(environment, Action.PROPOSED, detail)
        repository = self.clients.repository(environment.application)
        committed = releases.current(repository, environment, outcome.commit)
        return self._follow(environment, committed, made=Made(made.gates, outcome.steps))

    def _follow(
        self, environment: Environment, committed: Committed, *, found: bool = False, made: Made | None = None
    ) -> Reconciled:
        """Watches to the end of the release, which the follower announces."""
        progress = self.progress(environment.application.name)
        follower = Follower(self.clients, environment, progress.verdict, progress.say, self.timing, self.clock, made=made)
        try:
            return self._ended(environment, follower.follow(committed, found=found))
        except PromoterError as error:
            return self._broke(environment, error)

    def _ended(self, environment: Environment, ending: Ending) -> Reconciled:
        if ending.exit_code is ExitCode.DONE:
            done = self._outcome(environment, Action.PROMOTED, f"version {ending.release.version} is live")
        elif ending.restored:
            detail = f"version {ending.release.version} {ending.verdict.kind}: {ending.verdict.summary}"
            done = self._outcome(environment, Action.RESTORED, detail, ending.exit_code)
        else:
            detail = ending.note or f"{ending.verdict.kind}: {ending.verdict.summary}"
            action = Action.PROPOSED if ending.pull_request else Action.LEFT
            done = self._outcome(environment, action, detail, ending.exit_code)
        return replace(done, commit=ending.restored or ending.commit)

    def _broke(self, environment: Environment, error: PromoterError) -> Reconciled:
        failed = MEANINGS[error.exit_code].severity > 0
        return self._outcome(environment, Action.FAILED if failed else Action.LEFT, error.message, error.exit_code)

    def _outcome(self, environment: Environment, action: Action, detail: str, code: ExitCode = ExitCode.DONE) -> Reconciled:
        return Reconciled(environment.name, environment.model.name, action, detail, code)


_PAUSES = frozenset({Reason.INCONCLUSIVE, Reason.INDEFINITE_PAUSE, Reason.PAUSED_BY_HAND})


def _waits_for_a_person(verdict: Verdict) -> bool:
    """The canary is under way, and a person may still decide for it; or no Application exists to promote to."""
    return verdict.reason in _PAUSES or verdict.kind is Kind.APPLICATION_GONE
