"""What this run has got done: its last line on stdout, and the commands that continue it, are made from that."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promoter.errors import ExitCode

if TYPE_CHECKING:
    from promoter.config import Config
    from promoter.models import Environment

_AGAIN = frozenset({ExitCode.UNEXPECTED, ExitCode.UNREACHABLE})
_UNFINISHED = frozenset({ExitCode.NOT_RESTORED, ExitCode.NEEDS_PERSON, ExitCode.TIMED_OUT})


@dataclass
class Run:
    """One for the process. `commit` is known as soon as it is at the remote; `options` choose the same environment again.

    `folder` is the one of -C.
    """

    environment: str = ""
    commit: str = ""
    folder: str = ""
    options: tuple[str, ...] = ()

    def follows(self, config: Config, environment: Environment, commit: str, file: Path | None) -> None:
        """From now on the release of this commit is what the run is about; `file` is the promoter.yaml that was named."""
        ambiguous = sum(one.name == environment.name for one in config.environments.named) > 1
        model = ("--model", environment.model.name) if ambiguous else ()
        self.environment, self.commit = environment.name, commit
        self.options = (*model, *(("--config", str(file)) if file else ()))

    @property
    def watch(self) -> str:
        """The command that goes on watching."""
        return self._command("watch", self.environment, "--commit", self.commit)

    @property
    def rollback(self) -> str:
        """The command that goes back to the release before."""
        return self._command("rollback", self.environment)

    def resume(self, exit_code: int) -> str | None:
        """The command that continues after this end, None if nothing is left to do, or the same would end the same."""
        if self.commit:
            return self.watch
        return shlex.join(["promoter", *sys.argv[1:]]) if exit_code in _AGAIN or exit_code > 128 else None

    def hints(self, exit_code: int) -> list[str]:
        """The next commands, as a person reads them."""
        if self.commit:
            return [f"watch it to its end: {self.watch}", f"or go back to the release before: {self.rollback}"]
        command = self.resume(exit_code) if exit_code > 128 else None
        return [f"run it again: {command}"] if command else []

    def next(self, exit_code: ExitCode) -> list[str]:
        """What a person at a terminal looks at next, once nothing is left to do."""
        stands = f"see how it stands: {self._command('status', self.environment)}"
        if exit_code is ExitCode.DONE:
            return [stands, f"or go back to the release before: {self.rollback}"]
        if exit_code is ExitCode.RESTORED:
            return [f"see what failed: {self._command('history', self.environment, self.commit[:12])}", stands]
        return [stands]

    def _command(self, *words: str) -> str:
        folder = ["-C", self.folder] if self.folder else []
        return shlex.join(["promoter", *folder, *words, *self.options])


RUN = Run()


def unfinished(exit_code: ExitCode) -> bool:
    """A release that was watched ended so that somebody has to decide what is next."""
    return exit_code in _UNFINISHED


def asked_for_json() -> bool:
    """Whether the command line wants JSON, also where it can't be parsed."""
    joined = " ".join(sys.argv[1:])
    return bool(re.search(r"(?:^| )(?:-[a-zA-Z]*o[ =]?|--output[ =])json(?: |$)", joined))
