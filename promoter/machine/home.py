"""The user's folder: $HOME, else the one of the passwd entry. A container may run as a uid that has neither."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path


def home(environ: Mapping[str, str]) -> Path:
    """A uid without a passwd entry gets a temporary folder of its own, if HOME is not one that it may write to.

    Raises:
        UsageError: somebody else has put something there.
    """
    given = environ.get("HOME", "")
    try:
        return Path(given or pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return _temporary()


def writable_home(environ: Mapping[str, str]) -> Path:
    """As `home`, to write to: engines set HOME=/ for a uid that they don't know."""
    found = home(environ)
    return found if _is_known() or os.access(found, os.W_OK) else _temporary()


def cache_folder(environ: Mapping[str, str]) -> Path:
    """$XDG_CACHE_HOME/promoter (XDG Base Directory Specification): what is lost there costs time only."""
    base = environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else writable_home(environ) / ".cache") / "promoter"


def _is_known() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _temporary() -> Path:
    import tempfile  # here: a shell that waits for a completion needs only the folder of its cache

    from promoter.errors import UsageError

    folder = Path(tempfile.gettempdir(), f"promoter-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(f"{folder} is not a folder of this user alone", hint="set HOME to a folder of yours")
    return folder
