"""rollback: puts an earlier release back because a person wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from promoter.errors import RefusedError
from promoter.gitops import Proposal
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment
from promoter.promotion import decisions, journal, pull_request_body, releases
from promoter.promotion.decisions import Decisions
from promoter.promotion.message import facts
from promoter.promotion.pull_request import Edit, PullRequestOpener
from promoter.promotion.releases import Committed
from promoter.promotion.restore import restore_edit

if TYPE_CHECKING:
    from promoter.gitops import Repository
    from promoter.hosting.forge import Forge


@dataclass(frozen=True, slots=True)
class Rollback:
    """From the release that the environment deploys to one that it deployed before.

    `undone`: the version that an earlier run went back from, to the release that is there now: nothing is left to commit.
    `reverted`: nobody asked for it but the `promotion` of its group, for this reason.
    """

    environment: Environment
    current: Committed
    target: Committed
    by: str = ""
    undone: str = ""
    reverted: str = ""
    promotion: str = ""

    @property
    def already(self) -> bool:
        return self.current.release == self.target.release


def plan_rollback(repository: Repository, environment: Environment, version: str | None, *, by: str = "") -> Rollback:
    """To the newest earlier release of `version`; without it, of another version that was not undone since.

    Safe to repeat: where a rollback has brought the present release, it is the target. `version` goes back further.
    `by`: the person who asks for it, if not the commit's author.

    Raises:
        RefusedError: the environment deploys no release, or deployed no such one before, or it is quarantined or rejected.
    """
    tip = repository.fetch()
    current = releases.current(repository, environment, tip.commit)
    known = decisions.at(repository, tip.commit, read_overlay(tip, environment), environment)
    if (undone := _undone(known, current)) and version in (None, current.release.version):
        return Rollback(environment, current, current, by, undone)
    target = earlier(repository, environment, current, known, version)
    if target is None and version == current.release.version:
        target = current
    if target is None:
        wanted = f"version {version}" if version else "an earlier version that was not undone"
        raise RefusedError(
            f"environment {environment.name!r} never deployed {wanted}", hint=f"see promoter history {environment.name}"
        )
    if version:
        known.require_not_blocked(target.release)
    return Rollback(environment, current, target, by)


def _undone(known: Decisions, current: Committed) -> str:
    """The version that a rollback to the present release went back from; of one that is blocked only the commit records it."""
    if (found := known.rolled_back_to(current.release)) is not None:
        return found.version
    return journal.of(current.commit).rolled_back_version if known.is_restore(current.release) else ""


def earlier(
    repository: Repository, environment: Environment, current: Committed, known: Decisions, version: str | None = None
) -> Committed | None:
    """The newest release before the current one, of this version; by default of any that was not undone since."""
    for committed in releases.history(repository, environment, current.commit.sha):
        release = committed.release
        if release != current.release and (release.version == version if version else not known.is_undone(release)):
            return committed
    return None


def rollback(repository: Repository, planned: Rollback) -> Committed:
    """Commits the earlier release, only while the current one is still there; returns the commit that contains it now.

    Raises:
        SupersededError: the overlay deploys a third release.
        RefusedError, AuthError, UnreachableError: as the Git server answers.
    """
    if planned.already:
        return planned.current
    pushed = repository.apply(_edit(repository, planned))
    return releases.current(repository, planned.environment, pushed.tip)


def proposing_rollback(repository: Repository, forge: Forge, planned: Rollback) -> PullRequestOpener:
    """What opens the pull request with the commit of `rollback`, each time it is run."""
    current, target = planned.current.release, planned.target.release

    def describe(diff: str, room: int) -> str:
        return pull_request_body.going_back(planned.environment, current, target, diff, room)

    return PullRequestOpener(repository, forge, planned.environment, _edit(repository, planned), describe)


def _edit(repository: Repository, planned: Rollback) -> Edit:
    current, target = planned.current.release, planned.target.release

    def propose(files: Mapping[str, bytes]) -> Proposal:
        name = planned.environment.name
        subject = f"Roll {target.model} in {name} back to version {target.version} (was {current.version})"
        body = f"image: {current.image} -> {target.image}\nas {planned.target.commit.sha} had it"
        body = f"{planned.reverted}\n\n{body}" if planned.reverted else body
        entry = journal.rollback(planned.environment, target, planned.target.commit.sha, current, planned.promotion)
        return Proposal(files, subject, body, entry.trailers(), facts=facts(planned.environment, target, current))

    now = datetime.now(UTC)

    def decide(known: Decisions) -> Decisions:
        known.require_not_blocked(target)
        commit, by = planned.current.commit.sha, planned.by
        return known.rolled_back(current, target, at=now, commit=commit, by=by, reverted=planned.reverted)

    return restore_edit(repository, planned.environment, current, target, decide, propose)
