"""The Git remote an Application follows: the newest commit of a branch, and the files of a commit."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from promoter.errors import UnreachableError
from promoter.gitops.credentials import local
from promoter.machine import process

_SECONDS = 600.0


class Repository:
    """A bare copy of `url` in `folder`, brought up to date when asked."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self._folder = url, folder
        self._heads: dict[str, tuple[float, str]] = {}
        self._files: tuple[str, Mapping[str, bytes]] = ("", {})

    def head(self, branch: str, now: float) -> str:
        """The commit the branch points to; asked again at the same moment (by another Application), Git is not.

        Raises:
            UnreachableError: the remote did not answer, or has no such branch.
        """
        asked, revision = self._heads.get(branch, (None, ""))
        if asked == now:
            return revision
        if not self._folder.exists():
            self._git("init", "--quiet", "--bare", str(self._folder))
        self._git(
            "-C", str(self._folder), "fetch", "--quiet", "--no-tags", self.url, f"+refs/heads/{branch}:refs/heads/{branch}"
        )
        revision = self._git("-C", str(self._folder), "rev-parse", f"refs/heads/{branch}").decode().strip()
        self._heads[branch] = now, revision
        return revision

    def files(self, revision: str) -> Mapping[str, bytes]:
        """Every file of the commit by its path; the last commit asked for is kept."""
        if self._files[0] != revision:
            archive = self._git("-C", str(self._folder), "archive", "--format=tar", revision)
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                members = [(member.name, tar.extractfile(member)) for member in tar if member.isfile()]
                files = {name: stream.read() for name, stream in members if stream is not None}
            self._files = revision, MappingProxyType(files)
        return self._files[1]

    def _git(self, *arguments: str) -> bytes:
        try:
            ran = process.run(["git", *arguments], environ=local(os.environ), seconds=_SECONDS)
        except process.HungError:
            raise UnreachableError(f"git at {self.url} does not answer", hint="start the demo again") from None
        if ran.status:
            why = ran.errors.strip()
            raise UnreachableError(f"git at {self.url}: {why}", hint="check the repository and the branch of the Application")
        return ran.out
