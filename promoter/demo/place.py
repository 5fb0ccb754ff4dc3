"""Where the parts of the story are: one folder, replaced on the next run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from promoter.errors import PromoterError, UnreachableError, UsageError
from promoter.gitops.credentials import access, local
from promoter.machine import process

_MARK = ".promoter-demo"
_SECONDS = 600.0
# What would lead to another MLflow, Git repository or Argo CD than the demo's.
_FOREIGN = ("MLFLOW_", "GIT_DIR", "GIT_WORK_TREE", "ARGOCD_")


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of the demo and what is where in it; `git_url` and `branch` are the remote's, which has no secrets in it."""

    folder: Path
    git_url: str
    branch: str = "main"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def checkout(self) -> Path:
        return self.folder / "gitops"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def sandbox(self) -> Path:
        return self.folder / "sandbox"

    def git(self, *arguments: str) -> str:
        """What git prints, run in the checkout with the credentials that promoter would use for the remote; raises as `git`."""
        return git("-C", str(self.checkout), *arguments, environ=access(self.git_url, os.environ).environ)

    def environ(self, **own: str) -> Mapping[str, str]:
        """This process's environment for promoter's clients, with the demo's own MLflow, Git cache and Argo CD (`own`)."""
        return {**_without_foreign(), "XDG_CACHE_HOME": str(self.folder / "cache"), **own}


def prepare(folder: Path) -> Path:
    """An empty folder for the demo, by its absolute path, in the place of what an earlier demo left there.

    Raises:
        UsageError: it is a file, or holds something that no demo made.
    """
    found = folder.resolve()
    empty = found.is_dir() and not any(found.iterdir())
    if found.exists() and not empty and not (found / _MARK).is_file():
        raise UsageError(f"{folder} exists and was not made by promoter demo", hint="name another folder with --folder")
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir(parents=True)
    (found / _MARK).touch()
    return found


def git(*arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """What git prints.

    Raises:
        PromoterError: it is not there, or failed.
    """
    try:
        done = process.run(["git", *arguments], environ=environ or local(os.environ), seconds=_SECONDS)
    except FileNotFoundError:
        raise UsageError("the demo needs git, which is not on PATH", hint="install git 2.31 or newer") from None
    except process.HungError:
        raise UnreachableError(f"git {arguments[0]} did not end in {_SECONDS:.0f} s", hint="start the demo again") from None
    if done.status != 0:
        raise PromoterError(f"git {' '.join(arguments)}: {done.errors.strip()}", hint="the demo needs git 2.31 or newer")
    return done.output.rstrip("\n")


def _without_foreign() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
