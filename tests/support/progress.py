"""Whether a process that is waited for still works: machines are busy, and a number of seconds would be a guess."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

_IDLE = 120.0  # seconds without any work


def while_it_works(process: Popen[bytes]) -> Iterator[None]:
    """Again and again, a fifth of a second apart, until the process has ended, or its session does nothing any more.

    The process has a session of its own.
    """
    worked, since = -1, time.monotonic()
    while process.poll() is None and time.monotonic() - since < _IDLE:
        yield
        time.sleep(0.2)
        if (now := _ticks(process.pid)) != worked:
            worked, since = now, time.monotonic()


def _ticks(session: int) -> int:
    """The processor time of all processes of a session (proc(5), stat)."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(") ")[2].split()
            total += int(fields[11]) + int(fields[12]) if int(fields[3]) == session else 0
    return total
