"""Which packages a base lacks for those that are asked for: Debian Policy, chapter 7, as apt-get decides it.

Nothing of the base is replaced or removed: what would need that is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from promoter.errors import RefusedError
from promoter.image.runtime.debian.control import Package, Relation
from promoter.image.runtime.debian.index import Candidate, Index
from promoter.image.runtime.debian.version import order

_MOST = 500
_Chosen = Mapping[str, Candidate]


class _UnmetError(Exception):
    """Why a package can't be added."""


@dataclass(frozen=True)
class Resolver:
    """For a base that has `there` installed; `name` is the base's."""

    name: str
    there: Sequence[Package]
    indexes: Sequence[Index]

    def resolve(self, asked: Iterable[str]) -> list[Candidate]:
        """What is missing for these (libgomp1, or libgomp1=12.2.0-14), by name.

        Raises:
            RefusedError: they can't be added to what is there.
        """
        try:
            chosen = self._asked(asked)  # all of them first: one may be what another one needs
            for one in [*chosen.values()]:
                chosen = self._with_needs(one.package, chosen)
            self._require_peace(chosen)
        except _UnmetError as error:
            raise RefusedError(
                f"image.packages {', '.join(sorted(asked))} can't be added to {self.name}: {error}", hint=_HINT
            ) from None
        except ValueError as error:
            raise RefusedError(
                f"the package index of {self.name} can't be read: {error}", hint="report it to who runs the archive"
            ) from None
        return [chosen[name] for name in sorted(chosen)]

    def _asked(self, asked: Iterable[str]) -> _Chosen:
        chosen: _Chosen = {}
        for text in sorted(asked):
            name, equals, version = text.partition("=")
            relation = Relation(name, equals, version)
            if not any(one.meets(relation) for one in (*self.there, *_packages(chosen))):
                candidates = self._candidates(relation)
                if not candidates:
                    raise _UnmetError(self._missing(relation, chosen, "image.packages"))
                chosen = self._adding(candidates[0], chosen)
        return chosen

    def _with_needs(self, package: Package, chosen: _Chosen) -> _Chosen:
        for alternatives in package.needs:
            chosen = self._with(alternatives, chosen, str(package))
        return chosen

    def _with(self, alternatives: Sequence[Relation], chosen: _Chosen, why: str) -> _Chosen:
        """With one of the alternatives, and what that needs: the first that can be had."""
        have = (*self.there, *_packages(chosen))
        if any(package.meets(relation) for relation in alternatives for package in have):
            return chosen
        reasons: list[str] = []
        for relation in alternatives:
            for candidate in self._candidates(relation):
                try:
                    return self._with_needs(candidate.package, self._adding(candidate, chosen))
                except _UnmetError as error:
                    reasons.append(str(error))
            reasons.append(self._missing(relation, chosen, why))
        raise _UnmetError(reasons[0])

    def _adding(self, candidate: Candidate, chosen: _Chosen) -> _Chosen:
        package = candidate.package
        if older := next((one for one in (*self.there, *_packages(chosen)) if one.name == package.name), None):
            raise _UnmetError(f"it would take {package}, and {older} is there")
        if len(chosen) >= _MOST:
            raise _UnmetError(f"it would take more than {_MOST} packages")
        return {**chosen, package.name: candidate}

    def _candidates(self, relation: Relation) -> list[Candidate]:
        """One package of that name, the one that apt-get would take; if there is none, those that provide it, by name."""
        named = [one for index in self.indexes for one in index.named(relation.name)]
        if fitting := [one for one in named if relation.met_by(one.package.version)]:
            return [max(fitting, key=_rank)]
        offering: dict[str, Candidate] = {}
        for one in (one for index in self.indexes for one in index.offering(relation.name) if one.package.meets(relation)):
            best = offering.get(one.package.name)
            offering[one.package.name] = one if best is None else max(best, one, key=_rank)
        return [offering[name] for name in sorted(offering)]

    def _missing(self, relation: Relation, chosen: _Chosen, why: str) -> str:
        have = next((one for one in (*self.there, *_packages(chosen)) if one.name == relation.name), None)
        if have:
            return f"{why} needs {relation}, and {have} is there"
        offered = sorted({one.package.version for index in self.indexes for one in index.named(relation.name)}, key=order)
        there = f"the base's sources have {', '.join(offered)}" if offered else "the base's sources do not have it"
        return f"{why} needs {relation}, and {there}"

    def _require_peace(self, chosen: _Chosen) -> None:
        """Of every two that may not be there at once, one at least is new."""
        new = _packages(chosen)
        for package in new:
            for other in (*self.there, *new):
                if other.name != package.name:
                    for one, relation in ((package, _excluding(package, other)), (other, _excluding(other, package))):
                        if relation:
                            raise _UnmetError(f"{one} excludes {relation}, which is {other if one is package else package}")


_HINT = (
    "take a newer image.base, name the index of its own date in image.packages-mirror (a snapshot),"
    " or set image.runtime-builder: engine, which also replaces packages"
)


def _packages(chosen: _Chosen) -> list[Package]:
    return [one.package for one in chosen.values()]


def _excluding(package: Package, other: Package) -> Relation | None:
    return next((relation for relation in package.excludes if other.meets(relation)), None)


def _rank(candidate: Candidate) -> tuple[object, ...]:
    return candidate.priority, order(candidate.package.version)
