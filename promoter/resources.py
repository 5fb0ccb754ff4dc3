"""A disk without space, reported as that wherever it is met: with the folder, and as an outage that passes (exit code 4)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path

from promoter.errors import UnreachableError

NO_SPACE = r"no space left on device|disk quota exceeded"
"""How tools report it, as a regular expression that ignores case."""


@contextmanager
def reported() -> Iterator[None]:
    """For a block that writes files, also temporary ones.

    Raises:
        UnreachableError: no space is left for them.
    """
    try:
        yield
    except OSError as error:
        raise explained(error) or error from None


def is_full(error: OSError) -> bool:
    """Whether the error means that no space is left."""
    return error.errno in (ENOSPC, EDQUOT)


def full(folder: str | Path) -> UnreachableError:
    return UnreachableError(f"no space left on the disk of {folder}", hint="free some, or choose another folder")


def explained(error: OSError) -> UnreachableError | None:
    """The error as one of a full disk, if it is; Python reports folders for temporary files that are full as missing."""
    temporary = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - named, not used
    if is_full(error):
        return full(Path(os.fsdecode(error.filename)).parent if isinstance(error.filename, str | bytes) else temporary)
    if "No usable temporary directory" not in str(error):
        return None
    return UnreachableError(
        f"no temporary file can be written: {temporary} is full, missing or not yours",
        hint="free some space there, or set TMPDIR to a folder of yours",
    )
