"""A fleet: commands about one model and about everything, 10 to 10,000 environments, servers that answer after 20 ms."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Section
from benchmarks.fleet_world import Fleet, Servers, fleet, servers
from promoter.commands.overview import MANY

SIZES = (10, 100, 1_000, 10_000)
_ROUNDS = 3  # of a plan; the others take long enough
_PLAN = ("plan", "model-00001@challenger", "--to", "staging")
_FIRST = "plan of one model, promoter.yaml not parsed before"
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "plan of one model": _PLAN,
    "reconcile, nothing to do": ("reconcile",),
    "status, all agree": ("status",),
    "changed, one commit later": ("changed",),
}
_WALL = {1_000: 10, 10_000: 60}
# VmHWM, as in `promotion`.
_PROGRAM = """
import sys
from pathlib import Path
from promoter.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    print(peak, file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of the whole command, with git's; MB of the process alone; requests to either server."""

    wall: float
    cpu: float
    peak: float
    mlflow: int
    argocd: int

    @property
    def text(self) -> str:
        return f"{self.cpu:.2f} s CPU, {self.wall:.1f} s, {self.peak:.0f} MB, {self.mlflow} + {self.argocd} requests"


def measure(sizes: Sequence[int] = SIZES) -> Section:
    found: dict[int, dict[str, Run]] = {}
    limits: dict[int, float] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            made = fleet(Path(name), size)
            with servers(made) as there:
                found[size], limits[size] = _measured(made, there), _curl(there)
    return _section(found, limits)


def _measured(made: Fleet, there: Servers) -> dict[str, Run]:
    _run(made, there, _PLAN)  # the cache of Git is there from now on, as in a receiver or on a machine that is kept
    runs = {}
    for folder in (made.folder / "home").rglob("parsed"):
        for file in folder.iterdir():
            file.unlink()
    runs[_FIRST] = _run(made, there, _PLAN)
    since = subprocess.run(["git", "-C", made.remote, "rev-parse", "main"], capture_output=True, text=True, check=True)
    for name, command in _COMMANDS.items():
        if command == ("status",) and made.size <= MANY:
            continue  # it looks at every workload, which the server does not have
        more = ("--since", since.stdout.strip()) if command == ("changed",) else ()
        tries = [_run(made, there, (*command, *more)) for _ in range(_ROUNDS if command == _PLAN else 1)]
        runs[name] = min(tries, key=lambda run: run.cpu)
        print(f"  {made.size} environments, {name}: {runs[name].text}", file=sys.stderr)
    return runs


def _run(made: Fleet, there: Servers, command: Sequence[str]) -> Run:
    environ = {**os.environ, **made.environ, "MLFLOW_TRACKING_URI": there.url}
    environ |= {"ARGOCD_SERVER": there.url, "ARGOCD_AUTH_TOKEN": "a-token"}
    there.counted()
    started = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *command, "--config", str(made.config)],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        errors.seek(0)
        said = errors.read().decode()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said[-2000:]}")
    peak = next(int(line.split()[1]) for line in said.splitlines() if line.startswith("VmHWM:"))
    counts = there.counted()
    return Run(wall, used.ru_utime + used.ru_stime, peak / 1024, counts.get("mlflow", 0), counts.get("argocd", 0))


def _curl(there: Servers) -> float:
    """Seconds to fetch the list of Applications, and nothing more."""
    started = time.perf_counter()
    subprocess.run(["curl", "--silent", "--fail", "--output", os.devnull, f"{there.url}/api/v1/applications"], check=True)
    return time.perf_counter() - started


# -- what it shows ----------------------------------------------------------------------------------------------------


def _section(found: Mapping[int, Mapping[str, Run]], limits: Mapping[int, float]) -> Section:
    names = (_FIRST, *_COMMANDS)
    rows = [(f"{name}, {of:,} environments", runs[name].text) for name in names for of, runs in found.items() if name in runs]
    rows += [(f"curl of the list of {size:,} Applications", f"{seconds:.2f} s") for size, seconds in limits.items()]
    return Section(
        title="A fleet (whole commands, servers that answer after 20 ms)",
        rows=tuple(rows),
        figures=tuple(_figures(found)),
        notes=(
            "CPU is that of the command with its git processes; requests are to MLflow and to Argo CD. All is on one machine.",
            "Production follows the version before each model's newest one. The registry's records are off (image.layout).",
            "`argocd app list` speaks gRPC, which the server here does not: what it takes is not measured.",
        ),
    )


def _figures(found: Mapping[int, Mapping[str, Run]]) -> Iterator[Figure]:
    smallest, largest = min(found), max(found)
    for name, bar in (("plan of one model", 1.2), (_FIRST, None)):
        ratio = found[largest][name].cpu / found[smallest][name].cpu
        yield Figure(f"CPU of {name}, {largest:,} / {smallest:,}", ratio, at_most=bar)
    for size in filter(_WALL.__contains__, found):
        for name in ("reconcile, nothing to do", "status, all agree"):
            run = found[size][name]
            yield Figure(f"{name}: CPU an environment, {size:,}", run.cpu / size * 1000, at_most=1, unit="ms")
            yield Figure(f"{name}: wall, {size:,}", run.wall, at_most=_WALL[size], unit="s")
            yield Figure(f"{name}: peak memory, {size:,}", run.peak, at_most=300, unit="MB")
            yield Figure(f"{name}: MLflow's requests for 50 environments, {size:,}", run.mlflow * 50 / size, at_most=1, unit="")
            yield Figure(f"{name}: Argo CD's requests, {size:,}", run.argocd, at_most=1, unit="")
