"""What an earlier call has found out: kept in the cache for a minute, and renewed by a process that nobody waits for."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from zlib import crc32

TYPE_CHECKING = False  # as in words.py
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

REFRESH = "__refresh"
"""The hidden command that finds it out."""

_FRESH = 60.0
_BUSY = 30.0
"""Seconds in which a refresh is not started again, whatever has become of it."""


class Store:
    """One folder of this user, with a JSON file for each key."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._environ = folder, environ

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Store:
        """The one in the user's cache."""
        from promoter.machine.home import cache_folder

        return cls(cache_folder(environ) / "completion", environ)

    def read(self, key: str, arguments: Sequence[str], stamp: str = "") -> Any:
        """What is known, None if nothing is; `promoter __refresh ARGUMENTS` is started if it is old or of another `stamp`."""
        try:
            path = self._path(key)
            age = time.time() - path.stat().st_mtime
            kept = json.loads(path.read_bytes())
            found, fresh = kept["value"], kept["stamp"] == stamp if stamp else 0 <= age < _FRESH
        except (OSError, ValueError, KeyError):
            found, fresh = None, False
        if not fresh:
            self._refresh(key, arguments)
        return found

    def write(self, key: str, value: Any, stamp: str = "") -> None:
        """Keeps it, in the place of what was known. Raises OSError, UsageError."""
        from promoter.machine.folders import make_private

        make_private(self._folder)
        path = self._path(key)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({"value": value, "stamp": stamp}))
        new.replace(path)

    def _refresh(self, key: str, arguments: Sequence[str]) -> None:
        from promoter.machine.folders import make_private
        from promoter.machine.process import detach

        make_private(self._folder)
        busy = self._path(key).with_suffix(".busy")
        if busy.exists() and time.time() - busy.stat().st_mtime < _BUSY:
            return
        busy.write_bytes(b"")
        detach([sys.executable, "-P", "-m", "promoter", REFRESH, *arguments], environ=self._environ)

    def _path(self, key: str) -> Path:
        readable = "".join(letter if letter.isalnum() else "-" for letter in key)[:60]
        return self._folder / f"{readable}-{crc32(key.encode()):08x}.json"
