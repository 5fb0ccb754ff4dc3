"""What a forge keeps of a repository: pull requests, and the bare Git repository in which they are really merged."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.git_server import isolated_environ

METHODS = ("squash", "rebase", "merge")


@dataclass
class Check:
    """A check of a pull request's head: `result` is None while it runs, or success or failure."""

    name: str
    required: bool = True
    result: str | None = None


@dataclass
class Pull:
    """A pull request; `end` is the head when it was merged or closed. `statuses` and `iterations` are Azure DevOps' own: of
    iterations, which pushes begin, the heads."""

    number: int
    branch: str
    base: str
    title: str
    body: str
    draft: bool = False
    state: str = "open"
    merged: str | None = None
    end: str = ""
    labels: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    reviewed: list[str] = field(default_factory=list)
    votes: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    iterations: list[str] = field(default_factory=list)
    queue: int | None = None
    when_ready: Callable[[], object] | None = None


class Conflict(Exception):
    """The branches can't be merged."""


@dataclass
class ForgeRepository:
    """A bare repository and its pull requests. `protected`: something has to pass before a merge. `squash_message` is GitHub's
    setting of that name: COMMIT_MESSAGES, PR_BODY or BLANK. `date` is when commits are made, as git reads it; "" is now."""

    path: Path
    protected: bool = True
    squash_message: str = "COMMIT_MESSAGES"
    deletes_branches: bool = False
    date: str = ""
    pulls: list[Pull] = field(default_factory=list)

    def git(self, *arguments: str, given: str | None = None) -> str:
        environ = isolated_environ(self.path.parent / "forge-home")
        environ |= {"GIT_COMMITTER_DATE": self.date} if self.date else {}
        run = subprocess.run(
            ["git", "-C", str(self.path), *arguments], input=given, env=environ, capture_output=True, text=True, check=False
        )
        if run.returncode == 1 and arguments[0] == "merge-tree":
            raise Conflict(run.stdout)
        assert run.returncode == 0, f"git {' '.join(arguments)}: {run.stderr}"
        return run.stdout.strip()

    def head(self, branch: str) -> str:
        """The branch's commit, "" if the branch does not exist."""
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def head_of(self, pull: Pull) -> str:
        return pull.end or self.head(pull.branch)

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()

    def open(self, pull: Pull) -> Pull:
        self.pulls.append(pull)
        return pull

    def opened(self, branch: str, base: str) -> Pull | None:
        return next((one for one in self.pulls if (one.branch, one.base, one.state) == (branch, base, "open")), None)

    def pull(self, number: int) -> Pull:
        return next(one for one in self.pulls if one.number == number)

    def close(self, pull: Pull) -> None:
        pull.state, pull.end, pull.when_ready = "closed", self.head(pull.branch), None

    def conflicts(self, pull: Pull) -> bool:
        try:
            return not self._tree(self.head(pull.base), self.head_of(pull))
        except Conflict:
            return True

    def merge(self, pull: Pull, method: str, message: str = "") -> str:
        """Merges as a forge does; gives the commit on the base branch."""
        base, head = self.head(pull.base), self.head(pull.branch)
        if method == "squash":
            made = self._commit(self._tree(base, head), message or self._squash_message(pull, base, head), base)
        elif method == "merge":
            told = message or f"Merge pull request #{pull.number} from org/{pull.branch}\n\n{pull.title}"
            made = self._commit(self._tree(base, head), told, base, head)
        else:
            made = base
            for commit in self.git("rev-list", "--reverse", f"{base}..{head}").split():
                made = self._commit(self._tree(made, commit), self.git("log", "-1", "--format=%B", commit), made)
        self.git("update-ref", f"refs/heads/{pull.base}", made, base)
        pull.state, pull.merged, pull.end, pull.queue = "merged", made, head, None
        if self.deletes_branches:
            self.git("update-ref", "-d", f"refs/heads/{pull.branch}")
        return made

    def ready(self, pull: Pull) -> None:
        """Everything that was waited for has come: what was set to merge by itself is merged."""
        self.protected = False
        if pull.when_ready:
            pull.when_ready()

    def _squash_message(self, pull: Pull, base: str, head: str) -> str:
        bodies = [self.git("log", "-1", "--format=%b", commit) for commit in self.git("rev-list", f"{base}..{head}").split()]
        body = {"BLANK": "", "PR_BODY": pull.body}.get(self.squash_message, "\n\n".join(bodies))
        return f"{pull.title} (#{pull.number})\n\n{body}\n\nCo-authored-by: Tester <tester@example.com>"

    def _tree(self, base: str, head: str) -> str:
        return self.git("merge-tree", "--write-tree", base, head)

    def _commit(self, tree: str, message: str, *parents: str) -> str:
        named = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *named, "-F", "-", given=message)
