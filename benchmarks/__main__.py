"""`make bench`: every measurement, written to docs/benchmarks.md with machine and versions; one table to docs/serving.md.

`python -m benchmarks append` measures that one alone, and writes nothing.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import (
    append,
    contention,
    edit,
    fleet,
    history,
    huge_repository,
    install,
    many_files,
    models,
    promotion,
    records,
    resolve,
    runtime,
    serving,
    startup,
    trace,
    webhook,
)
from benchmarks.figures import Section

_MODULES = {
    "startup": startup,
    "install": install,
    "edit": edit,
    "resolve": resolve,
    "files": many_files,
    "trace": trace,
    "promotion": promotion,
    "append": append,
    "runtime": runtime,
    "serving": serving,
    "models": models,
    "webhook": webhook,
    "contention": contention,
    "huge": huge_repository,
    "history": history,
    "records": records,
    "fleet": fleet,
}

_PACKAGES = ("model-promoter", "typer", "ruamel.yaml", "gitpython", "requests", "mlflow", "mlflow-skinny")
_PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main(names: Sequence[str]) -> None:
    """All of them, for the page; or those that are named, only to be looked at."""
    sections = {}
    for name in names or _MODULES:
        print(f"measuring: {name}", file=sys.stderr)
        sections[name] = _MODULES[name].measure()
    for section in sections.values():
        print(section.markdown())
    if not names:
        _PAGE.write_text(_page(list(sections.values())))
        models.write(sections["models"].notes[0])
        print(f"{_PAGE.name} and {models.PAGE.name} are written", file=sys.stderr)
    missed = [figure.name for section in sections.values() for figure in section.figures if not figure.met]
    print(f"bars not met: {', '.join(missed) or 'none'}", file=sys.stderr)


def _page(sections: list[Section]) -> str:
    head = f"""# Benchmarks

Ratios of one run; absolute times are this machine's and say little by themselves. Repeat with `make bench`.

Measured {datetime.now(UTC):%Y-%m-%d} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_processor()},
Python {platform.python_version()}, {_git()}; {", ".join(f"{name} {version(name)}" for name in _PACKAGES)}.

"""
    return head + "\n".join(section.markdown() for section in sections)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _git() -> str:
    return subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1:])
