"""The part of a lock that some extras need, and the package itself: .ci/lock.py LOCK [EXTRA ...] prints it, with every hash.

uv writes below each package for whom it is there (`# via`): what nobody in the part needs is left out.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
ITSELF = "model-promoter"


def part(lock: str, project: str, extras: list[str]) -> str:
    """The entries of the lock, in its order.

    Raises:
        KeyError: an extra is unknown.
    """
    settings = tomllib.loads(project)
    optional = settings["project"]["optional-dependencies"]
    wanted = [*settings["project"]["dependencies"], *settings["dependency-groups"]["build"]]
    wanted += [one for extra in extras for one in optional[extra]]
    entries = {_name(entry): entry for entry in re.findall(r"(?m)^[\w.-]+==.*(?:\n[ ].*)*\n", lock)}
    needs = {_name(one) for one in wanted}
    while more := {name for name, entry in entries.items() if name not in needs and needs & _via(entry)}:
        needs |= more
    return "".join(entry for name, entry in entries.items() if name in needs)


def _name(requirement: str) -> str:
    """As PyPI normalizes it (https://packaging.python.org/specifications/name-normalization)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def _via(entry: str) -> set[str]:
    return {_name(name) for name in re.findall(r"#(?: via)? +([\w.-]+)", entry)} - {"via", ITSELF}


if __name__ == "__main__":
    try:
        print(part(Path(sys.argv[1]).read_text(), PROJECT.read_text(), sys.argv[2:]), end="")
    except KeyError as missing:
        sys.exit(
            f"error: promoter has no extra {missing}\nhint: name some of azure, github-app, mlflow, report, runtime and sign"
        )
