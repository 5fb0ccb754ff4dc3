"""What this machine has run out of: space on a disk, processes, open files. Reported as that, as an outage (exit code 4)."""

from __future__ import annotations

import os
from errno import EAGAIN, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC
from pathlib import Path

from promoter.errors import UnreachableError

_TOO_MANY = frozenset({EAGAIN, ENOMEM, EMFILE, ENFILE})

NO_SPACE = r"no space left on device|disk quota exceeded"
"""How tools report it, as a regular expression that ignores case."""


def is_full(error: OSError) -> bool:
    """Whether the error means that no space is left."""
    return error.errno in (ENOSPC, EDQUOT)


def full(folder: str | Path) -> UnreachableError:
    return UnreachableError(f"no space left on the disk of {folder}", hint="free some, or choose another folder")


def exhausted(what: str) -> UnreachableError:
    return UnreachableError(f"this machine has no process, thread or file left for promoter: {what}", hint="see `ulimit -a`")


def explained(error: OSError) -> UnreachableError | None:
    """The error as one of this machine, if it is; Python reports folders for temporary files that are full as missing."""
    if error.errno in _TOO_MANY:
        return exhausted(str(error.strerror))
    temporary = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - named, not used
    if is_full(error):
        return full(Path(os.fsdecode(error.filename)).parent if isinstance(error.filename, str | bytes) else temporary)
    if "No usable temporary directory" not in str(error):
        return None
    return UnreachableError(
        f"no temporary file can be written: {temporary} is full, missing or not yours",
        hint="free some space there, or set TMPDIR to a folder of yours",
    )
