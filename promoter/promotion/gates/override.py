"""--override GATE --reason TEXT: who may let a refusal pass, and how it is recorded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from promoter.config.gates import Anyone, GatesSection, may_be_overridden
from promoter.errors import RefusedError, UsageError
from promoter.models import Environment, Result, Ruling


@dataclass(frozen=True, slots=True)
class Overrides:
    """The gates that a person lets pass, and why. `by` is who that is, "" if no pipeline reports it."""

    gates: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""

    def require_allowed(self, declared: GatesSection, environment: Environment) -> None:
        """Raises:
        UsageError: such a gate can't be overridden, or no reason is given.
        RefusedError: this person may not override it here.
        """
        for gate in self.gates:
            if gate not in may_be_overridden():
                raise UsageError(f"no gate {gate!r} can be overridden", hint=f"available: {', '.join(may_be_overridden())}")
            who = declared.who_overrides(gate)  # forges know a login in upper and lower case
            if isinstance(who, Anyone) or self.by.casefold() in {one.casefold() for one in who}:
                continue
            person = self.by or "a person whom no pipeline names"
            names = f"only {', '.join(who)} may" if who else "nobody may"
            raise RefusedError(
                f"{person} may not override {gate} in {environment.name!r}: {names}",
                hint="gates.override in promoter.yaml lists who may override which gate",
            )
        if self.gates and not self.reason:
            raise UsageError("--override needs --reason", hint="say why: it is in the commit, and the next person reads it")

    def applied(self, rulings: Iterable[Ruling]) -> tuple[Ruling, ...]:
        """The rulings; a refusal of an overridden gate is one that was overridden."""
        by = f" by {self.by}" if self.by else ""
        return tuple(
            replace(one, result=Result.OVERRIDDEN, detail=f"{one.detail}; overridden{by}: {self.reason}")
            if one.result is Result.REFUSED and one.gate in self.gates
            else one
            for one in rulings
        )

    def recorded(self, rulings: Sequence[Ruling]) -> str:
        """What a commit records: the gates that were overridden, by whom, and why. "" for none."""
        names = dict.fromkeys(one.name for one in rulings if one.result is Result.OVERRIDDEN)
        by = f", by {self.by}" if self.by else ""
        return f"{', '.join(names)}{by}: {' '.join(self.reason.split())}" if names else ""


NONE = Overrides()
"""Nothing is overridden."""


_RECORDED = re.compile(r"(?P<names>.+?)(?:, by (?P<by>[^:]+))?: (?P<reason>.+)")


def recorded_in(text: str) -> Overrides:
    """What a commit recorded (`Overrides.recorded`), `NONE` for anything else."""
    found = _RECORDED.fullmatch(text)
    if found is None:
        return NONE
    gates = [name.partition(" ")[0] for name in found["names"].split(", ")]
    return of([gate for gate in gates if gate in may_be_overridden()], found["reason"], found["by"] or "")


def of(gates: Sequence[str], reason: str, by: str) -> Overrides:
    return Overrides(tuple(dict.fromkeys(gates)), reason.strip(), by)
