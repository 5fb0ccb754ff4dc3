"""reject: a version that a person does not want is never deployed again; where it is deployed the release before comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from promoter.commands.rollback import earlier
from promoter.errors import ExitCode, PromoterError, RefusedError, SupersededError
from promoter.gitops import Proposal
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import read_overlay
from promoter.kustomize.promotion_file import Decision, State
from promoter.models import Environment, NoticeKind, Release, Write
from promoter.promotion import decisions, journal, pull_request_body, releases
from promoter.promotion.announce import Announcer
from promoter.promotion.decisions import Decisions
from promoter.promotion.message import facts
from promoter.promotion.pull_request import PullRequestOpener
from promoter.promotion.releases import Committed
from promoter.promotion.restore import restore_edit

if TYPE_CHECKING:
    from promoter.gitops import Repository, Snapshot
    from promoter.hosting.forge import Forge
    from promoter.promotion.clients import Clients
    from promoter.promotion.ending import Opened


@dataclass(frozen=True, slots=True)
class Rejection:
    """What is decided about one version in one environment. `created` is when MLflow created it, None if that is not known.

    `current` is the release where it is of this version, `target` the one that comes back, None if there is none before.
    `lift`: the version may be deployed again. `already`: that is what Git has.
    """

    environment: Environment
    version: str
    created: datetime | None
    reason: str
    by: str
    lift: bool = False
    current: Committed | None = None
    target: Committed | None = None
    already: bool = False

    @property
    def stays_deployed(self) -> bool:
        """Nothing was deployed before it that could come back."""
        return self.current is not None and self.target is None


def plan_rejections(clients: Clients, wanted: Sequence[Rejection]) -> tuple[list[Rejection], list[Rejected]]:
    """Each with what it means now, and what came of those that can't be looked at: these do not keep the others.

    Raises: PromoterError, if none can be looked at.
    """
    planned, failed, errors = [], [], []
    for one in wanted:
        try:
            placed = replace(one, environment=clients.with_source(one.environment))
            planned.append(plan_rejection(clients.repository(placed.environment.application), placed))
        except PromoterError as error:
            errors.append(error)
            failed.append(_failed(one, error))
    if errors and not planned:
        raise errors[0]
    return planned, failed


def _failed(wanted: Rejection, error: PromoterError) -> Rejected:
    name, model = wanted.environment.name, wanted.environment.model.name
    return Rejected(name, model, wanted.version, exit_code=ExitCode(error.exit_code), error=error.message)


def plan_rejection(repository: Repository, wanted: Rejection) -> Rejection:
    """The rejection with what it means at the tip of the environment's branch.

    Raises:
        RefusedError: to lift it, the version is not rejected; or the overlay can't take a release.
        AuthError, UnreachableError: as the Git server answers.
    """
    environment = wanted.environment
    tip = repository.fetch()
    files = read_overlay(tip, environment)
    known = decisions.at(repository, tip.commit, files, environment)
    entry = known.of(wanted.version, wanted.created)
    if wanted.lift:
        return replace(wanted, already=not _to_lift(known, wanted, entry))
    deployed = kustomize.parse_overlay(files).deployed(environment.model)
    if deployed is None or not decisions.is_of(deployed, wanted.version, wanted.created):
        return replace(wanted, already=entry is not None and entry.state is State.REJECTED)
    current = releases.current(repository, environment, tip.commit)
    target = earlier(repository, environment, current, known)
    rejected = entry is not None and entry.state is State.REJECTED
    return replace(wanted, current=current, target=target, already=rejected and target is None)


def _to_lift(known: Decisions, wanted: Rejection, entry: Decision | None) -> bool:
    if entry is None or entry.state is State.REJECTED:
        return entry is not None
    if entry.blocks:
        reference, name = f"{wanted.environment.model.name}:{wanted.version}", wanted.environment.name
        raise RefusedError(
            f"{reference} is {entry.state} in {name!r}, and was not rejected ({known.path})",
            hint=f"promoter promote {reference} --to {name} --force, if it is to be deployed in spite of that",
        )
    return False


@dataclass(frozen=True, slots=True)
class Rejected:
    """What came of it in one environment; `back_to` is the version that comes back, `error` why nothing was written."""

    environment: str
    model: str
    version: str
    commit: str | None = None
    pull_request: Opened | None = None
    back_to: str | None = None
    exit_code: ExitCode = ExitCode.DONE
    error: str = ""

    @property
    def outcome(self) -> str:
        """In a few words."""
        written = self.pull_request.url if self.pull_request else self.commit or "nothing was to be written"
        return self.error or (f"{written}, back to version {self.back_to}" if self.back_to else written)


def reject(clients: Clients, planned: Rejection) -> Rejected:
    """Commits it, or proposes the commit for review; what goes wrong here does not keep other environments from being done."""
    done = _reject(clients, planned)
    kind = NoticeKind.ALLOWED if planned.lift else NoticeKind.REJECTED
    by = f" by {planned.by}" if planned.by else ""
    back = f"; back to version {done.back_to}" if done.back_to else ""
    sentence = f"{'allowed again' if planned.lift else 'rejected'}{by}: {planned.reason}{back}"
    Announcer(clients, planned.environment).decided(kind, sentence, done.commit, done.pull_request, planned.version)
    return done


def _reject(clients: Clients, planned: Rejection) -> Rejected:
    environment = planned.environment
    none = Rejected(environment.name, environment.model.name, planned.version)
    if planned.already:
        return none
    try:
        done = replace(none, back_to=planned.target.release.version if planned.target else None)
        if planned.stays_deployed:
            done = replace(done, exit_code=ExitCode.NOT_RESTORED)
        if environment.write is Write.PULL_REQUEST:
            forge = clients.forge(environment.application)
            return replace(done, pull_request=_proposing(clients.repository(environment.application), forge, planned).run())
        return replace(done, commit=apply(clients.repository(environment.application), planned))
    except PromoterError as error:
        return _failed(planned, error)


def apply(repository: Repository, planned: Rejection) -> str | None:
    """Commits it; returns the commit, None if another run made it already.

    Raises:
        SupersededError: the overlay deploys another release than when it was planned, and that matters.
        RefusedError, AuthError, UnreachableError: as the Git server answers.
    """
    pushed = repository.apply(_edit(repository, planned))
    return pushed.commit.sha if pushed.commit else None


def _proposing(repository: Repository, forge: Forge, planned: Rejection) -> PullRequestOpener:
    """What opens the pull request; it takes the place of one that is open for the environment."""
    reference = f"{planned.environment.model.name}:{planned.version}"

    def describe(diff: str, room: int) -> str:
        return pull_request_body.rejecting(planned.environment, reference, planned.reason, diff, room)

    return PullRequestOpener(repository, forge, planned.environment, _edit(repository, planned), describe)


def _edit(repository: Repository, planned: Rejection) -> Callable[[Snapshot], Proposal | None]:
    now = datetime.now(UTC)
    current, target = planned.current, planned.target
    if current is None or target is None:
        return partial(_entry_alone, repository, planned, now)

    def decide(known: Decisions) -> Decisions:
        known.require_not_blocked(target.release)
        commit, by = current.commit.sha, planned.by
        return known.rejected_for(current.release, target.release, planned.reason, at=now, commit=commit, by=by)

    propose = partial(_going_back, planned, current, target)
    return restore_edit(repository, planned.environment, current.release, target.release, decide, propose)


def _entry_alone(repository: Repository, planned: Rejection, now: datetime, snapshot: Snapshot) -> Proposal | None:
    """Raises: SupersededError, if the version was deployed since it was planned: then more than an entry is needed."""
    environment = planned.environment
    files = read_overlay(snapshot, environment)
    deployed = kustomize.parse_overlay(files).deployed(environment.model)
    there = deployed is not None and decisions.is_of(deployed, planned.version, planned.created)
    if there and not planned.lift and planned.current is None:
        raise SupersededError(
            f"environment {environment.name!r} deploys version {planned.version} since {snapshot.commit[:10]}",
            hint="nothing was written there: run it again",
        )
    known = decisions.at(repository, snapshot.commit, files, environment)
    decide = known.lifted if planned.lift else partial(known.rejected, reason=planned.reason)
    decided = known.files(decide(planned.version, planned.created, at=now, by=planned.by))
    if not decided:
        return None
    reference = f"{environment.model.name} version {planned.version}"
    subject = f"{'Allow' if planned.lift else 'Reject'} {reference} in {environment.name}"
    entry = journal.rejection(environment, planned.version, lift=planned.lift)
    about = Release(environment.model.name, planned.version, "", environment.model.repository, "", "")
    proposal = Proposal(decided, subject, planned.reason, entry.trailers(), facts=facts(environment, about, deployed))
    return replace(proposal, dated=frozenset(decided))


def _going_back(planned: Rejection, current: Committed, target: Committed, files: Mapping[str, bytes]) -> Proposal:
    now, then = current.release, target.release
    name = planned.environment.name
    subject = f"Reject {now.model} version {now.version} in {name}, back to version {then.version}"
    body = f"{planned.reason}\n\nimage: {now.image} -> {then.image}\nas {target.commit.sha} had it"
    entry = journal.rejection_of_deployed(planned.environment, then, target.commit.sha, now)
    return Proposal(files, subject, body, entry.trailers(), facts=facts(planned.environment, then, now))
