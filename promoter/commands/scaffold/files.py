"""Files of a scaffold in their folder. A repository may be anybody's: no link in it leads reading or writing out of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from promoter.errors import RefusedError, UsageError
from promoter.machine.paths import flaw, open_below

_MISSING = (errno.ENOENT, errno.ENOTDIR)


def read_file(folder: Path, path: str) -> bytes | None:
    """Its content; None if it is not there.

    Raises:
        RefusedError: the path does not lead to a file below the folder, or by a link.
        UsageError: it can't be read.
    """
    _require_below(folder, path)
    try:
        with os.fdopen(open_below(folder, path), "rb") as file:
            return file.read()
    except OSError as error:
        if error.errno in _MISSING and not (folder / path).is_symlink():
            return None
        raise _failed(folder, path, error, "read") from None


def write_files(folder: Path, files: Mapping[str, bytes | None], *, last: str) -> None:
    """Writes each file, or removes it where the content is None; `last` is the one whose presence stands for all.

    Raises:
        RefusedError: as `read_file`; nothing is written then.
        UsageError: one can't be written.
    """
    for path in files:
        _require_below(folder, path)
    for path in sorted(files, key=lambda path: path == last):
        try:
            _write(folder, path, files[path])
        except OSError as error:
            raise _failed(folder, path, error, "written") from None


def _write(folder: Path, path: str, content: bytes | None) -> None:
    if content is None:
        (folder / path).unlink()
        return
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_below(folder, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(content)


def _require_below(folder: Path, path: str) -> None:
    why = flaw(path)
    places = (folder / path, *(folder / path).parents)
    linked = next((one for one in places if one != folder and one.is_relative_to(folder) and one.is_symlink()), None)
    if why or linked is not None:
        reason = why or f"{linked} is a link"
        raise RefusedError(f"{folder / path} is left alone: {reason}", hint="put a file or folder of its own there")


def _failed(folder: Path, path: str, error: OSError, what: str) -> UsageError:
    return UsageError(f"{folder / path} can't be {what}: {error.strerror}", hint="choose another folder")
