"""Environments, models and aliases as promoter.yaml has them, read by its lines: a parser takes longer than a person waits.

What is written in some other form of YAML is not found here; nothing is decided by it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

FILE = "promoter.yaml"
_LARGEST = 16 * 1024 * 1024
_KEY = re.compile(r"""^( *)(- +)?(?:"([^"]*)"|'([^']*)'|([^\s#'"{\[:][^:#]*?)) *:(?: +(.*?))? *$""")
_INNER = re.compile(r"[\w-]+:\s*\{[^{}]*\}")


class Names:
    """`environments` are (name, model, alias) in the file's order, then groups; `models` in the order of the file, too."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.environments: list[tuple[str, str, str]] = []

    def of_environment(self, name: str) -> list[str]:
        """The models that have an environment of that name."""
        return [model for env, model, _ in self.environments if env == name]


def file_of(folder: str, named: str = "") -> str:
    """The promoter.yaml that is named, else the nearest; empty without one."""
    if named:
        return os.path.join(folder, named)  # noqa: PTH118 - pathlib alone takes a tenth of the time there is
    folder = os.path.abspath(folder)  # noqa: PTH100
    while not os.path.isfile(os.path.join(folder, FILE)):  # noqa: PTH113, PTH118
        folder, child = os.path.dirname(folder), folder  # noqa: PTH120
        if folder == child:
            return ""
    return os.path.join(folder, FILE)  # noqa: PTH118


def read(path: str) -> Names:
    """What is found in this file. Raises OSError."""
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return found_in(file.read(_LARGEST))


def found_in(text: str) -> Names:
    names = Names()
    for section, lines in _sections(text):
        if section == "models":
            names.models += [key for depth, _, key, _ in lines if depth == lines[0][0]]
        elif section == "environments":
            items = list(_items(lines))
            groups = [{**item, "name": item["group"]} for item in items if "group" in item]
            names.environments += dict.fromkeys(_environment(item) for item in (*items, *groups))
    if len(names.models) == 1:
        names.environments = [(name, model or names.models[0], alias) for name, model, alias in names.environments]
    return names


Line = tuple[int, bool, str, str]
"""The depth of a key, whether an item of a list begins with it, the key, and what stands behind it."""


def _sections(text: str) -> Iterator[tuple[str, list[Line]]]:
    """Each top-level key with the keys below it."""
    name, lines = "", list[Line]()
    for line in text.splitlines():
        if (flow := _flow(line)) is not None:
            lines += flow
            continue
        if (match := _KEY.match(line)) is None:
            continue
        spaces, dash, *quoted, value = match.groups()
        key = next(one for one in quoted if one is not None)
        depth = len(spaces) + len(dash or "")
        if depth == 0:
            if lines:
                yield name, lines
            name, lines = key, []
        else:
            lines.append((depth, bool(dash), key, value or ""))
    if lines:
        yield name, lines


def _flow(line: str) -> list[Line] | None:
    """The keys of `- {name: staging, model: churn}`; None for any other line."""
    item = line.strip()
    if not item.startswith("- {"):
        return None
    depth = len(line) - len(line.lstrip()) + 2
    pairs = [pair.partition(":") for pair in _INNER.sub("", item[3:].rstrip("} ")).split(",")]
    keys = [(key.strip().strip("'\""), value.strip()) for key, _, value in pairs if key.strip()]
    return [(depth, index == 0, key, value) for index, (key, value) in enumerate(keys)]


def _items(lines: list[Line]) -> Iterator[dict[str, str]]:
    """The mappings of a list: its own keys, none of those below them."""
    item: dict[str, str] = {}
    level = lines[0][0]
    for depth, begins, key, value in lines:
        if begins and depth == level:
            if item:
                yield item
            item = {}
        if depth == level:
            item[key] = value.partition(" #")[0].strip().strip("'\"")
    if item:
        yield item


def _environment(item: dict[str, str]) -> tuple[str, str, str]:
    return item.get("name", ""), item.get("model", ""), item.get("alias", "")
