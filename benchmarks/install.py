"""What a pipeline installs: its size by extras, as .ci/install makes it, and `pip install` of the wheel from a warm cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, Section

_ROOT = Path(__file__).parent.parent
_EVERY = "azure github-app mlflow runtime"
_CHOICES = {"": "no extra", "azure github-app": "azure, github-app", "runtime": "runtime", _EVERY: "all four"}


def measure() -> Section:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = {extras: _installed(folder / f"to{number}", extras) for number, extras in enumerate(_CHOICES)}
        seconds = _by_pip(folder)
    rows = [(f".ci/install, {_CHOICES[extras]}", f"{size[extras]:.0f} MB") for extras in _CHOICES]
    return Section(
        title="Installation (what is on the disk, and pip from a warm cache)",
        rows=(*rows, ("pip install of the wheel", f"{seconds:.1f} s")),
        figures=(
            Figure("what a pipeline installs", size[""], at_most=60, unit="MB"),
            Figure("with Azure's registry and a GitHub App", size["azure github-app"], at_most=60, unit="MB"),
            Figure("pip install of the wheel", seconds, at_most=15, unit="s"),
        ),
    )


def _installed(folder: Path, extras: str) -> float:
    """Megabytes."""
    environ = {**os.environ, "EXTRAS": extras}
    subprocess.run([str(_ROOT / ".ci/install"), str(folder), sys.executable], env=environ, check=True, capture_output=True)
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


def _by_pip(folder: Path) -> float:
    """Seconds, of the second of two: the first fills pip's cache."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    seconds = 0.0
    for number in range(2):
        subprocess.run([sys.executable, "-m", "venv", str(folder / f"venv{number}")], check=True)
        started = time.perf_counter()
        subprocess.run(
            [str(folder / f"venv{number}/bin/python"), "-m", "pip", "install", "--quiet", str(wheel)],
            check=True,
            capture_output=True,
        )
        seconds = time.perf_counter() - started
    return seconds
