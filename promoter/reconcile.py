"""reconcile: compares alias, Git and cluster, and does what is missing. Safe to repeat, and beside a running promotion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from promoter import gates, kustomize, releases
from promoter.clients import placed
from promoter.errors import ExitCode, PromoterError, RefusedError
from promoter.follow import Ending, Follower
from promoter.model_registry import ModelReference
from promoter.models import Application, Environment, OnAlias, Release
from promoter.observe import Observer
from promoter.output import Told
from promoter.overlay import Files, overlay_paths, read_overlay
from promoter.plan import plan
from promoter.promote import promote
from promoter.rollback import ROLLED_BACK
from promoter.steps import Report, Steps
from promoter.verdict import Kind, Verdict, judge
from promoter.watch import Clock, Timing, Watched

if TYPE_CHECKING:
    from promoter.argocd import ArgoCD
    from promoter.clients import Clients
    from promoter.gitops import Repository
    from promoter.observed import ApplicationState


class Action(StrEnum):
    """What reconcile did, or why it did nothing."""

    AGREES = "agrees"
    ON_ITS_WAY = "on its way"
    PROMOTED = "promoted"
    PROPOSED = "proposed"
    RESTORED = "restored"
    LEFT = "left alone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One environment: what was done, in a sentence, with the exit code that this alone would end with."""

    environment: str
    model: str
    action: Action
    detail: str
    exit_code: ExitCode = ExitCode.DONE
    commit: str | None = None


_WORST_FIRST = (
    ExitCode.UNEXPECTED,
    ExitCode.NOT_RESTORED,
    ExitCode.TIMED_OUT,
    ExitCode.USAGE,
    ExitCode.AUTH,
    ExitCode.UNREACHABLE,
    ExitCode.NEEDS_PERSON,
    ExitCode.RESTORED,
)


