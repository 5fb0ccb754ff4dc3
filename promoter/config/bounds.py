"""A bound of a metric as people write it: `>= 0.8`, `>= live - 0.01`, `<= live * 1.1`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from operator import ge, gt, le, lt

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_BOUND = re.compile(rf"(>=|<=|>|<)\s*(?:({_NUMBER})|live(?:\s*([-+*])\s*({_NUMBER}))?)")
_COMPARED: Mapping[str, Callable[[Decimal, Decimal], bool]] = {">=": ge, "<=": le, ">": gt, "<": lt}


@dataclass(frozen=True, slots=True)
class Bound:
    """`text` is as it was written. If it is relative, `scale` and `offset` make the limit of the live version's value."""

    text: str
    comparison: str
    relative: bool = False
    scale: Decimal = Decimal(1)
    offset: Decimal = Decimal(0)

    def limit(self, live: float | None) -> Decimal:
        """The number that the metric is compared with. In decimals, as people reckon: 0.81 - 0.01 is 0.8."""
        base = Decimal(repr(live)) if self.relative and live is not None else Decimal(0)
        return base * self.scale + self.offset

    def holds(self, value: float, live: float | None) -> bool:
        """Whether a number (not NaN) is within the bound; `live` is a finite number if the bound is relative to it."""
        return _COMPARED[self.comparison](Decimal(repr(value)), self.limit(live))


def parse(text: str) -> Bound:
    """The bound that a text states.

    Raises:
        ValueError: it states none.
    """
    match = _BOUND.fullmatch(text.strip())
    if not match:
        raise ValueError("is a comparison like '>= 0.8', '>= live - 0.01' or '<= live * 1.1'")
    comparison, number, operator, operand = match.groups()
    if number is not None:
        return Bound(text, comparison, offset=Decimal(number))
    if operator == "*":
        return Bound(text, comparison, relative=True, scale=Decimal(operand))
    offset = Decimal(f"{operand}") if operand else Decimal(0)
    return Bound(text, comparison, relative=True, offset=-offset if operator == "-" else offset)
