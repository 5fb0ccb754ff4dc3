"""A whole `promote` of a version whose image is published, with a warm Git cache: seconds, by step, and peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, Section
from promoter.models import Step
from tests.support.mlflow_server import running
from tests.support.write_path import WritePath, seed

_ROUNDS = 9
_MODEL = "fraud-detector"
# VmHWM, since ru_maxrss survives exec(2): it would be that of the process which started this one, if that was larger.
_PROGRAM = """
import sys
from pathlib import Path
from promoter.cli import app
app(sys.argv[1:], standalone_mode=False)
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(peak, file=sys.stderr)
"""


def measure() -> Section:
    """Two published versions are promoted in turn: every promotion commits, and none publishes an image."""
    turns = ["1", "2"] * _ROUNDS
    with write_path() as path:
        for version in ("1", "2"):
            path.register()
            path.promote(f"{_MODEL}:{version}")
        done = [_in_process(path, version) for version in turns]
        commands = [_command(path, version) for version in turns]
    rows = {
        "in this process": statistics.median(seconds for seconds, _ in done),
        **_by_step([steps for _, steps in done]),
        "whole command": statistics.median(seconds for seconds, _ in commands),
    }
    return Section(
        title="Promotion of a published version, from its alias to the pushed commit (median)",
        rows=tuple((name, f"{seconds * 1000:.0f} ms") for name, seconds in rows.items()),
        figures=(
            Figure("peak memory of the whole command, without git's", max(mb for _, mb in commands), at_most=80, unit="MB"),
        ),
        notes=(
            "MLflow server, Git remote and images are on this machine; the overlay is not built: that time is kustomize's.",
        ),
    )


@contextmanager
def write_path() -> Iterator[WritePath]:
    """A write path of its own, with its cache and its Git identity."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as name:
        home, work, store = (Path(name, part) for part in ("home", "work", "mlflow"))
        for folder in (home, work, store):
            folder.mkdir()
        os.environ.update(HOME=str(home), XDG_CACHE_HOME=str(home / ".cache"))
        try:
            with running(store) as server:
                yield seed(work, server, _MODEL)
        finally:
            os.environ.clear()
            os.environ.update(before)


def _in_process(path: WritePath, version: str) -> tuple[float, Sequence[Step]]:
    started = time.perf_counter()
    outcome = path.promote(f"{_MODEL}:{version}")
    seconds = time.perf_counter() - started
    assert outcome.commit
    assert outcome.image.reused
    return seconds, outcome.steps


def _command(path: WritePath, version: str) -> tuple[float, float]:
    """Seconds and megabytes of a process that promotes."""
    arguments = path.command("promote", f"{_MODEL}:{version}", "--to", "staging", "--no-watch", "--no-render")[3:]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], env=path.environ, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - started, int(done.stderr.split()[-2]) * 1024 / 1e6


def _by_step(promotions: Sequence[Sequence[Step]]) -> dict[str, float]:
    names = [step.name for step in promotions[0]]
    return {
        f"its step {name}": statistics.median(steps[place].seconds for steps in promotions) for place, name in enumerate(names)
    }
