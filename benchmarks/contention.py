"""Many writers at once on one branch and one kustomization.yaml: on one machine, on many, and as pipelines do it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from benchmarks.figures import Figure, Section
from benchmarks.generated import generate
from benchmarks.writer import OVERLAY, files
from tests.support.git_server import BareRepository, isolated_environ

WRITERS = 32
ROUNDS = 3
_TEAMS, _COMMITS = 10, 1000  # of a thousand files each
_SEED = "One overlay for all models"


def measure(writers: int = WRITERS, rounds: int = ROUNDS) -> Section:
    """Seconds from the moment all processes have their imports until the last one has ended: the best of `rounds`, in turn."""
    kustomize = os.environ.get("CLUSTER_KUSTOMIZE") or shutil.which("kustomize")
    models = [f"m{n}" for n in range(writers)]
    alone = together = float("inf")
    peer, ends = float("inf"), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds):
            alone = min(alone, _promoters(folder / f"alone{number}", [models], writers)[0])
            together = min(together, _promoters(folder / f"together{number}", [[model] for model in models], writers)[0])
            if kustomize:
                peer, ends = min((peer, ends), _peers(folder / f"peers{number}", kustomize, writers), key=itemgetter(0))
        apart, tries = _promoters(folder / "apart", [[model] for model in models], writers, caches=True)
        rows = {
            f"one process, {writers} releases in a row": _seconds(alone),
            f"{writers} processes that share a cache (one machine)": _seconds(together),
            f"{writers} processes with empty caches of their own ({writers} machines)": (
                f"{_seconds(apart)}, {sum(tries)} pushes, {max(tries)} by the one that took most"
            ),
        }
        figures = [
            Figure(f"{writers} processes at once / one process in a row", together / alone, at_most=1.3),
            Figure("pushes a writer, each with a cache of its own", sum(tries) / writers, at_most=7, unit=""),
        ]
        if kustomize:
            said = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
            rows[f"{writers} pipelines: clone, kustomize edit, commit, pull --rebase, push"] = f"{_seconds(peer)}: {said}"
            figures.append(Figure("pipelines / promoters of one machine", peer / together, at_least=10))
    return Section(
        title=f"{writers} writers at once, one kustomization.yaml (best of rounds in turn, but for those with empty caches)",
        rows=tuple(rows.items()),
        figures=tuple(figures),
        notes=(
            f"The repository has {_TEAMS * 1000:,} other files and {_COMMITS:,} commits. That every commit of promoter",
            "landed is checked. Remote and writers are on this machine, so the time of many is that of its cores.",
            "A pipeline ends in a conflict when its rebase does, and gives up after 10 pushes.",
        ),
    )


def _promoters(folder: Path, writers: Sequence[Sequence[str]], models: int, *, caches: bool = False) -> tuple[float, list[int]]:
    """Seconds, and the pushes of each release; every release must have landed, and nothing else."""
    origin = _origin(folder, models)
    commands = [
        [sys.executable, "-m", "benchmarks.writer", origin.url, str(folder / (f"cache{n}" if caches else "cache")), *names]
        for n, names in enumerate(writers)
    ]
    seconds, outputs = _at_once(commands, origin.environ)
    landed = origin.git("log", "--format=%s", "main").splitlines()
    landed = landed[: landed.index(_SEED)]
    assert sorted(landed) == sorted(f"Promote m{n} version 2" for n in range(models)), outputs
    assert origin.show(f"{OVERLAY}/kustomization.yaml").count(b"newTag: v2\n") == models
    return seconds, [int(tries) for output in outputs for tries in output.split()]


def _peers(folder: Path, kustomize: str, writers: int) -> tuple[float, Counter[str]]:
    origin = _origin(folder, writers)
    commands = [[sys.executable, "-m", "benchmarks.peer", kustomize, origin.url, OVERLAY, f"m{n}"] for n in range(writers)]
    seconds, outputs = _at_once(commands, origin.environ)
    return seconds, Counter(output.split("\t")[0] for output in outputs)


def _origin(folder: Path, models: int) -> BareRepository:
    folder.mkdir()
    origin = BareRepository(folder / "origin.git", isolated_environ(folder / "server-home"))
    generate(origin.path, commits=_COMMITS, teams=_TEAMS)
    origin.commit(files(models), _SEED)
    return origin


def _at_once(commands: Sequence[Sequence[str]], environ: dict[str, str]) -> tuple[float, list[str]]:
    """Seconds from the start of all to the end of all, and what each one printed after `ready`."""
    environ = isolated_environ(Path(environ["HOME"])) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    started = time.perf_counter()
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in processes]
    seconds = time.perf_counter() - started
    assert all(process.returncode == 0 for process in processes)
    return seconds, outputs


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


if __name__ == "__main__":
    print(measure().markdown())
