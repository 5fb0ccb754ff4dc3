"""How promotions end, and the one table of what each ending means: to a pipeline, to people who get notices, to reconcile.

A new ending is a member of ExitCode or Kind and one row here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from promoter.errors import ExitCode
from promoter.models import NoticeKind, Release, Status
from promoter.output.ci import Level
from promoter.verdict import Kind, Verdict


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an exit code means elsewhere.

    `notice` is the kind of notice about it, `level` how a pipeline shows it, `step` the status of a step that ends with it.
    `severity` orders endings when reconcile looks at many environments; 0 is not a failure of reconcile. `passes`: nobody
    has to act, and it may be gone at the next look.
    """

    notice: NoticeKind
    level: Level
    step: Status
    severity: int = 0
    passes: bool = False


MEANINGS: Mapping[ExitCode, Meaning] = {
    ExitCode.DONE: Meaning(NoticeKind.LIVE, Level.NOTICE, Status.SUCCEEDED),
    ExitCode.UNEXPECTED: Meaning(NoticeKind.FAILED, Level.ERROR, Status.ERRORED, severity=8),
    ExitCode.USAGE: Meaning(NoticeKind.FAILED, Level.ERROR, Status.FAILED, severity=5),
    ExitCode.AUTH: Meaning(NoticeKind.FAILED, Level.ERROR, Status.ERRORED, severity=4),
    ExitCode.UNREACHABLE: Meaning(NoticeKind.FAILED, Level.ERROR, Status.ERRORED, severity=3, passes=True),
    ExitCode.RESTORED: Meaning(NoticeKind.RESTORED, Level.ERROR, Status.FAILED, severity=1),
    ExitCode.NOT_RESTORED: Meaning(NoticeKind.NEEDS_PERSON, Level.ERROR, Status.FAILED, severity=7),
    ExitCode.NEEDS_PERSON: Meaning(NoticeKind.NEEDS_PERSON, Level.ERROR, Status.ERRORED, severity=2),
    ExitCode.TIMED_OUT: Meaning(NoticeKind.NEEDS_PERSON, Level.ERROR, Status.ERRORED, severity=6),
    ExitCode.REFUSED: Meaning(NoticeKind.NEEDS_PERSON, Level.ERROR, Status.FAILED),
    ExitCode.SUPERSEDED: Meaning(NoticeKind.SUPERSEDED, Level.WARNING, Status.FAILED, passes=True),
    ExitCode.CLOSED_UNMERGED: Meaning(NoticeKind.FAILED, Level.ERROR, Status.FAILED),
    ExitCode.DISAGREE: Meaning(NoticeKind.FAILED, Level.ERROR, Status.FAILED),
}

EXIT_CODES: Mapping[Kind, ExitCode] = {
    Kind.NOT_OBSERVED: ExitCode.TIMED_OUT,
    Kind.SYNCING: ExitCode.TIMED_OUT,
    Kind.ROLLING: ExitCode.TIMED_OUT,
    Kind.LIVE: ExitCode.DONE,
    Kind.ABORTED: ExitCode.NOT_RESTORED,
    Kind.FAILED: ExitCode.NOT_RESTORED,
    Kind.MASKED: ExitCode.NEEDS_PERSON,
    Kind.NEEDS_PERSON: ExitCode.NEEDS_PERSON,
    Kind.APPLICATION_GONE: ExitCode.NEEDS_PERSON,
    Kind.SUPERSEDED: ExitCode.SUPERSEDED,
    Kind.COMMIT_GONE: ExitCode.SUPERSEDED,
}
"""How the process ends when this is the last verdict and nothing is restored. A verdict on the way has timed out then."""

AFTER_RESTORE: Mapping[Kind, ExitCode] = {
    Kind.NOT_OBSERVED: ExitCode.NOT_RESTORED,
    Kind.SYNCING: ExitCode.NOT_RESTORED,
    Kind.ROLLING: ExitCode.NOT_RESTORED,
    Kind.LIVE: ExitCode.RESTORED,
    Kind.ABORTED: ExitCode.NOT_RESTORED,
    Kind.FAILED: ExitCode.NOT_RESTORED,
    Kind.MASKED: ExitCode.NOT_RESTORED,
    Kind.NEEDS_PERSON: ExitCode.NOT_RESTORED,
    Kind.APPLICATION_GONE: ExitCode.NOT_RESTORED,
    Kind.SUPERSEDED: ExitCode.RESTORED,
    Kind.COMMIT_GONE: ExitCode.NOT_RESTORED,
}
"""How the process ends when Git is restored and this is the last verdict on the restoring commit."""


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The most severe of them; DONE when none is a failure of reconcile."""
    found = max(codes, key=lambda code: MEANINGS[code].severity, default=ExitCode.DONE)
    return found if MEANINGS[found].severity else ExitCode.DONE


# -- a pull request ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """An open pull request: `commit` is what it proposes, `done` what was done about it, `supersedes` the one before."""

    number: int
    url: str
    title: str
    branch: str
    commit: str
    done: str
    supersedes: int | None = None
    notes: tuple[str, ...] = ()


class End(StrEnum):
    MERGED = "merged"
    CLOSED = "closed"
    CHECKS_FAILED = "checks failed"
    TIMED_OUT = "timed out"


OF_PULL_REQUESTS: Mapping[End, ExitCode] = {
    End.MERGED: ExitCode.DONE,
    End.CLOSED: ExitCode.CLOSED_UNMERGED,
    End.CHECKS_FAILED: ExitCode.REFUSED,
    End.TIMED_OUT: ExitCode.TIMED_OUT,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How waiting for a merge ended, in a sentence; `merged` is the commit on the base branch."""

    end: End
    detail: str
    merged: str | None = None

    @property
    def exit_code(self) -> ExitCode:
        return OF_PULL_REQUESTS[self.end]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The merged pull request that a release came by, and who approved it."""

    url: str
    approvers: tuple[str, ...]


# -- a release --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ending:
    """How a release ended. `restored` is the commit that restored the stable release, `note` why there is none.

    `stable` is that release. `pull_request` restores it, if Git is restored by one.
    """

    environment: str
    release: Release
    commit: str
    verdict: Verdict
    exit_code: ExitCode
    restored: str | None = None
    note: str = ""
    logs: tuple[str, ...] = ()
    pull_request: Opened | None = None
    stable: Release | None = None
