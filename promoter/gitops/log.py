"""The history that was fetched: commits, and what lies below what. Nothing is asked of the remote, but for missing trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from promoter.gitops.commit import LOG_FORMAT, Commit, parse_log
from promoter.gitops.failures import GitError
from promoter.gitops.objects import Objects
from promoter.gitops.process import Git


class Log:
    """The commits of the repository that `git` works on; `shallow` are those whose parents were not fetched."""

    def __init__(self, git: Git, objects: Objects, shallow: Callable[[], frozenset[str]]) -> None:
        self._git, self._objects, self._shallow = git, objects, shallow

    def reaches(self, commit: str, ancestor: str) -> bool:
        """Whether `ancestor` is `commit` or below it, as far as history was fetched."""
        return self._git.succeeds("merge-base", "--is-ancestor", ancestor, commit)

    def boundary(self, commit: str) -> frozenset[str]:
        """Where the fetched history of `commit` ends although the remote has more; empty when its roots are here."""
        shallow = self._shallow()
        return shallow & set(self._git.text("rev-list", "--max-parents=0", commit, "--").split()) if shallow else shallow

    def is_whole(self, commit: str, above: str) -> bool:
        """Whether every commit that is at or below `commit`, and neither `above` nor below it, was fetched."""
        roots = ("rev-list", "--max-count=1", "--max-parents=0", f"{above}..{commit}", "--")
        return self.reaches(commit, above) and not self._git.text(*roots)

    def child(self, parent: str, tip: str) -> str | None:
        """The commit right above `parent` on the branch whose tip is `tip`, as far as history was fetched. Raises GitError."""
        line = self._git.text("rev-list", "--first-parent", "--reverse", f"{parent}..{tip}", "--").split()
        return line[0] if line and self.reaches(line[0], parent) else None

    def holds(self, commit: str, root: str, message: bytes) -> bool:
        """Whether the commit has this root tree and message. Raises GitError."""
        found = self._git.run("log", "--max-count=1", "--encoding=UTF-8", "--no-show-signature", "--format=%B", commit, "--")
        return self._objects.root(commit) == root and found.strip() == message.strip()

    def commit(self, sha: str) -> Commit:
        """The commit, which is here. Raises GitError."""
        return self.read(sha, (), 1)[0]

    def parent(self, commit: str) -> str:
        """The first parent, also where it was not fetched: `git log` hides those."""
        header = self._git.text("cat-file", "commit", commit).partition("\n\n")[0]
        return next((line.removeprefix("parent ") for line in header.splitlines() if line.startswith("parent ")), "")

    def depth(self, commit: str) -> int:
        """How many commits were fetched from this one down, along first parents."""
        return int(self._git.text("rev-list", "--count", "--first-parent", commit, "--"))

    def read(self, commit: str, paths: Sequence[str], limit: int, *, full: bool = False) -> list[Commit]:
        """At most `limit` commits from this one down that touch a path, newest first; some may be of `boundary`.

        `commit` may be a range, too. `full`: on every side of a merge, children before parents. Otherwise a merge that leaves
        the paths as one parent had them is followed to that parent alone (git-log(1): simplification).
        """
        options = ["--no-show-signature", "--no-mailmap", "--encoding=UTF-8", "--no-notes", f"--max-count={limit}"]
        options += ["--full-history", "--topo-order"] if full else []
        arguments = ("log", "-z", *options, f"--format={LOG_FORMAT}", commit, "--", *paths)
        try:
            return parse_log(self._git.run(*arguments))
        except GitError:
            roots = self._git.text("log", "--format=%T", commit, "--").split()
            self._objects.complete(set(roots), paths)
        return parse_log(self._git.run(*arguments))

    def search(self, commit: str, pattern: str) -> list[Commit]:
        """Every commit here at or below this one, by any parent, with a line of its message that matches, the oldest first.

        `pattern` is a basic regular expression. The order is the graph's, whatever the commits' dates. Raises GitError.
        """
        options = ("--no-show-signature", "--no-mailmap", "--encoding=UTF-8", "--no-notes", "--topo-order", "--reverse")
        arguments = ("log", "-z", *options, f"--format={LOG_FORMAT}", f"--grep={pattern}", commit, "--")
        return parse_log(self._git.run(*arguments))
