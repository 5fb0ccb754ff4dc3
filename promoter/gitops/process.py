"""One git process at a time: GitPython starts it in an exact environment, and its failure comes back classified."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from promoter.errors import UsageError
from promoter.gitops.failures import GitError

Settings = Iterable[tuple[str, str]]

OLDEST_GIT = (2, 30)
_INSTALL = f"install git {'.'.join(map(str, OLDEST_GIT))} or newer and put it on PATH"


class Git:
    """Runs git commands in one bare repository at `directory`, with `environ` as the whole environment."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory, self._environ = directory, dict(environ)

    def run(self, *arguments: str, stdin: bytes = b"", settings: Settings = ()) -> bytes:
        """What the command wrote to its standard output; `settings` are configuration for this command alone.

        Raises:
            GitError: git ended with another status than 0.
            UsageError: git is not installed.
        """
        status, out, err = self._execute(arguments, stdin, settings)
        if status != 0:
            raise GitError(arguments[0], status, out.decode(errors="replace"), err)
        return out

    def text(self, *arguments: str) -> str:
        """The standard output as one line of text. Raises as `run` does."""
        return self.run(*arguments).decode("utf-8", "surrogateescape").strip()

    def succeeds(self, *arguments: str) -> bool:
        """Whether the command ends with status 0. Raises UsageError if git is not installed."""
        return self._execute(arguments, b"", ())[0] == 0

    def require_version(self) -> None:
        """Raises UsageError when git is missing or older than `OLDEST_GIT`."""
        version = self.text("version")
        numbers = version.removeprefix("git version ").split(".")[:2]
        if not all(number.isdigit() for number in numbers) or tuple(map(int, numbers)) < OLDEST_GIT:
            raise UsageError(f"{version} is too old", hint=_INSTALL)

    def _execute(self, arguments: tuple[str, ...], stdin: bytes, settings: Settings) -> tuple[int, bytes, str]:
        try:
            from git.cmd import Git as GitPython  # GitPython looks for git when it is imported
            from git.exc import GitCommandNotFound
        except ImportError:
            raise UsageError("git can't be found", hint=_INSTALL) from None
        environ = {**with_settings(self._environ, settings), "GIT_DIR": str(self._directory)}
        with tempfile.TemporaryFile() as source:
            source.write(stdin)
            source.seek(0)
            try:
                status, out, err = GitPython().execute(
                    [*_without_inherited(environ), "git", *arguments],
                    istream=source,
                    env=environ,
                    with_extended_output=True,
                    with_exceptions=False,
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                )
            except GitCommandNotFound:
                raise UsageError("git can't be found", hint=_INSTALL) from None
        return status, out, err


def with_settings(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The environment with configuration added to it (GIT_CONFIG_COUNT, git-config(1)): nothing reaches arguments or files."""
    result = dict(environ)
    text = result.get("GIT_CONFIG_COUNT", "")
    count = int(text) if text.isdigit() else 0
    for key, value in settings:
        result[f"GIT_CONFIG_KEY_{count}"], result[f"GIT_CONFIG_VALUE_{count}"] = key, value
        count += 1
    result["GIT_CONFIG_COUNT"] = str(count)
    return result


def _without_inherited(environ: Mapping[str, str]) -> list[str]:
    """The words before `git` that take out what GitPython would hand down from os.environ (GIT_INDEX_FILE in a hook)."""
    unwanted = [name for name in os.environ if name not in environ]
    return ["env", *(word for name in unwanted for word in ("-u", name))] if unwanted else []
