"""Pull requests as promoter uses them: one branch for each model and environment, one open pull request from it, and its end.

The branch is promoter's own. A promotion and a rollback share one; a restore has its own, so that it closes nothing that people
are reviewing. Another release on the same branch gets a pull request of its own: an approval of one is never taken for another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from promoter.config.names import image_name
from promoter.errors import PromoterError, RefusedError, UnreachableError
from promoter.gitops import Proposal, Repository, Snapshot, trailers_of
from promoter.hosting.forge import GATES, Check, Draft, Forge, GatesStatus, PullRequest, Standing, State
from promoter.kustomize.overlay import unified
from promoter.models import Environment
from promoter.promotion import journal
from promoter.promotion.ending import End, Ended, Opened, Reviewed

Edit = Callable[[Snapshot], Proposal | None]
Describe = Callable[[str, int], str]
"""The body of a pull request for a commit with this diff, in at most so many characters."""

UNGATED = GatesStatus(True, "no gate holds up what undoes a release or records a decision")

_URGENT = "urgent"
_LONGEST_TITLE = 250  # GitHub takes 256 characters
_POLL = 10.0  # seconds: 360 requests an hour of the 5,000 that GitHub allows


def branch_of(environment: Environment, *, restoring: bool = False) -> str:
    """The branch of this model and environment, always the same."""
    name = f"{environment.pull_request.branch_prefix}/{environment.name}/{image_name(environment.model.name)}"
    return f"{name}.restore" if restoring else name


def reviewed(forge: Forge, environment: Environment, commit: str) -> Reviewed | None:
    """The merged pull request that brought this commit onto the branch, with those who approved it; None: it has none.

    Raises:
        AuthError, UnreachableError, RefusedError: as the forge answers.
    """
    base = environment.application.target_revision
    for restoring in (False, True):
        for one in forge.pull_requests(branch_of(environment, restoring=restoring), base):
            if one.merged and commit in (one.merged, one.head):
                return Reviewed(one.url, forge.approvers(one.number))
    return None


@dataclass(slots=True)
class PullRequestOpener:
    """Opens the pull request of one edit, or brings the open one up to date. Safe to repeat and to kill anywhere.

    `reopen`: a person asked for it, so it is opened again even if a person closed the same before. `gates`: what they decided
    about it, once `edit` was called.
    """

    repository: Repository
    forge: Forge
    environment: Environment
    edit: Edit
    describe: Describe
    restoring: bool = False
    reopen: bool = True
    gates: Callable[[], GatesStatus] = lambda: UNGATED
    _proposal: Proposal | None = None
    _diff: str = ""
    _found: Sequence[PullRequest] = ()
    _closed: set[int] = field(default_factory=set)

    def run(self) -> Opened | None:
        """The open pull request; None when the base branch holds what it would bring already.

        Raises:
            RefusedError: a person closed the same without merging, or the forge or the edit refuses.
            SupersededError: as the edit raises it.
            AuthError, UnreachableError, UsageError: as the Git server and the forge answer.
        """
        branch, base = branch_of(self.environment, restoring=self.restoring), self.environment.application.target_revision
        self._found = self.forge.pull_requests(branch, base)
        head = self.repository.propose(branch, self._checked, self._replacing)
        if head is None or self._proposal is None:
            return None
        current = next((one for one in self._found if self._is_open(one)), None)
        before = self._before(current)
        draft = self._draft(branch, base, self._proposal, before)
        if current is None and self._is_there(self._proposal):
            return None
        try:
            now = self.forge.update(current, draft) if current else self.forge.open(draft)
        except RefusedError:
            if current is None and self._is_there(self._proposal):
                return None  # a second promoter's was merged meanwhile, and the branch went with it
            raise
        if before is not None:
            self.forge.comment(before.number, f"Superseded by {self.forge.reference(now.number)}.")
        now = replace(now, head=head.sha)
        notes = (self._show_gates(now), *self._merge_when_ready(now, self._proposal))  # a merge may wait for the status
        done = "opened" if current is None else "unchanged" if now == current else "updated"
        return Opened(
            now.number,
            now.url,
            now.title,
            branch,
            head.sha,
            done,
            before.number if before else None,
            tuple(filter(None, notes)),
        )

    def _checked(self, snapshot: Snapshot) -> Proposal | None:
        proposal = self.edit(snapshot)
        self._proposal = self.repository.worded(proposal) if proposal else None
        self._diff = unified(snapshot, self._proposal.files) if self._proposal else ""
        newest = self._found[0] if self._found else None
        closed = newest is not None and newest.state is State.CLOSED and newest.number not in self._closed
        if self._proposal and newest and closed and not self.reopen and _same(newest, self._proposal):
            raise RefusedError(
                f"{newest.url} proposed the same, and was closed without being merged",
                hint="Git stays as it is: reopen it, or ask by hand, with promoter promote or promoter rollback",
            )
        return self._proposal

    def _replacing(self, proposal: Proposal) -> None:
        """Before the branch proposes something else: the pull request of what it proposed is closed, and stays what it was."""
        for one in self._found:
            if self._is_open(one) and not _same(one, proposal):
                self.forge.close(one.number)
                self._closed.add(one.number)

    def _is_open(self, one: PullRequest) -> bool:
        return one.state is State.OPEN and one.number not in self._closed

    def _before(self, current: PullRequest | None) -> PullRequest | None:
        """The one that the current one replaces: the newest before it, unless that was merged."""
        older = [one for one in self._found if current is None or one.number < current.number]
        return older[0] if older and older[0].state is not State.MERGED else None

    def _draft(self, branch: str, base: str, proposal: Proposal, before: PullRequest | None) -> Draft:
        policy = self.environment.pull_request
        link = f"\n\nSupersedes {self.forge.reference(before.number)}." if before else ""
        end = f"{link}\n\n---\n\n{proposal.trailer_block}\n"
        body = self.describe(self._diff, self.forge.longest_body - len(end)) + end
        labels = (*policy.labels, _URGENT) if self.restoring and _URGENT not in policy.labels else policy.labels
        title = " ".join(proposal.subject.split())[:_LONGEST_TITLE]
        return Draft(branch, base, title, body, labels, policy.reviewers, policy.draft)

    def _is_there(self, proposal: Proposal) -> bool:
        """Whether the same release was merged since the proposal was made, by a second promoter, whose branch this is too."""
        tip = self.repository.fetch()
        lasting = {path: content for path, content in proposal.files.items() if path not in proposal.dated}
        return bool(lasting) and all(tip.read(path) == content for path, content in lasting.items())

    def _show_gates(self, now: PullRequest) -> str:
        """Why the status can't be set: the pull request is open, and nobody can merge it where the status is required."""
        try:
            self.forge.show_gates(now, self.gates())
        except PromoterError as error:
            return f"could not set the status {GATES}: {error.message}"
        return ""

    def _merge_when_ready(self, now: PullRequest, proposal: Proposal) -> Sequence[str]:
        policy = self.environment.pull_request
        if policy.auto_merge is None or policy.draft:
            return ()
        subject = f"{proposal.subject} ({self.forge.reference(now.number)})"
        message = f"{proposal.body.strip()}\n\n{proposal.trailer_block}"
        refusal = self.forge.merge_when_ready(now, policy.auto_merge, subject, message)
        return (f"could not enable auto-merge: {refusal}",) if refusal else ()


