"""The seam: what promoter asks of a forge, and the values that come back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from promoter.errors.redaction import clean
from promoter.models import MergeMethod

GATES_GENRE, GATES_NAME = "promoter", "gates"
GATES = f"{GATES_GENRE}/{GATES_NAME}"
"""The status of a pull request that shows what promoter's gates decide: branch protection may require it."""

_LONGEST_STATUS = 140  # characters of a description that GitHub takes; above U+FFFF it takes none


class State(StrEnum):
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Draft:
    """A pull request from `branch` to `base`; title and body are without secrets and hidden characters, whoever wrote them."""

    branch: str
    base: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    draft: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", clean(self.title))
        object.__setattr__(self, "body", clean(self.body))


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as the forge has it. `head` is the commit it proposes; `merged` the one on the base branch, once merged.

    `id` is the forge's own name for it, or for the identity that opened it, if a later request needs one.
    """

    number: int
    url: str
    title: str
    body: str
    state: State
    head: str
    merged: str | None = None
    labels: frozenset[str] = frozenset()
    id: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """What has to pass before a merge: a CI check or a policy."""

    name: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a pull request stands on its way. `failed` and `pending` are required checks only; `blocked` is in the forge's
    words what else keeps it from being merged; `queue` is its place in a merge queue (from 1).
    """

    pull_request: PullRequest
    failed: tuple[Check, ...] = ()
    pending: tuple[Check, ...] = ()
    blocked: str = ""
    conflicts: bool = False
    queue: int | None = None


@dataclass(frozen=True, slots=True)
class GatesStatus:
    """What the gates decide about a pull request, in one line without secrets that every forge takes."""

    passed: bool
    words: str

    def __post_init__(self) -> None:
        line = " ".join("".join(char if ord(char) < 0x10000 else "\ufffd" for char in clean(self.words)).split())
        object.__setattr__(self, "words", line if len(line) <= _LONGEST_STATUS else f"{line[: _LONGEST_STATUS - 1]}…")


class Forge(Protocol):
    """The pull requests of one repository.

    Every method raises AuthError (token unknown, expired or without a permission, which is named; repository not visible to
    it), UnreachableError (no answer, or asked to come back later than one waits) and RefusedError (the forge's rules).
    """

    @property
    def name(self) -> str:
        """The product's name, for people."""
        ...

    @property
    def longest_body(self) -> int:
        """Characters that the description of a pull request may have."""
        ...

    def reference(self, number: int) -> str:
        """How a text of this forge links to a pull request."""
        ...

    def pull_requests(self, branch: str, base: str) -> list[PullRequest]:
        """The newest pull requests from `branch` to `base`, whatever their state, newest first: two at least, if there are."""
        ...

    def open(self, draft: Draft) -> PullRequest:
        """Opens one; the open one that somebody else opened at the same moment is taken for it."""
        ...

    def update(self, found: PullRequest, draft: Draft) -> PullRequest:
        """Updates an open one to match `draft`; adds missing labels and reviewers."""
        ...

    def close(self, number: int) -> None:
        """Closes it without merging."""
        ...

    def comment(self, number: int, text: str) -> None:
        """Adds a comment to a pull request, unless the same comment is there already."""
        ...

    def show_gates(self, found: PullRequest, status: GatesStatus) -> None:
        """Sets the status `promoter/gates` of what it proposes now, unless it is that already."""
        ...

    def merge_when_ready(self, found: PullRequest, method: MergeMethod, subject: str, body: str) -> str:
        """Has it merged by the forge as soon as its rules allow; at once where they do already. Gives why not, or ""."""
        ...

    def standing(self, number: int) -> Standing:
        """Where it stands now."""
        ...

    def approvers(self, number: int) -> tuple[str, ...]:
        """Who approved it, as its forge names them, and has not taken that back; sorted."""
        ...
