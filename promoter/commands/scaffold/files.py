"""Files of a scaffold in their folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promoter.errors import UsageError


def read_file(folder: Path, path: str) -> bytes | None:
    """Its content; None if it is not there.

    Raises:
        UsageError: it can't be read.
    """
    try:
        return (folder / path).read_bytes() if (folder / path).is_file() else None
    except OSError as error:
        raise UsageError(f"{error.filename} can't be read: {error.strerror}", hint="choose another folder") from None


def write_files(folder: Path, files: Mapping[str, bytes | None], *, last: str) -> None:
    """Writes each file, or removes it where the content is None; `last` is the one whose presence stands for all.

    Raises:
        UsageError: one can't be written.
    """
    try:
        for path in sorted(files, key=lambda path: path == last):
            target, content = folder / path, files[path]
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{error.filename} can't be written: {error.strerror}", hint="choose another folder") from None