def _same(one: PullRequest, proposal: Proposal) -> bool:
    """Whether a pull request proposes this release: the trailers at the end of its body say so."""
    return journal.same_release(trailers_of(one.body), proposal.read_back)


# -- waiting ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class MergeWait:
    """Waits for the end of a pull request; `say` reports what changes. `opener` makes its commit again if that conflicts."""

    proposing: PullRequestOpener
    opened: Opened
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    _reported: str = ""
    _queued: bool = False
    _taken_out: int = 0

    def run(self) -> Ended:
        """Until it is merged or closed, a required check fails, or the time is over. Its branch goes with it.

        Raises:
            SupersededError: it conflicts with another release that came onto the base branch.
            AuthError, RefusedError: as the forge answers.
        """
        deadline = self.now() + self.proposing.environment.pull_request.timeout
        while True:
            standing = self._look()
            if standing is not None and (ended := self._ended(standing)) is not None:
                return ended
            if self.now() >= deadline:
                detail = f"{self._name} is still open: {self._reported or 'not looked at'}"
                return Ended(End.TIMED_OUT, f"{detail}; it stays open, and running this again waits on")
            self.sleep(_POLL)

    def _look(self) -> Standing | None:
        try:
            return self.proposing.forge.standing(self.opened.number)
        except UnreachableError as error:
            self._tell(f"no answer at the moment: {error.message}")
            return None

    def _ended(self, standing: Standing) -> Ended | None:
        """None while it is open and nothing stands against it."""
        found = standing.pull_request
        if found.state is State.MERGED and found.merged:
            self._remove_branch(found)
            return Ended(End.MERGED, f"{self._name} is merged as {found.merged}", found.merged)
        if found.state is State.CLOSED:
            self._remove_branch(found)
            return Ended(End.CLOSED, f"{self._name} was closed without being merged: nothing changed")
        if standing.failed and not standing.pending:
            named = "; ".join(f"{check.name} {check.url}".rstrip() for check in standing.failed)
            return Ended(End.CHECKS_FAILED, f"{self._name} has required checks that failed: {named}")
        self._taken_out = self._taken_out + 1 if self._queued and standing.queue is None else 0
        if self._taken_out > 1:  # once may be the moment between queue and merge
            return Ended(End.CHECKS_FAILED, f"the merge queue took {self._name} out")
        self._queued = self._queued or standing.queue is not None
        if standing.conflicts and (renewed := self.proposing.run()) is not None:
            self.opened = renewed
        self._tell(_words(standing))
        return None

    @property
    def _name(self) -> str:
        return f"pull request {self.proposing.forge.reference(self.opened.number)} ({self.opened.url})"

    def _tell(self, words: str) -> None:
        if words != self._reported:
            self._reported = words
            self.say(f"{self._name}: {words}")

    def _remove_branch(self, found: PullRequest) -> None:
        """The forge may have done it, and somebody may have pushed to it: then it is left alone."""
        try:
            self.proposing.repository.remove(self.opened.branch, found.head)
        except PromoterError as error:
            self.say(f"branch {self.opened.branch} is not removed: {error.message}")


def _words(standing: Standing) -> str:
    if standing.conflicts:
        return "it conflicts with its base branch"
    if standing.queue is not None:
        return f"in the merge queue, place {standing.queue}"
    waits = [_checks("failed", standing.failed), _checks("to come", standing.pending), standing.blocked]
    return "; ".join(part for part in waits if part) or "waiting for somebody to merge it"


def _checks(what: str, checks: Sequence[Check]) -> str:
    return f"checks {what}: {', '.join(check.name for check in checks)}" if checks else ""
