"""The expressions of GitHub Actions and Azure Pipelines, as far as the files here use them: `${{ ... }}`, `if:`, `condition:`.

Both know property access, strings, numbers and functions, and compare text without regard to case; GitHub has operators as well,
of which `&&` and `||` give an operand. What is not there is null, and so is what it would have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+)|(?P<name>[A-Za-z_][\w-]*)|(?P<sign>&&|\|\||==|!=|[!().,\[\]]))"
)
_INSERTED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)

Context = Mapping[str, Any]


def evaluate(expression: str, context: Context) -> Any:
    """The value of an expression without its `${{ }}`."""
    parser = _Parser(_tokens(expression), context)
    value = parser.either()
    assert parser.at == len(parser.tokens), f"{expression!r} goes on behind its end"
    return value


def insert(value: Any, context: Context) -> Any:
    """Text with its expressions evaluated; one that is all of the text keeps its type. Lists and mappings all the way down."""
    if isinstance(value, Mapping):
        return {key: insert(child, context) for key, child in value.items()}
    if isinstance(value, list):
        return [insert(child, context) for child in value]
    if not isinstance(value, str):
        return value
    if whole := re.fullmatch(r"\$\{\{((?:(?!\}\}).)*)\}\}", value.strip(), re.DOTALL):
        return evaluate(whole[1], context)
    return _INSERTED.sub(lambda found: text(evaluate(found[1], context)), value)


def text(value: Any) -> str:
    """A value inside of text."""
    assert not isinstance(value, (list, Mapping)), f"{value!r} is no text"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, place = [], 0
    while place < len(expression.rstrip()):
        match = _TOKEN.match(expression, place)
        assert match, f"{expression!r} can't be read from {place}"
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        place = match.end()
    return found


def _equal(left: Any, right: Any) -> bool:
    return text(left).lower() == text(right).lower()


def _format(pattern: str, *values: Any) -> str:
    return re.sub(r"\{(\d+)\}", lambda found: text(values[int(found[1])]), pattern)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "format": _format,
    "fromjson": json.loads,
    "success": lambda: True,
    "succeeded": lambda: True,
    "succeededorfailed": lambda: True,
    "cancelled": lambda: False,
    "canceled": lambda: False,
    "and": lambda *all_of: all(all_of),
    "not": lambda value: not value,
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "in": lambda value, *others: any(_equal(value, other) for other in others),
    "notin": lambda value, *others: not any(_equal(value, other) for other in others),
    "iif": lambda condition, left, right: left if condition else right,
    "trim": lambda value: text(value).strip(),
    "lower": lambda value: text(value).lower(),
}


@dataclass
class _Parser:
    tokens: list[tuple[str, str]]
    context: Context
    at: int = field(default=0)

    def either(self) -> Any:
        value = self._both()
        while self._take("||"):
            other = self._both()
            value = value or other
        return value

    def _both(self) -> Any:
        value = self._comparison()
        while self._take("&&"):
            other = self._comparison()
            value = value and other
        return value

    def _comparison(self) -> Any:
        value = self._single()
        if self._take("=="):
            return _equal(value, self._single())
        if self._take("!="):
            return not _equal(value, self._single())
        return value

    def _single(self) -> Any:
        if self._take("!"):
            return not self._single()
        if self._take("("):
            value = self.either()
            assert self._take(")")
            return value
        kind, word = self.tokens[self.at]
        self.at += 1
        if kind == "text":
            return word[1:-1].replace("''", "'")
        if kind == "number":
            return int(word)
        assert kind == "name", word
        if self._take("("):
            return FUNCTIONS[word.lower()](*self._arguments())
        if word in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[word]
        assert word in self.context, f"there is no context {word!r} here"
        return self._inside(self.context[word])

    def _arguments(self) -> list[Any]:
        values: list[Any] = []
        while not self._take(")"):
            values.append(self.either())
            self._take(",")
        return values

    def _inside(self, value: Any) -> Any:
        while True:
            if self._take("."):
                key = self.tokens[self.at][1]
                self.at += 1
            elif self._take("["):
                key = self.either()
                assert self._take("]")
            else:
                return value
            value = value.get(key) if isinstance(value, Mapping) else None

    def _take(self, sign: str) -> bool:
        taken = self.at < len(self.tokens) and self.tokens[self.at] == ("sign", sign)
        self.at += taken
        return taken
