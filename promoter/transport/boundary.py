"""The boundary of a client: whatever its reader raises about a server's answer becomes one error that names the server."""

from __future__ import annotations

import functools
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from promoter.errors import UnexpectedAnswerError

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that is read as a whole, unpacked. A stream's reader has a limit of its own."""

MOST_VALUES = 500_000
"""Values in an answer that is read as a whole: a few bytes of JSON each, some fifty times as many as objects of Python."""

OPENING = (b",", b"[", b"{")
"""Each value in JSON but the first stands behind one of these."""

# One of them, or a whole string, in which they open nothing. One without an end reaches to the end, and is looked at once.
_TOKEN = re.compile(rb"[,\[{]|\"(?:[^\"\\]|\\.?)*+\"?", re.DOTALL)

ODD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What code raises that reads an answer of another form than it expects."""

_LONGEST_NUMBER = 18  # digits
_SHOWN = 200
C = TypeVar("C")


class Server(Protocol):
    """Who is asked: its `name`, and the address that it answered at last."""

    @property
    def name(self) -> str: ...

    @property
    def answered(self) -> str: ...


def whole_number(text: str) -> int | None:
    """A number in a text from outside; None for anything but a few ASCII digits.

    `str.isdigit` is true for superscripts, and `int` refuses these, and what has thousands of digits.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


FLEET = 8
"""So many times as large an answer may be that lists what a whole fleet has: 10,000 Applications have 15 MB."""


def has_too_many_values(text: bytes | bytearray, most: int = MOST_VALUES) -> bool:
    """Whether JSON of this text has more values, once its strings are left out."""
    values = (one for one in _TOKEN.finditer(text) if text[one.start()] != ord('"'))
    return next(itertools.islice(values, most, None), None) is not None


def unlike(name: str, where: str, what: str) -> UnexpectedAnswerError:
    """The error for an answer that `name` does not give: another program's, a damaged one, or one made to do harm."""
    return UnexpectedAnswerError(
        f"{where} answered unlike {name}: {what}",
        hint=f"check that {name} is what answers there, and what stands in front of it",
    )


def odd(server: Server, error: Exception) -> UnexpectedAnswerError:
    """The error for an answer of this server whose reader raised one of ODD."""
    kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
    return unlike(server.name, server.answered, f"{kind}{error}"[:_SHOWN])


@contextmanager
def reading(server: Server) -> Iterator[None]:
    """An answer of this server is read here.

    Raises:
        UnexpectedAnswerError: instead of what the reader raises.
    """
    try:
        yield
    except ODD as error:
        raise odd(server, error) from error


def odd_answers_are_errors(client: type[C]) -> type[C]:
    """Decorates a class that speaks to the server `_http`: its public methods raise as `reading` does."""
    for name, method in list(vars(client).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(client, name, _bounded(method))
    return client


def _bounded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def bounded(self: Any, *arguments: Any, **named: Any) -> Any:
        with reading(self._http):
            return method(self, *arguments, **named)

    @functools.wraps(method)
    def generating(self: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
        with reading(self._http):
            yield from method(self, *arguments, **named)

    return generating if inspect.isgeneratorfunction(method) else bounded
