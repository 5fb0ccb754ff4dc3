"""What became of an environment's releases, as Git has it: which one is deployed, and how the others ended. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from promoter.kustomize import promotion_file
from promoter.kustomize.promotion_file import Decision, State
from promoter.models import Environment, Release
from promoter.promotion import journal
from promoter.verdict import Reason

if TYPE_CHECKING:
    from promoter.gitops import Commit
    from promoter.kustomize.release import Overlay
    from promoter.promotion.releases import Committed

_ABORTS = frozenset({Reason.ANALYSIS_FAILED, Reason.ANALYSIS_ERROR, Reason.ABORTED_BY_HAND, Reason.OTHER})
# The lines of a restore's message that name the cause, as `verdict.evidence` makes them.
_CAUSE = re.compile(r"^(?:analysis \S+: (metric .* (?:Failed|Error|Inconclusive), measured .*)|(pod \S+: .*))$", re.MULTILINE)

_ON_A_SIDE = "it was on one side of a merge, which kept another release"
_NOT_READ = "what the environment deploys now is not known"


class Act(StrEnum):
    """What a commit did with the release that it deployed."""

    PROMOTED = "promote"
    RESTORED = "restore"
    ROLLED_BACK = "rollback"
    REJECTED = "reject"
    BY_HAND = "by hand"


class End(StrEnum):
    """How a release ended, or that it did not. Whether it was ever live is not in Git."""

    DEPLOYED = "deployed"
    REPLACED = "replaced"
    ABORTED = "aborted"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    REJECTED = "rejected"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a release ended: `until` when, by which `commit`, with which `version` in its place; one that is deployed has none.

    `reason` is why, in a sentence, `by` the person who decided it; "" if Git does not have that.
    """

    end: End
    until: datetime | None = None
    reason: str = ""
    by: str = ""
    quarantined: bool = False
    commit: str = ""
    version: str = ""


def act(environment: Environment, committed: Committed) -> Act:
    """What the commit did, as far as its own trailers are about the release that it deployed."""
    entry = journal.of(committed.commit)
    if not entry.is_of(environment) or entry.version != committed.release.version:
        return Act.BY_HAND
    if entry.restores:
        undone = Act.RESTORED if entry.failed_version else Act.ROLLED_BACK
        return Act.REJECTED if entry.rejected_version else undone
    return Act.PROMOTED if entry.promotion_id else Act.BY_HAND


def decided(overlay: Overlay, environment: Environment) -> dict[str, Decision]:
    """What promotion.yaml has, by the commit that had deployed the version.

    Raises:
        ConfigError: it can't be read.
    """
    if overlay.promotion is None:
        return {}
    entries = promotion_file.read(overlay.promotion_file, overlay.promotion, environment)
    return {one.commit: one for one in entries.values() if one.commit}


def outcomes(
    environment: Environment, found: Sequence[Committed], deployed: Release | None, known: Mapping[str, Decision]
) -> list[Outcome]:
    """That of each of `found`, which are the newest of `releases.changes`.

    `deployed` is what the overlay deploys at the tip, `known` the decisions by the commit that had deployed the version.
    """
    current = next((place for place, one in enumerate(found) if one.release == deployed), None)
    unknown = _ON_A_SIDE if deployed else _NOT_READ

    def of(place: int, one: Committed) -> Outcome:
        if place == current:
            return Outcome(End.DEPLOYED)
        by = _next(found, place)
        return _ended(environment, one, by, known.get(one.commit.sha)) if by else Outcome(End.UNKNOWN, reason=unknown)

    return [of(place, one) for place, one in enumerate(found)]


def _next(found: Sequence[Committed], place: int) -> Committed | None:
    """What took the release's place: the nearest newer one that replaced this very release. A move hides what it replaced."""
    release = found[place].release
    above = (found[newer] for newer in range(place - 1, -1, -1))
    return next((one for one in above if not one.before or release in one.before), None)


def _ended(environment: Environment, one: Committed, by: Committed, decision: Decision | None) -> Outcome:
    entry, version = journal.of(by.commit), one.release.version
    ended = Outcome(End.REPLACED, by.commit.when, commit=by.commit.sha, version=by.release.version)
    decided = _from_file(ended, decision)
    if not entry.may_be_of(environment):
        return decided
    if entry.failed_version == version:
        end = End.ABORTED if entry.abort in _ABORTS or entry.abort == End.ABORTED else End.FAILED
        quarantined = journal.quarantines(entry, environment.model.name)
        return replace(ended, end=end, reason=sentence(entry.abort, by.commit), quarantined=quarantined)
    end = End.REJECTED if entry.rejected_version == version else End.ROLLED_BACK
    if version in (entry.rejected_version, entry.rolled_back_version):
        same = decided if decided.end is end else Outcome(end)  # a later decision about the version is another one
        return replace(ended, end=end, reason=same.reason or _reason(by.commit, end), by=same.by or who(by.commit))
    return decided


_ENDS = {
    State.QUARANTINED: End.ABORTED,
    State.FAILED: End.FAILED,
    State.REJECTED: End.REJECTED,
    State.ROLLED_BACK: End.ROLLED_BACK,
}


def _from_file(ended: Outcome, decision: Decision | None) -> Outcome:
    """As promotion.yaml has it: a squash drops trailers."""
    if decision is None or decision.state not in _ENDS:
        return ended
    quarantined = decision.state is State.QUARANTINED
    return replace(ended, end=_ENDS[decision.state], reason=decision.reason, by=decision.by, quarantined=quarantined)


def sentence(reason: str, commit: Commit) -> str:
    """Why a release was undone: the reason, and the measurement or the pod that the restoring commit names first."""
    found = _CAUSE.search(commit.body)
    return f"{reason}: {found[1] or found[2]}" if found else reason


def who(commit: Commit) -> str:
    """The person behind a commit: whoever started the pipeline, else its author."""
    return journal.of(commit).requested_by or commit.author


def _reason(commit: Commit, end: End) -> str:
    """The commit's own; a rejection's message begins with it."""
    if given := journal.of(commit).reason:
        return given
    return commit.text.partition("\n")[0] if end is End.REJECTED else ""
