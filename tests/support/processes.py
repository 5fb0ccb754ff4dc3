"""Processes that a test's processes have started."""

from __future__ import annotations

import subprocess
import time

_LOOKS = 100


def has_ended(pid: int) -> bool:
    """Whether it runs no more, or does so in a moment: a signal takes its time on a busy machine. A zombie has ended."""
    for _ in range(_LOOKS):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
        if state.strip() == "" or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False
