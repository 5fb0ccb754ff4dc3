"""version: which promoter this is, and what it runs with."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from promoter import __version__
from promoter.kustomize.render import tool
from promoter.machine import process

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Versions:
    """Empty where there is none on PATH."""

    promoter: str
    python: str
    platform: str
    git: str
    kustomize: str


def versions() -> Versions:
    """Of this process, and of the programs that it would start."""
    builder = tool() or ()
    kustomize = _first_line(builder[0], "version") if builder[:1] and builder[1] == "build" else _of_kubectl(builder)
    return Versions(
        promoter=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        git=_first_line("git", "version").removeprefix("git version "),
        kustomize=kustomize,
    )


def _of_kubectl(builder: tuple[str, ...]) -> str:
    """`kubectl kustomize` is built from a version of its own."""
    if not builder:
        return ""
    found = _lines(builder[0], "version", "--client")
    return next((line.partition(": ")[2] + " (kubectl)" for line in found if line.startswith("Kustomize")), "kubectl")


def _first_line(*command: str) -> str:
    return next(iter(_lines(*command)), "")


def _lines(*command: str) -> list[str]:
    try:
        done = process.run(command, environ=process.needed(os.environ, ()), seconds=_SECONDS)
    except (OSError, process.HungError):
        return []
    return done.output.splitlines() if done.status == 0 else []
