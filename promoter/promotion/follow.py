"""follow: waits for a pull request, watches a release to its end, and restores Git if that end requires it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from promoter.config.values import WatchConfig
from promoter.errors import ExitCode, PromoterError, SupersededError
from promoter.machine import tracing
from promoter.machine.interrupts import Interrupted
from promoter.model_registry import ModelReference
from promoter.models import Environment, OnFailure, OnFailureAlias, Release, Write
from promoter.promotion import decisions, journal, proposed, record, releases
from promoter.promotion.announce import Announcer
from promoter.promotion.ending import AFTER_RESTORE, Ended, Ending, Opened, Reviewed
from promoter.promotion.gates import quarantine_tag
from promoter.promotion.labels import Labels
from promoter.promotion.observe import Observer
from promoter.promotion.outcome import Act, act
from promoter.promotion.pull_request import MergeWait, PullRequestOpener, reviewed
from promoter.promotion.record import Close, Made, Record, Stage
from promoter.promotion.recorder import Recorder
from promoter.promotion.restore import Restoration, deploys, plan_restore, proposing_restore, restore, restored_by
from promoter.promotion.watch import Clock, OnLook, OnVerdict, Timing, Watched, Watcher, listen, phase_name
from promoter.verdict import Kind, Reason, Verdict, judge

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.gitops import Repository
    from promoter.promotion.clients import Clients
    from promoter.promotion.releases import Committed
    from promoter.verdict.observation import Observation


_AGAIN = 120.0  # seconds


@dataclass(slots=True)
class Follower:
    """Follows releases of one environment. `on_verdict` and `on_look` are as those of a watch; `say` gets what is between.

    `waits`: for the merge of the pull request that restores Git, if it is restored by one. `syncs`: asks Argo CD for a sync
    where auto-sync is off. `made` is how the release was promoted, if this run did that.
    """

    clients: Clients
    environment: Environment
    on_verdict: OnVerdict
    say: Callable[[str], None]
    timing: Timing | None = None
    clock: Clock = field(default_factory=Clock)
    waits: bool = False
    syncs: bool = False
    on_look: OnLook = lambda *_: None
    made: Made | None = None
    _argocd: ArgoCD | None = None
    _repository: Repository | None = None
    _stages: list[Stage] = field(default_factory=list)

    @property
    def argocd(self) -> ArgoCD:
        self._argocd = self._argocd or self.clients.argocd()
        return self._argocd

    @property
    def repository(self) -> Repository:
        self._repository = self._repository or self.clients.repository(self.environment.application)
        return self._repository

    def merge(self, proposing: PullRequestOpener, opened: Opened) -> Ended:
        """Waits until a pull request is merged, closed or refused; raises as `MergeWait.run`."""
        return MergeWait(proposing, opened, self.say, self._pause, self.clock.now).run()

    def _pause(self, seconds: float) -> None:
        self.clock.wait(seconds, threading.Event())

    def follow(self, committed: Committed, *, restoring: bool = True, found: bool = False) -> Ending:
        """Watches to the end of this release, and if it failed, of the restore. Notices report the progress.

        `found`: at its end already, by one look of many.

        Raises:
            AuthError, UnreachableError: as Argo CD and the Git server answer.
        """
        announcer = Announcer(self.clients, self.environment)
        begun = announcer.begun(self.repository, committed, found=found)
        try:
            with tracing.continuing(journal.of(committed.commit).traceparent):
                ending = self._follow(committed, restoring=restoring)
        except (PromoterError, Interrupted) as error:
            announcer.broke(begun, error)
            if isinstance(error, PromoterError):  # whoever sent a signal waits for nothing, and reconcile adds what it finds
                self._record(committed, record.unwatched(str(error), self._stages), made=self.made)
            raise
        announcer.ended(begun, ending)
        self._record(committed, record.of_ending(ending, self._stages), made=self.made)
        if ending.exit_code in (ExitCode.DONE, ExitCode.RESTORED) and not ending.note:
            Labels(self.clients, self.environment, self.say).show(self.repository, ending.stable or ending.release)
        return ending

    def again(self, committed: Committed) -> Watched:
        """Whether a release that was live still is: it has two minutes to be proven so. Nothing is restored or announced.

        Raises:
            AuthError, UnreachableError: as Argo CD and the Git server answer.
        """
        timing = self.timing or configured(self.clients.config.watch)
        limits = {name: min(getattr(timing, name), _AGAIN) for name in ("observe", "sync", "roll")}
        return self._watch(committed, [], timing=replace(timing, **limits))

    def _follow(self, committed: Committed, *, restoring: bool) -> Ending:
        watched = self._refused(committed) or self._watch(committed, self._stages)
        verdict = watched.verdict
        if verdict.kind is Kind.SUPERSEDED and (found := restored_by(self.repository, self.environment, committed)):
            undone, reason = found
            self.say(f"{undone.commit.sha} restored version {undone.release.version}: {reason}")
            return self._until_restored(committed, verdict, undone)
        if verdict.kind is Kind.LIVE and self._lacks_analysis(committed, verdict):
            return self._ending(committed, verdict, ExitCode.NEEDS_PERSON, note=_unanalysed(verdict))
        if not verdict.restore or watched.timed_out or not restoring:
            return self._ending(committed, verdict, watched.exit_code)
        try:
            with tracing.span(f"restore {self.environment.name}", reason=str(verdict.reason or verdict.kind)):
                return self._restore(committed, verdict)
        except SupersededError as error:
            evidence = (f"{verdict.kind}: {verdict.summary}", *verdict.evidence)
            superseded = Verdict(Kind.SUPERSEDED, error.message, evidence=evidence)
            return self._ending(committed, superseded, ExitCode.SUPERSEDED, note=error.message)

    def _refused(self, committed: Committed) -> Watched | None:
        """Of a release that a pull request brought, and that gates refuse before it is live: it is not watched."""
        if self.environment.write is not Write.PULL_REQUEST:
            return None
        refusal = proposed.refusal(self.clients, self.environment, committed, self.say)
        if refusal is None:
            return None
        observer = Observer(self.argocd, self.repository, self.environment, committed.expectation(self.environment))
        found = judge(observer.first_look(self._pause), observer.expected)
        verdict = proposed.verdict_on(found, committed, refusal)
        if verdict is None:
            self.say(f"gates refuse version {committed.release.version}, which is {found.kind}: {'; '.join(refusal.words)}")
            return None
        self.on_verdict(verdict)
        return Watched(verdict)

    def _restore(self, committed: Committed, verdict: Verdict) -> Ending:
        """Raises: SupersededError, with nothing written."""
        opened, note = None, ""
        try:
            restoration = plan_restore(self.argocd, self.repository, self.environment, committed, verdict)
            for line in restoration.logs:
                self.say(line)
            if self.environment.on_failure is OnFailure.PULL_REQUEST:
                opened, restored, note = self._restore_by_pull_request(restoration)
            else:
                restored = restore(self.repository, self.argocd, restoration)
        except SupersededError:
            raise
        except PromoterError as error:
            why = f"{error.message}; {error.hint}" if error.hint else error.message
            self.say(f"not restored: {why}")
            return self._ending(committed, verdict, ExitCode.NOT_RESTORED, note=why)
        if restored is None:
            ending = self._ending(committed, verdict, ExitCode.NOT_RESTORED, note=note, logs=restoration.logs)
            return replace(ending, pull_request=opened)
        self.say(f"restored version {restored.release.version} with commit {restored.commit.sha}")
        ending = self._until_restored(committed, verdict, restored, restoration.logs)
        if verdict.quarantine:
            self._tag_in_mlflow(committed.release, restored.commit.sha)
            self._move_alias_back(committed.release, restored.release)
        return replace(ending, pull_request=opened)

    def _restore_by_pull_request(self, restoration: Restoration) -> tuple[Opened | None, Committed | None, str]:
        """The urgent pull request, and what Git was restored by; without that, why it is not restored yet.

        Raises: as `PullRequestOpener.run` and `MergeWait.run`.
        """
        forge = self.clients.forge(self.environment.application)
        proposing = proposing_restore(self.repository, forge, restoration)
        opened = proposing.run()
        if opened is None:  # somebody else put it back meanwhile
            return None, releases.current(self.repository, self.environment), ""
        self.say(f"{opened.done} {opened.url}: {opened.title}")
        if not self.waits:
            return opened, None, f"Git is restored when {opened.url} is merged"
        ended = self.merge(proposing, opened)
        if ended.merged is None:
            return opened, None, ended.detail
        stable = restoration.stable.release
        return opened, releases.merged(self.repository, self.environment, ended.merged, stable), ""

    def _tag_in_mlflow(self, bad: Release, commit: str) -> None:
        """Copies the quarantine to MLflow for people who look at the model: Git has the truth, so nothing waits for it."""
        try:
            registry = self.clients.model_registry
            registry.set_tag(bad.model, bad.version, quarantine_tag(self.environment), commit)
        except PromoterError as error:
            self.say(f"{bad.model}:{bad.version} is not tagged in MLflow: {error.message}")

    def _move_alias_back(self, bad: Release, stable: Release) -> None:
        """If the environment wants that, and while the alias still names the bad version: somebody may have moved it on."""
        alias = self.environment.alias
        if self.environment.on_failure_alias is not OnFailureAlias.MOVE_BACK or not alias:
            return
        try:
            registry = self.clients.model_registry
            now = registry.at_alias(bad.model, alias)
            if now is None or not decisions.deploys(bad, now):
                named = f"version {now.version}" if now else "no version"
                self.say(f"{bad.model}@{alias} is not moved back: it names {named} by now")
                return
            if not decisions.deploys(stable, registry.registered(ModelReference(bad.model, version=stable.version))):
                self.say(f"{bad.model}@{alias} is not moved back: version {stable.version} is of a model registered again")
                return
            registry.set_alias(bad.model, alias, stable.version)
            self.say(f"{bad.model}@{alias} is moved back from version {bad.version} to {stable.version}")
        except PromoterError as error:
            self.say(f"{bad.model}@{alias} is not moved back from version {bad.version}: {error.message}")

    def _lacks_analysis(self, committed: Committed, verdict: Verdict) -> bool:
        """What comes back was looked at when it came first."""
        required = self.environment.require_analysis and not verdict.analyses
        return required and act(self.environment, committed) in (Act.PROMOTED, Act.BY_HAND)

    def _record(self, committed: Committed, close: Close, made: Made | None = None) -> None:
        """Attaches the record of a promotion that has ended to its image."""
        recorder = Recorder(self.clients, self.environment, self.say)
        if recorder.wanted:
            reviewed = None if close.kind == record.NOT_WATCHED else self._reviewed(committed)
            recorder.write(Record(self.environment, committed, close, made=made, reviewed=reviewed))

    def _reviewed(self, committed: Committed) -> Reviewed | None:
        """The pull request that brought the commit, where promoter writes by pull requests."""
        environment = self.environment
        if environment.write is not Write.PULL_REQUEST and environment.on_failure is not OnFailure.PULL_REQUEST:
            return None
        try:
            return reviewed(self.clients.forge(environment.application), environment, committed.commit.sha)
        except PromoterError as error:
            self.say(f"who approved {committed.commit.sha[:10]} is not known: {error.message}")
            return None

    def _until_restored(
        self, committed: Committed, verdict: Verdict, restored: Committed, logs: tuple[str, ...] = ()
    ) -> Ending:
        """Watches until the cluster runs what Git has again, or a newer release has replaced it."""
        stages: list[Stage] = []
        watched = self._watch(restored, stages, displaced=committed.release)
        code, note = _after_restore(watched.verdict)
        if watched.verdict.kind is Kind.LIVE:
            self._record(restored, record.of_verdict(watched.verdict, stages, int(ExitCode.DONE)))
        ending = self._ending(committed, verdict, code, restored=restored.commit.sha, note=note, logs=logs)
        return replace(ending, stable=restored.release)

    def _watch(
        self, committed: Committed, stages: list[Stage], displaced: Release | None = None, timing: Timing | None = None
    ) -> Watched:
        """`stages` gets how far the release was seen to get."""

        def hear(verdict: Verdict) -> None:
            stage = Stage.of(verdict)
            if not stages or not stage.goes_on(stages[-1]):
                stages.append(stage)
            self.on_verdict(verdict)

        timing = timing or self.timing or configured(self.clients.config.watch)
        expected = committed.expectation(self.environment)
        observer = Observer(self.argocd, self.repository, self.environment, expected, patience=timing.observe)
        ends = deploys(self.repository, self.environment, displaced) if displaced else lambda _: False
        with self._events() as wake, self._span(committed), closing(tracing.Phases()) as phases:
            return Watcher(
                observer,
                self.argocd,
                hear,
                timing,
                self.clock,
                wake,
                ends,
                syncs=self.syncs,
                on_look=partial(self._look, phases),
            ).watch()

    def _look(self, phases: tracing.Phases, seen: Observation, verdict: Verdict) -> None:
        phases.begin(phase_name(seen, verdict))
        self.on_look(seen, verdict)

    def _span(self, committed: Committed) -> AbstractContextManager[None]:
        release = committed.release
        return tracing.span(
            f"watch {self.environment.name}", commit=committed.commit.sha, model=release.model, version=release.version
        )

    @contextmanager
    def _events(self) -> Iterator[threading.Event]:
        wake, ended = threading.Event(), threading.Event()
        listen(self.clients.argocd(), self.environment.application, wake, ended)
        try:
            yield wake
        finally:
            ended.set()

    def _ending(
        self,
        committed: Committed,
        verdict: Verdict,
        exit_code: ExitCode,
        *,
        restored: str | None = None,
        note: str = "",
        logs: tuple[str, ...] = (),
    ) -> Ending:
        release, commit = committed.release, committed.commit.sha
        return Ending(self.environment.name, release, commit, verdict, exit_code, restored, note, logs)


def configured(watch: WatchConfig) -> Timing:
    """The timing that promoter.yaml sets: `timeout` bounds each phase."""
    return Timing(
        stable_for=watch.stable_for,
        sync_grace=watch.sync_grace,
        observe=min(Timing().observe, watch.timeout),
        sync=watch.timeout,
        roll=watch.timeout,
        person=watch.person,
    )


def _unanalysed(verdict: Verdict) -> str:
    """What `require-analysis` misses, and how a person gets it."""
    missing = "it is live, and no analysis looked at it (require-analysis)"
    if not verdict.to_analyse:
        return f"{missing}; its strategy has none: add one, or promoter rollback"
    return f"{missing}; to run what the strategy has: {' ; '.join(verdict.to_analyse)}"


def _after_restore(verdict: Verdict) -> tuple[ExitCode, str]:
    """How the process ends, and which half is done if not both are."""
    if verdict.reason is Reason.SCALED_TO_ZERO:
        return ExitCode.RESTORED, f"Git is restored; in the cluster there is nothing to prove: {verdict.summary}"
    code = AFTER_RESTORE[verdict.kind]
    return code, "" if code is ExitCode.RESTORED else f"Git is restored, the cluster is not yet: {verdict.summary}"
