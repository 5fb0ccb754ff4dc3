"""A checkout of a person's: blobs that its repository has, and three versions of a file merged. Nothing in it is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promoter.gitops.failures import GitError
from promoter.gitops.process import Git
from promoter.gitops.tree import Object, object_id
from promoter.machine.folders import temporary

_GITDIR = "gitdir: "
_SHA1 = "0" * 40


def blob_id(content: bytes) -> str:
    """The id that Git gives to a file of this content, in a repository of SHA-1."""
    return object_id(Object("blob", content), _SHA1)


class Checkout:
    """The checkout that `folder` is in, if it is in any; `environ` has the PATH."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        # Neither a configuration nor a remote of this machine decides what a blob is.
        plain = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
        self._git = Git(git_directory(folder), {"PATH": environ.get("PATH", ""), **plain})

    def blob(self, name: str) -> bytes | None:
        """The content of the blob with this id; None if the repository does not have it, or can't be read.

        Raises:
            UsageError: git is not installed.
        """
        try:
            return self._git.run("cat-file", "blob", name)
        except GitError:
            return None

    def merged(self, mine: bytes, base: bytes, other: bytes) -> bytes | None:
        """What both changed of `base`, by git-merge-file(1); None if they changed the same lines.

        Raises:
            UsageError: git is not installed, or the disk is full.
        """
        with temporary("merge") as folder:
            paths = [folder / name for name in ("mine", "base", "other")]
            for path, content in zip(paths, (mine, base, other), strict=True):
                path.write_bytes(content)
            try:
                return self._git.run("merge-file", "--stdout", "--quiet", *map(str, paths))
            except GitError:
                return None


def git_directory(folder: Path) -> Path:
    """Of a checkout's root, or of a worktree or submodule, whose .git is a file (gitrepository-layout(5))."""
    for place in (folder.resolve(), *folder.resolve().parents):
        git = place / ".git"
        if git.is_file() and (text := git.read_text(errors="replace")).startswith(_GITDIR):
            return place / text.removeprefix(_GITDIR).strip()
        if git.is_dir():
            return git
    return folder / ".git"
