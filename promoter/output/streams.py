"""stdout and stderr as they may be: closed, full, gone, or in an encoding without →. Writing to them never ends a command."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO, cast

from promoter.errors.redaction import redact

_PLAIN = {"→": "->", "…": "...", "✓": "+", "✗": "x", "❌": "x", "✅": "+", "\N{NO-BREAK SPACE}": " "}
_ERRORS = "promoter-plain"


def guard() -> None:
    """Makes stdout and stderr take everything that is written to them, less the secrets; stdin is there, if only empty."""
    codecs.register_error(_ERRORS, _plain)
    closed = [number for number in range(3) if _is_closed(number)]
    for number in closed:
        _nothing(number)  # else the next file that is opened would be stdout
    if sys.stdin is None or 0 in closed:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - for the whole process
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def lost() -> OSError | None:
    """Why some of what was written to stdout has not arrived."""
    return cast("OSError | None", getattr(sys.stdout, "lost", None))


def takes_unicode(stream: TextIO | None = None) -> bool:
    """Whether the stream, by default stdout, has a code for every character."""
    return codecs.lookup(getattr(stream or sys.stdout, "encoding", None) or "utf-8").name.startswith("utf")


class _Lasting:
    """A text stream that drops what can't be written. `lost` is the first reason."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._lose(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """From now on everything goes nowhere, also what is still in the stream's buffer: Python flushes it when it ends."""
        self.lost = self.lost or error
        with suppress(OSError):
            _nothing(self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _guarded(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        stream = open(number, "w", closefd=False, encoding="utf-8")  # noqa: SIM115 - for the whole process
    with suppress(AttributeError):  # a test's stream may have none
        cast("Any", stream).reconfigure(errors=_ERRORS)
    with suppress(OSError, ValueError):
        os.set_blocking(stream.fileno(), True)  # a full pipe is waited for, as everybody else does
    return redact.guard(cast("TextIO", _Lasting(stream)))


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _nothing(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(null, number)
        os.close(null)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Signs as plain text, other characters as JSON escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    chars = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or json.dumps(char)[1:-1] for char in chars), error.end
