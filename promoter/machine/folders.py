"""Folders of promoter's own: those that are kept, which nobody else may write to, and those of a moment."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Literal

from promoter.errors import UnreachableError, UsageError

_OTHERS = 0o022
_NAME = re.compile(r"promoter-(render|lock|build|model|merge)-[a-z0-9_]{8}")  # tempfile chooses the end
_TRACE = re.compile(r"promoter-git-[a-z0-9_]{8}")  # files of gitops/process.py, which nothing holds
_FRESH = 60.0  # seconds: a folder that was just made may not be held yet
_LONGEST = 3600.0  # seconds; no git process has so many


def are_private(*folders: Path) -> bool:
    """Whether each is a folder, not a link to one, that nobody else owns or may write to. Raises OSError."""
    states = [folder.lstat() for folder in folders]
    return all(stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & _OTHERS for state in states)


def make_private(folder: Path) -> bool:
    """Makes the folder, for us alone. Returns whether others might write to it until now: then nothing in it can be trusted.

    Raises:
        UsageError: it belongs to somebody else.
        OSError: it can't be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.geteuid():
        raise UsageError(
            f"{folder} belongs to another user (uid {state.st_uid}), who could change what promoter reads there",
            hint="set XDG_CACHE_HOME to a folder of yours",
        )
    if state.st_mode & _OTHERS:
        folder.chmod(0o700)
        return True
    return False


@contextmanager
def temporary(purpose: Literal["render", "lock", "build", "model", "merge"]) -> Iterator[Path]:
    """A folder until the end of the block; those of processes that were killed are removed by the next process."""
    remove_left()
    # A process that was ended may leave one that still writes there.
    with tempfile.TemporaryDirectory(prefix=f"promoter-{purpose}-", ignore_cleanup_errors=True) as name:
        held = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)  # the system lets go when the process dies
            yield Path(name)
        finally:
            os.close(held)


@cache
def remove_left() -> None:
    """Once in a process: removes the temporary folders, and the traces of git, of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob("promoter-*"):
        with suppress(OSError):
            if _TRACE.fullmatch(folder.name) and _is_old_file(folder.lstat()):
                folder.unlink()
            if _NAME.fullmatch(folder.name) and are_private(folder) and time.time() - folder.lstat().st_mtime > _FRESH:
                _remove_unless_held(folder)


def _is_old_file(state: os.stat_result) -> bool:
    return stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid() and time.time() - state.st_mtime > _LONGEST


def _remove_unless_held(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises: UnreachableError, if the folder can't be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreachableError(
            f"the build's folder {folder} can't be written: {reason}", hint="free some space, or point TMPDIR elsewhere"
        ) from None
