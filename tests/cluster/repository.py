"""A GitOps repository of a test: bare, where Argo CD and promoter reach it, and a clone in which people commit by hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cluster import ENVIRON

BRANCH = "main"
_ATTEMPTS = 20


@dataclass(frozen=True)
class GitRepository:
    """`bare` is served at `url`; `clone` belongs to the people who commit alongside promoter."""

    bare: Path
    clone: Path
    url: str

    @classmethod
    def create(cls, bare: Path, clone: Path, url: str) -> GitRepository:
        repository = cls(bare, clone, url)
        _git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(bare))
        for key in ("http.receivepack", "uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            _git("-C", str(bare), "config", key, "true")
        _git("clone", "--quiet", str(bare), str(clone))
        _git("-C", str(clone), "checkout", "--quiet", "-B", BRANCH)
        return repository

    def commit(self, subject: str, edit: Callable[[Path], None]) -> str:
        """Commits what `edit` does to the files at the branch's tip, again on the new tip where somebody was faster."""
        for _ in range(_ATTEMPTS):
            if self._clone("ls-remote", "--heads", "origin", BRANCH):
                self._clone("fetch", "--quiet", "origin", BRANCH)
                self._clone("reset", "--quiet", "--hard", "FETCH_HEAD")
            edit(self.clone)
            self._clone("add", "--all")
            self._clone("commit", "--quiet", "--message", subject)
            if self._clone("push", "--quiet", "origin", BRANCH, check=False) is not None:
                return self.tip()
        raise AssertionError(f"{_ATTEMPTS} pushes of {subject!r} lost the race")

    def tip(self) -> str:
        return self._bare("rev-parse", BRANCH).strip()

    def commits(self, since: str) -> list[str]:
        """Subjects of the commits after `since`, newest first."""
        return self._bare("log", "--format=%s", f"{since}..{BRANCH}").splitlines()

    def message(self, commit: str) -> str:
        return self._bare("log", "-1", "--format=%B", commit)

    def delete_branch(self) -> None:
        self._bare("update-ref", "-d", f"refs/heads/{BRANCH}")

    def folder(self, path: str, commit: str = BRANCH) -> dict[str, bytes]:
        """Names and contents of the files in one folder at a commit."""
        names = self._bare("ls-tree", "-r", "--name-only", f"{commit}:{path}").splitlines()
        return {name: _git("-C", str(self.bare), "cat-file", "blob", f"{commit}:{path}/{name}") for name in names}

    def refuse_pushes(self) -> tuple[Path, Callable[[], None]]:
        """From now on a push waits in the server and is refused at last; returns the file that shows that one is there, and the way back."""
        hook, waiting = self.bare / "hooks" / "pre-receive", self.bare / "push-waits"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch '{waiting}'\nsleep 20\nexit 1\n")
        hook.chmod(0o755)
        return waiting, hook.unlink

    def _clone(self, *arguments: str, check: bool = True) -> str | None:
        done = _run("-C", str(self.clone), *arguments)
        if done.returncode == 0:
            return done.stdout.decode()
        assert not check, done.stderr.decode()
        return None

    def _bare(self, *arguments: str) -> str:
        return _git("-C", str(self.bare), *arguments).decode()


def _run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    person = {"GIT_AUTHOR_NAME": "Somebody Else", "GIT_AUTHOR_EMAIL": "somebody@example.com"}
    person |= {"GIT_COMMITTER_NAME": "Somebody Else", "GIT_COMMITTER_EMAIL": "somebody@example.com"}
    environ = {"PATH": ENVIRON["PATH"], "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **person}
    return subprocess.run(["git", *arguments], env=environ, capture_output=True, timeout=60)


def _git(*arguments: str) -> bytes:
    done = _run(*arguments)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode()}"
    return done.stdout
