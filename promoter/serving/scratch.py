"""The one folder that the server writes to, below the system's temporary folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "promoter-serving-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Gone at the end; what a killed server left is removed first, since a container's /tmp outlives its restarts."""
    _remove_left_behind(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _remove_left_behind(folder: Path) -> None:
    for left in folder.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not _another_lives(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _another_lives(pid: int) -> bool:
    """In a container the server has the same number again after each restart."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
