"""The two ways in which a commit gets onto the branch: pushed, or made by GitHub. Each knows again what it did itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from promoter.gitops.commit import Commit, Proposal
from promoter.gitops.remote import FIRST_DEPTH, Remote

if TYPE_CHECKING:
    from promoter.gitops.github_api import GitHubCommits


class Writer(Protocol):
    """Writes one commit, however often it must try; not for a second one."""

    def landed(self, tip: str) -> Commit | None:
        """The commit of an earlier try, if it is on the branch after all: its answer was lost. Raises GitError."""

    def write(self, tip: str, root: str, proposal: Proposal) -> Commit:
        """Makes the proposal, whose root tree is `root`, the child of `tip` and the branch's tip. Raises GitError."""

    def propose(self, branch: str, head: str, tip: str, root: str, proposal: Proposal) -> Commit:
        """As `write`, but the head of another branch, which is `head` now, or not there. Raises GitError."""


@dataclass(frozen=True)
class Push:
    """Commits here, signed where the user signs, and pushes."""

    remote: Remote
    _sent: list[tuple[str, str]] = field(default_factory=list)

    def landed(self, tip: str) -> Commit | None:
        for sha, parent in self._sent:
            # That the remote has it would prove nothing: it keeps the objects of a push that lost the race.
            if _below(self.remote, tip, sha, parent) and self.remote.log.reaches(tip, sha):
                return self.remote.log.commit(sha)
        return None

    def write(self, tip: str, root: str, proposal: Proposal) -> Commit:
        sha = self.remote.commit_tree(root, tip, proposal.message())
        # Whatever git reports: curl repeats a push whose answer was lost, and the repetition loses the race.
        self._sent.append((sha, tip))
        self.remote.push(sha, tip)
        return self.remote.log.commit(sha)

    def propose(self, branch: str, head: str, tip: str, root: str, proposal: Proposal) -> Commit:
        sha = self.remote.commit_tree(root, tip, proposal.message())
        self.remote.push(sha, head, branch)
        return self.remote.log.commit(sha)


@dataclass(frozen=True)
class ThroughGitHub:
    """Lets GitHub make the commit: its id is unknown before, so parent, tree and message identify an earlier attempt."""

    remote: Remote
    api: GitHubCommits
    _asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    def landed(self, tip: str) -> Commit | None:
        for parent, root, message in self._asked:
            child = self.remote.log.child(parent, tip) if _below(self.remote, tip, parent) else None
            if child is not None and self.remote.log.holds(child, root, message):
                return self.remote.log.commit(child)
        return None

    def write(self, tip: str, root: str, proposal: Proposal) -> Commit:
        message = proposal.message()
        self._asked.append((tip, root, message))
        sha = self.api.commit(tip, proposal.files, message)
        self.remote.ensure(sha)
        return self.remote.log.commit(sha)

    def propose(self, branch: str, head: str, tip: str, root: str, proposal: Proposal) -> Commit:  # noqa: ARG002 - GitHub writes trees
        # GitHub commits only on a branch's tip, and closes a pull request whose branch is, for a moment, at its base.
        aside = f"{branch}.new"
        self.remote.push(tip, self.remote.head(aside), aside)
        sha = self.api.commit(tip, proposal.files, proposal.message(), aside)
        self.remote.ensure(sha)
        self.remote.push(sha, head, branch)
        self.remote.push("", sha, aside)
        return self.remote.log.commit(sha)


def _below(remote: Remote, tip: str, *commits: str) -> bool:
    """Whether one of the commits is `tip` or an ancestor; a cache that was recreated since is deepened until that is clear."""
    depth = FIRST_DEPTH
    while not any(remote.log.reaches(tip, commit) for commit in commits):
        if not remote.log.boundary(tip):
            return False
        remote.deepen(tip, depth)
        depth *= 2
    return True
