"""One git process at a time: GitPython starts it in an exact environment, and its failure comes back classified."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from subprocess import PIPE, Popen
from typing import cast

from promoter.errors import UsageError
from promoter.gitops.failures import GitError
from promoter.gitops.waiting import TRACE, Waiting
from promoter.machine import process, resources, verbose
from promoter.machine.folders import remove_left
from promoter.transport.boundary import whole_number

Settings = Iterable[tuple[str, str]]

OLDEST_GIT = (2, 31)  # settings are handed over by GIT_CONFIG_COUNT, which 2.30 does not know
_INSTALL = f"install git {'.'.join(map(str, OLDEST_GIT))} or newer and put it on PATH"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: `command` for a git process, `answer` for whoever it asks, a credential helper or a program that signs.

    `person`: in place of `answer` where they may ask a person.
    """

    command: float = 600.0
    answer: float = 60.0
    person: float = 300.0


LIMITS = Limits()

PROMPT = "GIT_TERMINAL_PROMPT"
"""The variable with which git may ask a person at the terminal, which it needs to share for that; "0" forbids it."""

_ENV = "/usr/bin/env"  # where every Linux and macOS has it: the PATH may hold git alone


class Git:
    """Runs git commands in one bare repository at `directory`, with `environ` as the whole environment."""

    def __init__(self, directory: Path, environ: Mapping[str, str], limits: Limits = LIMITS) -> None:
        self._directory, self._environ, self._limits = directory, dict(environ), limits

    def run(
        self, *arguments: str, stdin: bytes = b"", settings: Settings = (), environ: Mapping[str, str] | None = None
    ) -> bytes:
        """What the command wrote to its standard output; `settings` and `environ` are for this command alone.

        Raises:
            GitError: git ended with another status than 0.
            UsageError: git is not installed.
        """
        environ = self._environ if environ is None else environ
        status, out, err = self._execute(arguments, stdin, with_settings(environ, settings))
        if status != 0:
            raise GitError(arguments[0], status, out.decode(errors="replace"), err)
        return out

    def text(self, *arguments: str) -> str:
        """The standard output as one line of text. Raises as `run` does."""
        return self.run(*arguments).decode("utf-8", "surrogateescape").strip()

    def succeeds(self, *arguments: str) -> bool:
        """Whether the command ends with status 0. Raises UsageError if git is not installed."""
        return self._execute(arguments, b"", self._environ)[0] == 0

    def require_version(self) -> None:
        """Raises UsageError when git is missing or older than `OLDEST_GIT`."""
        version = self.text("version")
        numbers = version.removeprefix("git version ").split(".")[:2]
        if tuple(whole_number(number) or 0 for number in numbers) < OLDEST_GIT:
            raise UsageError(f"{version} is too old", hint=_INSTALL)

    def _execute(self, arguments: tuple[str, ...], stdin: bytes, environ: Mapping[str, str]) -> tuple[int, bytes, str]:
        with ExitStack() as stack:
            trace = _trace(stack)
            answer = self._limits.person if _may_ask(environ) else self._limits.answer
            waiting = cache(partial(Waiting, trace, answer))  # of interest after a second
            traced = {TRACE: trace} if trace else {}  # a file that the user named goes before
            try:
                started = _start(["git", *arguments], {**traced, **environ, "GIT_DIR": str(self._directory)})
                begun = time.monotonic()
                done = process.finish(started, stdin, self._limits.command, lambda: waiting().too_long())
                if verbose.VOLUME.level:
                    verbose.took(" ".join(("git", *arguments, f"exit {done.status}")), begun)
            except process.HungError:
                return -1, b"", waiting().complaint(arguments[0], self._limits.command)
            except FileNotFoundError:
                raise UsageError("git can't be found", hint=_INSTALL) from None
            except OSError as error:
                unusable = UsageError(f"git can't be started: {error.strerror}", hint=_INSTALL)
                raise (resources.explained(error) or unusable) from None
        return done.status, done.out, done.err.decode(errors="replace")


def _trace(stack: ExitStack) -> str:
    """A file for git's trace; empty where none can be written, and git runs without one."""
    remove_left()
    try:
        return stack.enter_context(tempfile.NamedTemporaryFile(prefix="promoter-git-")).name
    except OSError:
        return ""


def _start(command: list[str], environ: Mapping[str, str]) -> Popen[bytes]:
    """As process.run does, by GitPython, which would hand down os.environ (GIT_INDEX_FILE in a hook): `env -u` removes it."""
    try:
        from git.cmd import Git as GitPython  # GitPython looks for git when it is imported
        from git.exc import GitCommandNotFound
    except ImportError:
        raise FileNotFoundError from None
    if shutil.which("git", path=environ.get("PATH")) is None:
        raise FileNotFoundError  # env would start, and fail in its place
    words = [word for name in os.environ if name not in environ for word in ("-u", name)]
    try:
        started = GitPython(process.NEUTRAL).execute(
            [*([_ENV, *words] if words else []), *command],
            istream=PIPE,
            env=dict(environ),
            as_process=True,
            start_new_session=not _may_ask(environ),
        )
    except GitCommandNotFound:
        raise FileNotFoundError from None
    running = cast("Popen[bytes]", started.proc)
    started.proc = None  # or it would end the process with itself
    return running


def _may_ask(environ: Mapping[str, str]) -> bool:
    return environ.get(PROMPT) == "1"


def with_settings(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The environment with configuration added to it (GIT_CONFIG_COUNT, git-config(1)): nothing reaches arguments or files."""
    result = dict(environ)
    given = result.get("GIT_CONFIG_COUNT")
    count = whole_number(given) or 0 if given else 0
    for key, value in settings:
        result[f"GIT_CONFIG_KEY_{count}"], result[f"GIT_CONFIG_VALUE_{count}"] = key, value
        count += 1
    result["GIT_CONFIG_COUNT"] = str(count)
    return result