def exit_code(done: Sequence[Reconciled]) -> ExitCode:
    """The worst of them; what a gate refused or somebody superseded is no failure of reconcile."""
    codes = {one.exit_code for one in done}
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.DONE)


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch as it was at the start: its tip and the files of all overlays there."""

    repository: Repository
    tip: str
    files: Files


K = TypeVar("K")
V = TypeVar("V")


class Once(Generic[K, V]):
    """Reads each thing once; what failed fails again at once, for many environments stand on the same branch."""

    def __init__(self) -> None:
        self._known: dict[K, V | PromoterError] = {}

    def get(self, key: K, read: Callable[[], V]) -> V:
        if key not in self._known:
            try:
                self._known[key] = read()
            except PromoterError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, PromoterError):
            raise found
        return found


@dataclass
class Reconciler:
    """One run over many environments: one list of Applications, one fetch of each branch, one look-up of each alias."""

    clients: Clients
    report: Report
    in_json: bool = False
    timing: Timing | None = None
    clock: Clock = field(default_factory=Clock)
    _applications: Mapping[tuple[str, str], ApplicationState] = field(default_factory=dict)
    _branches: Once[tuple[str, str], Branch] = field(default_factory=lambda: Once())
    _aliases: Once[tuple[str, str], str | None] = field(default_factory=lambda: Once())

    def run(self, environments: Sequence[Environment]) -> tuple[Reconciled, ...]:
        """Each environment in turn; what is wrong with one does not keep the others from being looked at.

        Raises:
            AuthError, UnreachableError, ArgoCDError: Argo CD does not answer what is asked once for all of them.
        """
        self._applications = {(one.namespace, one.name): one for one in self._argocd.applications()}
        return tuple(self._guarded(environment) for environment in environments)

    def _guarded(self, environment: Environment) -> Reconciled:
        try:
            return self._one(self._placed(environment))
        except PromoterError as error:
            refused = error.exit_code in (ExitCode.REFUSED, ExitCode.SUPERSEDED)
            action = Action.LEFT if refused else Action.FAILED
            return Reconciled(environment.name, environment.model.name, action, error.message, error.exit_code)

    def _one(self, environment: Environment) -> Reconciled:
        carried = self._carried(environment)
        wanted = self._alias_version(environment)
        behind = wanted is not None and (carried is None or carried.version != wanted)
        if carried is not None and not self._content(environment):
            done = self._attend(environment)
            if done is not None and (done.action is not Action.AGREES or not behind):
                return done
        if behind and wanted is not None:
            return self._promote(environment, wanted)
        return self._said(environment, Action.AGREES, f"version {carried.version}" if carried else "no release yet")

    # -- cheap facts, read once for all -------------------------------------------------------------------------------

    @cached_property
    def _argocd(self) -> ArgoCD:
        return self.clients.argocd()

    def _listed(self, environment: Environment) -> ApplicationState | None:
        wanted = environment.application
        return self._applications.get((wanted.namespace, wanted.name))

    def _placed(self, environment: Environment) -> Environment:
        """As `Clients.placed`, without asking again for what the list has."""
        listed = self._listed(environment)
        return placed(environment, listed) if listed else self.clients.placed(environment)

    def _branch(self, application: Application) -> Branch:
        return self._branches.get(_key(application), lambda: self._read_branch(application))

    def _read_branch(self, application: Application) -> Branch:
        repository = self.clients.repository(application)
        tip = repository.fetch()
        return Branch(repository, tip.commit, Files(tip.export(sorted(self._overlays(application)))))

    def _overlays(self, application: Application) -> set[str]:
        """The overlays of all environments on this branch."""
        paths = {application.path}
        for environment in self.clients.config.environments:
            with suppress(PromoterError):  # said where that environment has its turn
                other = self._placed(environment).application
                paths |= {other.path} if _key(other) == _key(application) else set()
        return paths

    def _carried(self, environment: Environment) -> Release | None:
        files = self._branch(environment.application).files
        return kustomize.carried(read_overlay(files, environment), environment.model)

    def _alias_version(self, environment: Environment) -> str | None:
        if environment.alias is None:
            return None
        model, alias = environment.model.name, environment.alias
        return self._aliases.get((model, alias), lambda: self.clients.model_registry.version_of(model, alias))

    def _content(self, environment: Environment) -> bool:
        """Argo CD's list shows nothing to look into."""
        found = self._listed(environment)
        return (
            found is not None
            and (found.sync, found.health) == ("Synced", "Healthy")
            and not found.operation_requested
            and not found.image_overrides
        )

    # -- what is done about it ----------------------------------------------------------------------------------------

    def _attend(self, environment: Environment) -> Reconciled | None:
        """Looks at what Argo CD is not content with, and restores Git where it calls for that."""
        repository = self._branch(environment.application).repository
        committed = releases.current(repository, environment)
        observer = Observer(self._argocd, repository, environment, committed.expectation(environment))
        verdict = judge(observer.look(refresh=True), observer.expected)
        if (verdict.restore and not committed.restores) or verdict.sync_due:
            return self._ended(environment, self._follower(environment).follow(committed))
        if verdict.kind is Kind.LIVE:
            return self._said(environment, Action.AGREES, f"version {committed.release.version}")
        if not verdict.terminal:
            return self._said(environment, Action.ON_ITS_WAY, f"{verdict.kind}: {verdict.summary}")
        return self._report(environment, verdict)

    def _report(self, environment: Environment, verdict: Verdict) -> Reconciled:
        return self._said(environment, Action.LEFT, f"{verdict.kind}: {verdict.summary}", Watched(verdict).exit_code)

    def _promote(self, environment: Environment, version: str) -> Reconciled:
        if environment.on_alias is not OnAlias.PROMOTE:
            detail = f"{environment.alias} is version {version}; on-alias: {environment.on_alias}"
            return self._said(environment, Action.LEFT, detail)
        self._not_rolled_back(environment, version)
        self._not_failed_too_often(environment, version)
        steps = Steps(self.report)
        reference = ModelReference.at(environment.model.name, str(environment.alias))
        made = plan(self.clients, environment, reference, steps)
        outcome = promote(self.clients, made, steps, again=False)
        if outcome.pull_request is not None:
            detail = f"version {version}: {outcome.pull_request.done} {outcome.pull_request.url}"
            return self._said(environment, Action.PROPOSED, detail)
        follower = self._follower(environment)
        ending = follower.follow(releases.current(follower.repository, environment, outcome.commit))
        return self._ended(environment, ending)

    def _not_rolled_back(self, environment: Environment, version: str) -> None:
        branch = self._branch(environment.application)
        if self._carried(environment) is None:
            return
        carried = releases.current(branch.repository, environment, branch.tip)
        if carried.commit.trailers.get(ROLLED_BACK) == version:
            raise RefusedError(
                f"{carried.commit.sha[:10]} rolled {environment.name!r} back from version {version}",
                hint=f"move the alias, or: promoter promote {environment.model.name}:{version} --to {environment.name}",
            )

    def _not_failed_too_often(self, environment: Environment, version: str) -> None:
        branch = self._branch(environment.application)
        resolved = self.clients.model_registry.resolve(ModelReference(environment.model.name, version=version))
        limit = self.clients.config.git.history_limit
        commits = branch.repository.history(overlay_paths(environment), limit=limit, start=branch.tip)
        known = gates.past(commits, resolved)
        if known.failures >= gates.MOST_FAILURES and not known.quarantined:
            raise RefusedError(
                f"{resolved.reference} failed {known.failures} times in {environment.name!r}",
                hint=f"mend the cause, then: promoter promote {resolved.reference} --to {environment.name}",
            )

    def _follower(self, environment: Environment) -> Follower:
        told = Told(environment.application.name, in_json=self.in_json)
        return Follower(self.clients, environment, told.verdict, told.say, self.timing, self.clock)

    def _ended(self, environment: Environment, ending: Ending) -> Reconciled:
        if ending.exit_code is ExitCode.DONE:
            done = self._said(environment, Action.PROMOTED, f"version {ending.release.version} is live")
        elif ending.restored:
            detail = f"version {ending.release.version} {ending.verdict.kind}: {ending.verdict.summary}"
            done = self._said(environment, Action.RESTORED, detail, ending.exit_code)
        else:
            detail = ending.note or f"{ending.verdict.kind}: {ending.verdict.summary}"
            action = Action.PROPOSED if ending.pull_request else Action.LEFT
            done = self._said(environment, action, detail, ending.exit_code)
        return replace(done, commit=ending.restored or ending.commit)

    def _said(self, environment: Environment, action: Action, detail: str, code: ExitCode = ExitCode.DONE) -> Reconciled:
        return Reconciled(environment.name, environment.model.name, action, detail, code)


def _key(application: Application) -> tuple[str, str]:
    return application.repo_url, application.target_revision
