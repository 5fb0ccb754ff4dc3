"""Every error that a person can meet, and the exit code each one ends with.

    PromoterError                 1   unexpected
    ├── UsageError                2   the command line or a value on it
    │   ├── NotHereError          2   no promoter.yaml here
    │   └── ConfigError           2   promoter.yaml, an Application manifest or an overlay; carries file, line and key
    ├── AuthError                 3   authentication or permission
    ├── UnreachableError          4   an outside system did not answer, or answered that it can't now
    │   └── UnexpectedAnswerError 4   it answered, with something that it never answers
    ├── RefusedError             20   a gate, a quarantine or the state of things forbids it
    │   └── GatesError           20   gates refuse a version; carries what every gate decided
    └── SupersededError          21   somebody else's newer release is deployed instead of ours

A message is what happened and where; `hint` is what to do next. Secrets are taken out of both here, so that no caller
can forget it.
"""

from __future__ import annotations

from enum import IntEnum

from promoter.errors.redaction import redact
from promoter.errors.redaction import without_credentials as without_credentials


class ExitCode(IntEnum):
    """What the process ends with: an interface, kept stable (README has the same table)."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    AUTH = 3
    UNREACHABLE = 4
    RESTORED = 10
    NOT_RESTORED = 11
    NEEDS_PERSON = 12
    TIMED_OUT = 13
    REFUSED = 20
    SUPERSEDED = 21
    CLOSED_UNMERGED = 22
    DISAGREE = 30


class PromoterError(Exception):
    """The base of all: `message` (what and where), `hint` (what to do next), `exit_code`."""

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = redact(message)
        self.hint = redact(hint)
        super().__init__(self.message)


class UsageError(PromoterError):
    """Something on the command line can't be meant as it stands."""

    exit_code = ExitCode.USAGE


class NotHereError(UsageError):
    """No promoter.yaml is in this folder or above it."""


class ConfigError(UsageError):
    """A file people edit contains something that can't be used: the message opens with `file:line: key:`."""

    def __init__(self, message: str, *, file: str, line: int | None = None, key: str = "", hint: str = "") -> None:
        self.file, self.line, self.key = file, line, key
        place = file if line is None else f"{file}:{line}"
        super().__init__(": ".join(part for part in (place, key, message) if part), hint=hint)


class AuthError(PromoterError):
    """An outside system does not know us, or does not let us."""

    exit_code = ExitCode.AUTH


class UnreachableError(PromoterError):
    """An outside system did not answer in time, or reported that it can't now; running again may succeed."""

    exit_code = ExitCode.UNREACHABLE


class UnexpectedAnswerError(UnreachableError):
    """What answered is damaged, something else, or not about what was asked: nothing is concluded from it."""


class RefusedError(PromoterError):
    """What was asked is understood and possible, and must not be done; nothing was written."""

    exit_code = ExitCode.REFUSED


class GatesError(RefusedError):
    """Gates refuse a version: `rulings` is what each of them decided, those that let it pass as well."""

    def __init__(self, message: str, *, hint: str, rulings: tuple[object, ...]) -> None:
        self.rulings = rulings
        super().__init__(message, hint=hint)


class LinkError(RefusedError):
    """A path in Git is, or leads through, the symbolic link `link`, the text of which is the blob `id`: `target`, once read."""

    def __init__(self, message: str, *, hint: str, link: str, id: str, target: str = "") -> None:
        self.link, self.id, self.target = link, id, target
        super().__init__(message, hint=hint)


class SupersededError(PromoterError):
    """Another release took the place that this one was planned for."""

    exit_code = ExitCode.SUPERSEDED
