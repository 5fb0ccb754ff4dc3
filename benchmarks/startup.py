"""Whole commands: `promoter --help`, `--version`, a completion, a bare Typer app with as many commands, and `mlflow --help`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Figure, Section
from promoter.cli import app

_RUNS = 15


def measure() -> Section:
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(_bare_app(len(app.registered_commands)))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "bare Typer --help": [sys.executable, str(bare), "--help"],
            "promoter --help": [str(scripts / "promoter"), "--help"],
            "promoter --version": [str(scripts / "promoter"), "--version"],
            "a completion among 1,000 environments": [
                str(scripts / "promoter"),
                "__complete",
                "bash",
                f"promoter -C {_environments(Path(folder))} status st",
            ],
        }
        seconds = _in_turn(commands, _RUNS)
        seconds |= _in_turn({"mlflow --help": [str(scripts / "mlflow"), "--help"]}, 3)
    return Section(
        title="Start-up (whole commands, median of runs in turn)",
        rows=tuple((name, f"{value * 1000:.0f} ms") for name, value in seconds.items()),
        figures=(
            Figure("promoter --help / bare Typer app", seconds["promoter --help"] / seconds["bare Typer --help"], at_most=1.5),
            Figure(
                "promoter --version / bare Typer app's --help",
                seconds["promoter --version"] / seconds["bare Typer --help"],
                at_most=1.5,
            ),
            Figure("a completion", seconds["a completion among 1,000 environments"] * 1000, at_most=150, unit="ms"),
            Figure("mlflow --help / promoter --help", seconds["mlflow --help"] / seconds["promoter --help"], at_least=8),
        ),
    )


def _environments(folder: Path) -> Path:
    """A folder whose promoter.yaml has a thousand."""
    lines = ["models:", "  churn: {image: r.example.com/churn}", "environments:"]
    for number in range(1000):
        lines += [f"- name: staging-{number}", "  model: churn", f"  application: environments/staging-{number}.yaml"]
    (folder / "promoter.yaml").write_text("\n".join(lines) + "\n")
    return folder


def _bare_app(commands: int) -> str:
    functions = "\n".join(
        f"@app.command()\ndef command{n}(name: str, flag: bool = False) -> None:\n    'Help.'\n" for n in range(commands)
    )
    return f"import typer\napp = typer.Typer(add_completion=False, pretty_exceptions_enable=False)\n{functions}\napp()\n"


def _in_turn(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, float]:
    """Median seconds of each; in turn, so that a slow moment of the machine meets all of them. The first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(runs + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if round_:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}
