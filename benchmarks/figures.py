"""What a benchmark shows: rows to read, and ratios with the bar they are held against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio (or an amount, with `unit`) and its bar. None was not measured, and meets no bar."""

    name: str
    value: float | None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "×"

    @property
    def met(self) -> bool:
        if self.value is None:
            return False
        return (self.at_most is None or self.value <= self.at_most) and (self.at_least is None or self.value >= self.at_least)

    @property
    def measured(self) -> str:
        return "not measured" if self.value is None else f"{self.value:.2f} {self.unit}"

    @property
    def bar(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return "" if self.at_least is None else f"≥ {self.at_least:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    rows: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", "| what | measured |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in self.rows]
        lines += ["", "| ratio | measured | bar | |", "|---|---|---|---|"]
        lines += [f"| {f.name} | {f.measured} | {f.bar} | {'met' if f.met else 'not met'} |" for f in self.figures]
        lines += ["", *self.notes]
        return "\n".join(lines).rstrip() + "\n"
