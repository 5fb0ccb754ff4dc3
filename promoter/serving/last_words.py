"""Why a model process has ended: what it reported itself, where it stood, and what the kernel did to it."""

from __future__ import annotations

import faulthandler
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

_MEMORY = Path("/sys/fs/cgroup")  # cgroup v2, as a container sees its own
_FRAMES = 3
_HINTS = {
    signal.SIGILL: "a package was built for a newer processor",
    signal.SIGSEGV: "a native library of the model crashed",
    signal.SIGABRT: "a native library of the model gave up",
    signal.SIGBUS: "a file or a shared memory segment is smaller than it claims: is a volume full?",
}


def record_crashes(scratch: Path) -> None:
    """In the model process: where Python stood when a signal ends it is written to a file of its own."""
    # The file stays open for as long as the process lives: the handler writes to its descriptor.
    faulthandler.enable(_crash_file(scratch, os.getpid()).open("w"), all_threads=False)


@dataclass
class LastWords:
    """Of one process, as the server keeps them. `reported` is the process's own sentence."""

    scratch: Path
    reported: str = ""
    _kills: int = field(default_factory=lambda: _out_of_memory())

    def of(self, pid: int, exit_code: int) -> str:
        """One sentence: the process's own, or what its exit shows."""
        if self.reported:
            return self.reported
        if exit_code >= 0:
            return f"the model's process ended itself with exit code {exit_code}{self._place(pid)}"
        name = signal.Signals(-exit_code).name if -exit_code in {*signal.Signals} else f"signal {-exit_code}"
        if exit_code == -signal.SIGKILL and _out_of_memory() > self._kills:
            return f"the kernel killed the model's process: out of memory{_limit()}"
        hint = _HINTS.get(signal.Signals(-exit_code)) if -exit_code in {*signal.Signals} else None
        return f"the model's process was ended by {name}" + (f": {hint}" if hint else "") + self._place(pid)

    def _place(self, pid: int) -> str:
        """The innermost frames that faulthandler has left."""
        try:
            lines = _crash_file(self.scratch, pid).read_text().splitlines()
        except OSError:
            return ""
        frames = [line.strip() for line in lines if line.startswith("  File ")][:_FRAMES]
        return f" at {'; '.join(frames)}" if frames else ""


def _crash_file(scratch: Path, pid: int) -> Path:
    return scratch / f"crash-{pid}"


def _out_of_memory() -> int:
    """How often the kernel has killed a process of this container for its memory."""
    try:
        lines = (_MEMORY / "memory.events").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _limit() -> str:
    try:
        limit = (_MEMORY / "memory.max").read_text().strip()
    except OSError:
        return ""
    return f" (limit {int(limit) / 2**20:.0f} MiB)" if limit.isdecimal() else ""
