"""Our commit in Git's history: what the revisions that Argo CD names contain of it, deploy and change."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from promoter.argocd.client import ArgoCD
from promoter.argocd.errors import ArgoCDError
from promoter.argocd.state import ApplicationState
from promoter.errors import AuthError, ConfigError, RefusedError, UnreachableError
from promoter.gitops import BranchGoneError, HistoryLimitError, Repository
from promoter.kustomize.overlay import deployed, overlay_paths
from promoter.kustomize.render import sources
from promoter.models import Environment
from promoter.verdict.observation import Deployed, Expectation, GitFacts


@dataclass(slots=True)
class Lineage:
    """Keeps what can't change between looks (what a commit holds). `reachable` is as in GitFacts, of the branch's `tip`."""

    argocd: ArgoCD
    repository: Repository
    environment: Environment
    expected: Expectation
    tip: str = ""
    reachable: bool | None = None
    _known: dict[tuple[str, str], GitFacts] = field(default_factory=dict)
    _rendered: tuple[bool | None, bool | None] = (None, None)

    def look_at_tip(self) -> None:
        """Fetches the branch: whether our commit is still reachable from its tip."""
        try:
            self.tip = self.repository.fetch().commit
        except BranchGoneError:
            self.reachable = False
            return
        try:
            self.reachable = self.repository.is_ancestor(self.expected.commit, self.tip)
        except HistoryLimitError:
            self.reachable = None

    def facts(self, application: ApplicationState) -> GitFacts:
        """What Git has of the revisions that Argo CD names now."""
        revision = application.revision if application.revision_is_commit else self.tip
        operation = application.operation.revision if application.operation else ""
        if (revision, operation) not in self._known:
            facts = GitFacts(
                ancestor=self._contains_ours(revision),
                deployed=self._deployed(revision),
                operation_ancestor=self._contains_ours(operation) if operation else None,
            )
            if None in (facts.ancestor, facts.operation_ancestor if operation else False) or facts.deployed is Deployed.UNKNOWN:
                return replace(facts, reachable=self.reachable, sole_change=None)
            self._known[revision, operation] = facts
        failing = operation if application.revision_is_commit else revision
        sole, ours = None, None
        if _failing(application):
            before, ours = (None, None) if application.revision_is_commit else self._rendering()
            sole = self._sole_change(application, failing) if before is None or ours is None else before and not ours
        return replace(self._known[revision, operation], reachable=self.reachable, sole_change=sole, renders=ours)

    def _contains_ours(self, revision: str) -> bool | None:
        try:
            return self.repository.is_ancestor(self.expected.commit, revision)
        except HistoryLimitError:
            return None

    def _deployed(self, revision: str) -> Deployed:
        try:
            release = deployed(self.repository.at(revision), self.environment)
        except (RefusedError, ConfigError):
            return Deployed.UNKNOWN
        return Deployed.OURS if release == self.expected.release else Deployed.ANOTHER

    def _sole_change(self, application: ApplicationState, failing: str) -> bool | None:
        """Whether since the last synced revision only our commit touched what the overlay renders from."""
        last = application.last_synced_revision
        if not last or not failing:
            return None
        try:
            paths = sorted(_folders(sources(self.repository.at(failing), self.environment.application.path)))
            for commit in self.repository.history(paths, limit=1000, start=failing):
                if self.repository.is_ancestor(commit.sha, last):
                    return True
                if commit.sha != self.expected.commit:
                    return False
        except (RefusedError, ConfigError, HistoryLimitError):
            return None
        return True

    def _rendering(self) -> tuple[bool | None, bool | None]:
        """Whether our commit's parent renders, and our commit: Argo CD's own result. None if it can't be asked.

        Its last synced revision alone does not tell: a commit that renders to the same is never synced.
        """
        if None in self._rendered:
            paths = overlay_paths(self.environment)
            ours = next(self.repository.history(paths, limit=1, start=self.expected.commit), None)
            parent = ours.parents[0] if ours and ours.sha == self.expected.commit and ours.parents else ""
            self._rendered = self._renders(parent) if parent else None, self._renders(self.expected.commit)
        return self._rendered

    def _renders(self, commit: str) -> bool | None:
        try:
            return self.argocd.renders(self.environment.application, commit)
        except (ArgoCDError, AuthError, UnreachableError):
            return None


def _failing(application: ApplicationState) -> bool:
    operation = application.operation
    retried = operation is not None and (operation.retry_count > 0 or operation.phase in {"Failed", "Error"})
    return retried or any(condition.type == "ComparisonError" for condition in application.conditions)


def _folders(paths: Iterable[str]) -> set[str]:
    return {posixpath.dirname(path) or path for path in paths}
