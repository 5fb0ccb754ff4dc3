"""The branches that a remote lists, and its HEAD (git-ls-remote(1)). A web page in its place is not an empty repository."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from promoter.errors import RefusedError
from promoter.gitops.failures import GitError

_HEAD_IS = "ref: refs/heads/"
_PACKETS = "GIT_TRACE_PACKET"  # names a file for what is exchanged in Git's own protocol


class BranchGoneError(RefusedError):
    """The remote does not have the branch: it was renamed or deleted, or never was."""


class List(Protocol):
    """`git ls-remote` with these options and a pattern, of one remote; `environ` is added to its environment."""

    def __call__(self, *arguments: str, environ: Mapping[str, str]) -> bytes: ...


class Refs:
    """What the remote at `url` lists. Every method raises GitError when it can't be asked."""

    def __init__(self, url: str, list: List) -> None:
        self._url, self._list = url, list

    def head(self, branch: str) -> str:
        """The commit that the branch points to; empty if it does not exist."""
        return self._list(f"refs/heads/{branch}", environ={}).decode().partition("\t")[0]

    def below(self, prefix: str) -> frozenset[str]:
        """The branches whose names begin with the prefix and a slash."""
        lines = self._list("--heads", f"refs/heads/{prefix}/*", environ={}).decode(errors="replace").splitlines()
        return frozenset(line.partition("refs/heads/")[2] for line in lines)

    def default_branch(self) -> str:
        """The branch that HEAD is. Raises BranchGoneError: it is none."""
        lines = self._lines("--symref", "HEAD")
        branches = [line.removeprefix(_HEAD_IS).partition("\t")[0] for line in lines if line.startswith(_HEAD_IS)]
        if branches:
            return branches[0]
        raise BranchGoneError(
            f"{self._url} has no default branch" if lines else f"{self._url} is empty: it has no default branch",
            hint="write the branch as targetRevision of the Application",
        )

    def missing(self, branch: str) -> BranchGoneError:
        """The error for a branch that is not there, alongside those that are."""
        branches = [line.partition("refs/heads/")[2] for line in self._lines("--heads", "*")]
        if not branches:
            return BranchGoneError(
                f"{self._url} is empty: it has no branch {branch}", hint="push a first commit with the overlays to it"
            )
        some = ", ".join(branches[:5]) + (", …" if len(branches) > 5 else "")
        return BranchGoneError(
            f"{self._url} has no branch {branch}; it has {some}", hint="name one of them, or create the branch"
        )

    def _lines(self, *arguments: str) -> list[str]:
        lines = self._list(*arguments, environ={}).decode(errors="replace").splitlines()
        if not lines and self._url.startswith(("http://", "https://")):
            self._require_git(*arguments)
        return lines

    def _require_git(self, *arguments: str) -> None:
        """git takes a web page on one line for an empty repository. Only a Git server answers in packets."""
        with suppress(OSError), tempfile.NamedTemporaryFile(prefix="promoter-git-") as packets:  # nowhere to write: it is empty
            if not self._list(*arguments, environ={_PACKETS: packets.name}) and not packets.read(1):
                raise GitError("ls-remote", 0, "", f"fatal: {self._url}/info/refs not valid: it lists no refs")
