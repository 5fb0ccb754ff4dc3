"""Processes that a test's processes have started."""

from __future__ import annotations

import subprocess


def has_ended(pid: int) -> bool:
    """Whether it runs no more; one that nobody has waited for yet is a zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip() == "" or state.startswith("Z")
