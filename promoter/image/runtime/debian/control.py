"""Debian's control files (deb822(5)): paragraphs of fields, and what one of them describes: a package and its relations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from promoter.image.runtime.debian.version import OPERATORS, meets, order

_OPERATORS = {"<": "<=", ">": ">=", **{operator: operator for operator in OPERATORS}}  # deb-control(5): the old spelling
_NAME = r"[A-Za-z0-9][A-Za-z0-9+.-]*"
_RELATION = re.compile(rf"({_NAME})(?::[a-z0-9-]+)?(?:\s*\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s()]+)\s*\))?")


@dataclass(frozen=True, slots=True)
class Relation:
    """A package by name, in a version if that counts: `libc6 (>= 2.34)`."""

    name: str
    operator: str = ""
    version: str = ""

    def met_by(self, version: str) -> bool:
        """By a package of this name. What is provided without a version meets no relation to one (Debian Policy 7.5)."""
        return not self.operator or (version != "" and meets(version, self.operator, self.version))

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


@dataclass(frozen=True)
class Package:
    """A package as a paragraph describes it: one of an index, or one that is installed."""

    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.fields.get("package", "")

    @property
    def version(self) -> str:
        return self.fields.get("version", "")

    @property
    def architecture(self) -> str:
        return self.fields.get("architecture", "")

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @cached_property
    def needs(self) -> tuple[tuple[Relation, ...], ...]:
        """All of these have to be met, each by one of its alternatives. Raises ValueError."""
        return (*relations(self.fields.get("pre-depends", "")), *relations(self.fields.get("depends", "")))

    @cached_property
    def excludes(self) -> tuple[Relation, ...]:
        """None of these may be installed with it. Raises ValueError."""
        listed = (*relations(self.fields.get("conflicts", "")), *relations(self.fields.get("breaks", "")))
        return tuple(relation for alternatives in listed for relation in alternatives)

    @cached_property
    def offers(self) -> tuple[tuple[str, str], ...]:
        """Names that it meets relations to, each with its version, which is empty if it has none. Raises ValueError."""
        provided = (relation for (relation, *_) in relations(self.fields.get("provides", "")))
        return (self.name, self.version), *((relation.name, relation.version) for relation in provided)

    def meets(self, relation: Relation) -> bool:
        return any(name == relation.name and relation.met_by(version) for name, version in self.offers)


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Fields by their name in lower case; a value of many lines has a line break between them. Comments are left out."""
    fields: dict[str, str] = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[0] in " \t":
            if last:
                fields[last] += f"\n{line.strip()}"
        else:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            fields[last] = value.strip()


def relations(field: str) -> tuple[tuple[Relation, ...], ...]:
    """Alternatives of each relation in a field like Depends.

    Raises:
        ValueError: it can't be read.
    """
    found = []
    for group in filter(None, (one.strip() for one in field.replace("\n", " ").split(","))):
        found.append(tuple(_relation(one.strip()) for one in group.split("|")))
    return tuple(found)


def _relation(text: str) -> Relation:
    match = _RELATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a relation to a package")
    if match[2]:
        order(match[3])
    return Relation(match[1], _OPERATORS[match[2]] if match[2] else "", match[3] or "")


def installed(status: str) -> list[Package]:
    """The packages that dpkg's status file has as installed."""
    return [Package(fields) for fields in paragraphs(status) if fields.get("status", "").split()[-1:] == ["installed"]]
