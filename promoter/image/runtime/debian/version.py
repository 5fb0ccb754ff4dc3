"""Versions of Debian packages: their order, as deb-version(7) defines it, and whether one is in a relation to another."""

from __future__ import annotations

import operator
import re
from functools import lru_cache

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_VALID = re.compile(r"[A-Za-z0-9.+:~-]+")
_Part = tuple[tuple[int, ...], int]
_NOTHING: _Part = ((0,), 0)

_MEANINGS = {"<<": operator.lt, "<=": operator.le, "=": operator.eq, ">=": operator.ge, ">>": operator.gt}
OPERATORS = tuple(_MEANINGS)


@lru_cache(maxsize=4096)
def order(version: str) -> tuple[int, tuple[_Part, ...], tuple[_Part, ...]]:
    """What versions are sorted by: epoch, upstream version, revision.

    Raises:
        ValueError: it is not a version.
    """
    if not _VALID.fullmatch(version):
        raise ValueError(f"{version!r} is not a version")
    epoch, colon, rest = version.partition(":")
    if colon and not epoch.isdecimal():
        raise ValueError(f"{version!r} is not a version")
    upstream, hyphen, revision = (rest if colon else version).rpartition("-")
    return int(epoch) if colon else 0, _parts(upstream if hyphen else revision), _parts(revision if hyphen else "")


def meets(version: str, relation: str, wanted: str) -> bool:
    """Whether the version is in this relation, one of OPERATORS, to the wanted one; raises as `order`."""
    return bool(_MEANINGS[relation](order(version), order(wanted)))


def _parts(text: str) -> tuple[_Part, ...]:
    """Pairs of a text without digits and a number. What is missing counts as nothing and 0: 1 is 1-0, and newer than 1~."""
    pairs = [((*map(_rank, letters), 0), int(digits or 0)) for letters, digits in _PARTS.findall(text)]
    while pairs and pairs[-1] == _NOTHING:
        pairs.pop()
    return (*pairs, _NOTHING)


def _rank(character: str) -> int:
    """A tilde sorts before the end of a part, letters after it, all else after letters."""
    if character == "~":
        return -1
    return ord(character) + (0 if character.isalpha() else 256)
