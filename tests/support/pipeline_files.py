"""The CI files of this repository, and what a script of theirs left behind when it was run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


def load(path: str) -> Any:
    """A YAML file of this repository. YAML 1.2, as both systems read it: `on` is a word."""
    return YAML(typ="safe", pure=True).load((ROOT / path).read_text())


@dataclass(frozen=True)
class Ran:
    """A script that was run."""

    name: str
    returncode: int
    stdout: str
    stderr: str

    @property
    def log(self) -> str:
        return self.stdout + self.stderr


def machine() -> dict[str, str]:
    """What a hosted machine has in a script's environment, of this one's."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME") if name in os.environ}


def run_script(name: str, script: str, options: list[str], environ: Mapping[str, str], folder: Path, cwd: Path) -> Ran:
    """A script as a runner starts it: from a file, with bash."""
    file = folder / "script.sh"
    file.write_text(script)
    command = ["bash", "--noprofile", "--norc", *options, str(file)]
    done = subprocess.run(command, env=environ, cwd=cwd, capture_output=True, text=True, check=False)
    return Ran(name, done.returncode, done.stdout, done.stderr)


def stand_in(folder: Path) -> None:
    """What .ci/install would put into `folder`: a promoter that runs from this checkout."""
    program = folder / "bin" / "promoter"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m promoter "$@"\n')
    program.chmod(0o755)
