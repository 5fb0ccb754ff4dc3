"""Files of YAML that went wrong, from a seed: values of other types, lines lost, repeated or moved, characters changed."""

from __future__ import annotations

import random

_ODD = ["5", "[]", "{}", "[1, {a: b}]", "null", "''", '"', "'", "true", "2026-01-01", "!!binary x", "!x y", "&a b", "*a", "- x", "[", "{",
        "|", "? x", "<<", "..", "/", "\x00", "\t", "é😀", "0x1F", ".inf", "1e999", "---", "...", "%YAML 9.9", "2026-99-99", "!!int x",
        "!!int ''", "!!bool x", '"\\UFFFFFFFF"', "? [[a]]", "²", "9" * 5000, "(" * 1500, "1..2", "&x [*x, *x]"]  # fmt: skip


def mutated(text: str, seed: int) -> str:
    """One to four changes; the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        text = chance.choice((_value, _value, _lines, _characters))(text, chance)
    return text


def _value(text: str, chance: random.Random) -> str:
    """What follows a colon or a dash becomes something else."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    head, mark, _ = lines[at].partition(chance.choice((": ", "- ", ":")))
    lines[at] = f"{head}{mark or ': '}{chance.choice(_ODD)}"
    return "\n".join(lines)


def _lines(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
    what = chance.randrange(4)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(to, lines[at])
    elif what == 2:
        lines[at] = " " * chance.randrange(9) + lines[at].lstrip()
    else:
        lines.insert(at, chance.choice(("---", "...", "", "# x", "- a: 1", "a: &a [*a]", "<<: {name: x}")))
    return "\n".join(lines)


def _characters(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(_ODD) + text[at + chance.randrange(3) :]
