"""A Python of another minor version than the one that runs the tests."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

_NEWEST = 14


def other_python() -> str:
    """Its program; the test is skipped where this machine has none."""
    for minor in range(_NEWEST, 10, -1):
        program = shutil.which(f"python3.{minor}")
        if program and minor != sys.version_info.minor and _works(program, minor):
            return program
    pytest.skip("no Python of another minor version is here (.ci/run unpacks Debian's python3.13 into .tools)")


def _works(program: str, minor: int) -> bool:
    """A version manager's stand-in may only say that it does not know which one is meant."""
    tell = "import hashlib, json, sys; print(sys.version_info.minor)"
    done = subprocess.run([program, "-I", "-c", tell], capture_output=True, text=True, check=False)
    return done.stdout.strip() == str(minor)
