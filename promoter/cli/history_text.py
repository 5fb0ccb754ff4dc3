"""The past of environments as people read it: a line for each release, and times that mean something at a glance."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from promoter.output import grid, table
from promoter.promotion.outcome import End

if TYPE_CHECKING:
    from promoter.commands.diff import Compared, Difference
    from promoter.commands.history import Account, Entry
    from promoter.commands.where import Place
    from promoter.promotion.outcome import Outcome

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Form:
    """How it is shown: `now` is given where times are relative to it, `width` where lines are cut; `reasons` in full."""

    now: datetime | None = None
    width: int | None = None
    reasons: bool = False

    @classmethod
    def here(cls, *, reasons: bool = False) -> Form:
        """For this stdout: relative times and short lines on a terminal only."""
        if not sys.stdout.isatty() or os.environ.get("CI"):
            return cls(reasons=reasons)
        return cls(datetime.now(UTC), None if reasons else shutil.get_terminal_size().columns, reasons)

    def time(self, when: datetime) -> str:
        return f"{duration(self.now - when)} ago" if self.now else f"{when:%Y-%m-%d %H:%M:%S} UTC"

    def since(self, when: datetime) -> str:
        return f"for {duration(self.now - when)}" if self.now else f"since {self.time(when)}"


def duration(span: timedelta) -> str:
    """In its largest unit: 3 d, 2 h, 5 min, 12 s. Clocks differ: what would be negative is 0 s."""
    seconds = max(0, int(span.total_seconds()))
    size, unit = next((one for one in _UNITS if seconds >= one[0]), _UNITS[-1])
    return f"{seconds // size} {unit}"


def history_text(entries: Sequence[Entry], form: Form = Form()) -> str:
    if not entries:
        return "no releases yet\n"
    several = len({entry.environment for entry in entries}) > 1
    rows: list[tuple[str, ...]] = [("WHEN", "COMMIT", "ENVIRONMENT", "RELEASE", "BY WAY OF", "WHO", "OUTCOME")]
    for entry in entries:
        release = f"{entry.model} {entry.version}"
        ended = outcome_text(entry.outcome, entry.when, form)
        if entry.overridden:
            ended += f"; gates overridden: {entry.overridden}"
        rows.append(
            (form.time(entry.when), entry.commit[:10], entry.environment, release, str(entry.act), _name(entry.by), ended)
        )
        if form.reasons and entry.reason:
            rows.append(("", "", "", "", "", "", f"why it came: {entry.reason}"))
    if not several:
        rows = [row[:2] + row[3:] for row in rows]
    return grid(rows, form.width)


def outcome_text(outcome: Outcome, when: datetime, form: Form) -> str:
    """`aborted after 3 min, quarantined: analysis failed: metric accuracy Failed, measured 0.4`"""
    if outcome.end is End.DEPLOYED:
        return f"deployed {form.since(when)}"
    after = f" after {duration(outcome.until - when)}" if outcome.until else ""
    by = f" by {_name(outcome.by)}" if outcome.by else ""
    replaced = f" by {outcome.version}" if outcome.end is End.REPLACED else ""
    why = f": {outcome.reason}" if outcome.reason else ""
    return f"{outcome.end}{replaced or by}{after}{', quarantined' if outcome.quarantined else ''}{why}"


def account_text(account: Account, form: Form = Form()) -> str:
    entry = account.entry
    rows = [
        ("release", f"{entry.model} version {entry.version} in {entry.environment}"),
        ("image", entry.image),
        ("commit", f"{entry.commit}: {entry.subject}"),
        ("committed", f"{entry.when:%Y-%m-%d %H:%M:%S} UTC by {entry.author}"),
        ("by way of", str(entry.act)),
        ("gates overridden", entry.overridden),
        ("asked for by", entry.by),
        ("reason", entry.reason),
        ("outcome", outcome_text(entry.outcome, entry.when, form)),
        ("ended by", entry.outcome.commit),
    ]
    parts = [table([(name, value) for name, value in rows if value])]
    parts += [_indented("its message", account.message), _indented("the message of the commit that ended it", account.ended)]
    return "\n\n".join(part for part in parts if part) + "\n"


def where_text(places: Sequence[Place], form: Form = Form()) -> str:
    lines = []
    for place in places:
        version = f" {place.version}" if place.version else ""
        lines.append(f"{place.environment} {place.model}{version}: {_state(place, form)}")
        rows = [
            ("  commit", place.commit or ""),
            ("  image", place.image or ""),
            ("  MLflow run", (place.run or "not known") if place.version else ""),
            ("  stands against it", f"{place.decision}: {place.decision_reason}".removesuffix(": ") if place.decision else ""),
        ]
        if found := table([(name, value) for name, value in rows if value]):
            lines.append(found)
        lines += [f"  {note}" for note in place.notes]
    return "\n".join(lines) + "\n"


def diff_text(compared: Compared) -> str:
    first, second = compared.environments
    versions = f"{first} ({compared.was.version}) → {second} ({compared.now.version})"
    rows = [(f"  {one.of} {one.name}", f"{_value(one.was)} → {_value(one.now)}{_change(one)}") for one in compared.differences]
    same = [] if rows or compared.notes else ["  the same release"]
    return "\n".join([f"{compared.model}: {versions}", *([table(rows)] if rows else same), *compared.notes]) + "\n"


def _value(value: str | float | None) -> str:
    return "(none)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _change(one: Difference) -> str:
    """Of numbers."""
    return f" ({one.now - one.was:+.4g})" if isinstance(one.was, float) and isinstance(one.now, float) else ""


def _state(place: Place, form: Form) -> str:
    if place.since is None:
        return place.state
    if place.state == End.DEPLOYED:
        return f"deployed {form.since(place.since)}, by {_name(place.by)}"
    until = f" until {form.time(place.until)}" if place.until else ""
    why = f": {place.reason}" if place.reason else ""
    return f"{place.state}{why}; it was deployed from {form.time(place.since)}{until}"


def _name(author: str) -> str:
    """Without the address."""
    return author.partition(" <")[0]


def _indented(title: str, text: str) -> str:
    return "\n".join([f"{title}:", *(f"  {line}".rstrip() for line in text.splitlines())]) if text else ""
