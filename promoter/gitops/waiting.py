"""What a git process waits for: the programs that it started and that have not ended (GIT_TRACE2_EVENT, git's api-trace2)."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path, PurePath

TRACE = "GIT_TRACE2_EVENT"
"""The variable that names the file of the trace."""

_ASKED = ("get", "store", "erase")  # the last word of a credential helper's arguments (gitcredentials(7))
_DEEPEST = 30  # before 2.38, git fetches an object that it needs to fetch objects
_NAME = re.compile(r"(?:git[ -]credential-)?([\w./~+-]+)")


class Waiting:
    """Reads the trace of one git process and of the git processes below it; `answer` is how long one may wait for a person."""

    def __init__(self, trace: str, answer: float) -> None:
        self._trace, self._answer = trace, answer
        self._since: dict[str, float] = {}

    def too_long(self) -> bool:
        """Whether a program that may be asking a person has not answered for too long, or git starts itself without end."""
        now, started = time.monotonic(), self._started()
        if len(started) > _DEEPEST:
            return True
        self._since = {key: self._since.get(key, now) for key, command in started.items() if _may_ask(command)}
        return any(now - since > self._answer for since in self._since.values())

    def complaint(self, subcommand: str, seconds: float) -> str:
        """Who did not answer, in the words of git's own errors."""
        started = list(self._started().values())
        if len(started) > _DEEPEST:
            return f"error: git {subcommand} starts itself without end"
        if asked := next((command for command in reversed(started) if _may_ask(command)), None):
            if _signs(asked):
                return f"error: {_name(asked)} failed to sign the data: it did not answer in {self._answer:.0f} s"
            return f"fatal: the credential helper {_name(asked)} did not answer in {self._answer:.0f} s"
        last = f" (it was waiting for {_name(started[-1])})" if started else ""
        return f"fatal: operation timed out: git {subcommand} did not end in {seconds:.0f} s{last}"

    def _started(self) -> dict[str, list[str]]:
        """The commands that have not ended, by the process that waits and its number for them, in the order of their starts."""
        found: dict[str, list[str]] = {}
        for line in Path(self._trace).read_text(errors="replace").splitlines() if self._trace else ():
            try:
                event = json.loads(line)
                key = f"{event['sid']} {event.get('child_id')}"
                if event["event"] == "child_start":
                    found[key] = [str(word) for word in event["argv"]]
                elif event["event"] == "child_exit":
                    found.pop(key, None)
            except (ValueError, TypeError, LookupError):
                continue  # the line is still being written
        return found


def _may_ask(command: list[str]) -> bool:
    return " ".join(command).endswith(tuple(f" {word}" for word in _ASKED)) or _signs(command)


def _signs(command: list[str]) -> bool:
    """Whether it is gpg, gpgsm or ssh-keygen, called to sign."""
    return any(word.startswith("--status-fd") for word in command) or command[1:3] == ["-Y", "sign"]


def _name(command: list[str]) -> str:
    """The program's name alone: a helper's text may have a secret in it."""
    found = _NAME.match(command[0] if command else "")
    return PurePath(found[1]).name if found else "a command of the configuration"
