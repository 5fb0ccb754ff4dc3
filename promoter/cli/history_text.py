"""The past of environments as people read it: a line for each release, and times that mean something at a glance."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from promoter.output import grid, table
from promoter.promotion.outcome import End

if TYPE_CHECKING:
    from promoter.commands.diff import Compared, Difference
    from promoter.commands.history import Account, Entry
    from promoter.commands.where import Place
    from promoter.promotion.outcome import Outcome
    from promoter.promotion.verification import Verified

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
    if account.not_known:
        rows.append(("recorded", f"not known: {account.not_known}"))
    parts = [table([(name, value) for name, value in rows if value])]
    parts += [_recorded(one) for one in account.recorded]
    parts += [_indented("its message", account.message), _indented("the message of the commit that ended it", account.ended)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _recorded(predicate: Mapping[str, Any]) -> str:
    """One record, as `record` makes its predicate."""
    verdict, people = predicate["verdict"], predicate["people"]
    approvers = people["approvers"]
    rows = [
        ("approved by", ", ".join(approvers) or "nobody" if approvers is not None else ""),
        ("pull request", people["pullRequest"] or ""),
        *(
            (f"gate {one['gate']} {one['about']}".rstrip(), f"{one['result']}: {one['detail']}")
            for one in predicate["gates"] or ()
        ),
        *(_measured(run, one) for run in predicate["analysis"] for one in run["metrics"]),
        *([] if predicate["analysis"] else [("analysis", "none was seen")]),
        *((stage["at"], _stage(stage)) for stage in predicate["stages"]),
    ]
    head = f"recorded: {verdict['kind']}{' ' + verdict['at'] if verdict['at'] else ''}: {verdict['summary']}"
    return _indented(head, table([(name, value) for name, value in rows if value]))


def _measured(run: Mapping[str, Any], metric: Mapping[str, Any]) -> tuple[str, str]:
    limits = ", ".join(f"{name}: {value}" for name, value in metric["limits"].items())
    measured = ", ".join(metric["measurements"]) or "nothing"
    return (
        f"metric {metric['name']}",
        f"{metric['phase']}, measured {measured} ({'; '.join(filter(None, (limits, run['name'])))})",
    )


def _stage(stage: Mapping[str, Any]) -> str:
    step = f", step {stage['step']} of {stage.get('steps', '?')}" if "step" in stage else ""
    return f"{stage['kind']}{step}" + (f", weight {stage['weight']} %" if "weight" in stage else "")


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


def verified_text(found: Sequence[Verified]) -> str:
    """Each record with what was checked of it."""
    parts = []
    for one in found:
        head = f"{one.environment} {one.commit[:10]} {one.verdict}: record {one.digest}"
        parts.append(f"{head}\n{grid([('', check.of, str(check.result), check.detail) for check in one.checks])}")
    return "\n".join(parts)
