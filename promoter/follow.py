"""follow: watches a release to its end, and restores Git where that end calls for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promoter.errors import ExitCode, RefusedError, SupersededError
from promoter.models import Environment, Release
from promoter.observe import Observer
from promoter.restore import Restoration, carries, plan_restore, restore
from promoter.verdict import Kind, Verdict
from promoter.watch import Clock, Tell, Timing, Watched, Watcher, listen

if TYPE_CHECKING:
    from promoter.argocd import ArgoCD
    from promoter.clients import Clients
    from promoter.gitops import Repository
    from promoter.releases import Committed


@dataclass(frozen=True, slots=True)
class Ending:
    """How a release ended. `restored` is the commit that put the stable release back, `note` why there is none."""

    environment: str
    release: Release
    commit: str
    verdict: Verdict
    exit_code: ExitCode
    restored: str | None = None
    note: str = ""
    logs: tuple[str, ...] = ()


@dataclass(slots=True)
class Follower:
    """Follows releases of one environment. `tell` hears every verdict, and `say` every sentence between them."""

    clients: Clients
    environment: Environment
    tell: Tell
    say: Callable[[str], None]
    timing: Timing | None = None
    clock: Clock = field(default_factory=Clock)
    _argocd: ArgoCD | None = None
    _repository: Repository | None = None

    @property
    def argocd(self) -> ArgoCD:
        self._argocd = self._argocd or self.clients.argocd()
        return self._argocd

    @property
    def repository(self) -> Repository:
        self._repository = self._repository or self.clients.repository(self.environment.application)
        return self._repository

    def follow(self, committed: Committed, *, restoring: bool = True) -> Ending:
        """To the end of this release, and where it failed on to the end of the restore.

        Raises:
            AuthError, UnreachableError: as Argo CD and the Git server answer.
        """
        watched = self._watch(committed)
        if not watched.verdict.restore or watched.timed_out or not restoring:
            return self._ending(committed, watched.verdict, watched.exit_code)
        restoration = plan_restore(self.argocd, self.repository, self.environment, committed, watched.verdict)
        if isinstance(restoration, str):
            self.say(f"not restored: {restoration}")
            return self._ending(committed, watched.verdict, ExitCode.NOT_RESTORED, note=restoration)
        for line in restoration.logs:
            self.say(line)
        return self._restore(committed, restoration)

    def _restore(self, committed: Committed, restoration: Restoration) -> Ending:
        verdict, stable = restoration.verdict, restoration.stable.release
        try:
            restored = restore(self.repository, self.argocd, restoration)
        except SupersededError as error:
            return self._ending(committed, verdict, ExitCode.SUPERSEDED, note=error.message)
        except RefusedError as error:
            self.say(f"not restored: {error.message}")
            return self._ending(committed, verdict, ExitCode.NOT_RESTORED, note=error.message)
        self.say(f"restored version {stable.version} with commit {restored.commit.sha}")
        watched = self._watch(restored, displaced=committed.release)
        code = ExitCode.RESTORED if watched.verdict.kind is Kind.LIVE else ExitCode.NOT_RESTORED
        note = "" if code is ExitCode.RESTORED else f"Git is restored, the cluster is not yet: {watched.verdict.summary}"
        return self._ending(committed, verdict, code, restored=restored.commit.sha, note=note, logs=restoration.logs)

    def _watch(self, committed: Committed, displaced: Release | None = None) -> Watched:
        observer = Observer(self.argocd, self.repository, self.environment, committed.expectation(self.environment))
        ends = carries(self.repository, self.environment, displaced) if displaced else lambda _: False
        with self._events() as wake:
            return Watcher(observer, self.argocd, self.tell, self.timing or self._configured(), self.clock, wake, ends).watch()

    def _configured(self) -> Timing:
        watch = self.clients.config.watch
        return Timing(stable_for=watch.stable_for, sync_grace=watch.sync_grace, sync=watch.timeout, roll=watch.timeout)

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
