"""How environments stand, as people read it: a line for each, and why those are not as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.cli.history_text import Form, duration
from promoter.output import grid, table

if TYPE_CHECKING:
    from promoter.commands.status import EnvironmentStatus
    from promoter.models import Environment

_AGREEMENT = {True: "agree", False: "DISAGREE", None: "unknown"}
_IN_A_LOG = Form()
_HEAD = ("ENV", "MODEL", "WANTED", "GIT", "LIVE", "HEALTH", "SINCE", "NOTE")


def status_text(standings: Sequence[EnvironmentStatus], form: Form = _IN_A_LOG) -> str:
    """A table, then every note of those that do not agree. `-`: nothing is there; `?`: it could not be read."""
    if not standings:
        return "no environment differs\n"
    grouped = any(one.group for one in standings)
    rows = [_with_wave(_HEAD, "WAVE", grouped), *(_with_wave(_row(one, form), _wave(one), grouped) for one in standings)]
    return grid(rows, form.width) + _notes(standings)


def _notes(standings: Sequence[EnvironmentStatus]) -> str:
    notes = [f"{one.environment} {one.model}: {note}" for one in standings if not one.agree for note in one.notes]
    return "".join(f"{note}\n" for note in ("", *notes) if notes)


@dataclass(frozen=True, slots=True)
class Lines:
    """The table of `status_text`, line by line: the widths are known before what is in the columns."""

    widths: tuple[int, ...]
    grouped: bool
    form: Form

    @classmethod
    def of(cls, environments: Sequence[Environment], form: Form) -> Lines:
        names = (len("ENV"), *(len(one.name) for one in environments))
        models = (len("MODEL"), *(len(one.model.name) for one in environments))
        groups = [one.group for one in environments if one.group]
        waves = [len(f"{one.name} {one.wave} {one.region}".rstrip()) for one in groups]
        widths = (max(names), max(models), len("WANTED"), len("0000"), len("0000"), len("Progressing"), len("00 hours"))
        return cls((widths[0], max(waves), *widths[1:]) if waves else widths, bool(groups), form)

    @property
    def head(self) -> str:
        return self._line(_with_wave(_HEAD, "WAVE", self.grouped))

    def row(self, one: EnvironmentStatus) -> str:
        return self._line(_with_wave(_row(one, self.form), _wave(one), self.grouped))

    def notes(self, standings: Sequence[EnvironmentStatus]) -> str:
        """What follows the last line."""
        return _notes(standings) if standings else "no environment differs\n"

    def _line(self, row: tuple[str, ...]) -> str:
        cells = (cell.ljust(width) for cell, width in zip(row, (*self.widths, 0), strict=True))
        return "  ".join(cells).rstrip() + "\n"


def wide_text(standings: Sequence[EnvironmentStatus]) -> str:
    """A paragraph for each, with commits, digests and all notes."""
    lines = []
    for one in standings:
        state = f", {one.alias_state}" if one.agree and one.alias_state else ""
        state += ", frozen" if one.frozen else ""
        lines.append(f"{one.environment} {one.model}: {_AGREEMENT[one.agree]}{state}")
        since = f" since {one.since:%Y-%m-%d %H:%M} UTC ({str(one.commit)[:10]})" if one.since else ""
        rows = [
            (f"  alias {one.alias or '(none)'}", one.alias_version or "-"),
            ("  Git", f"{one.release.version}{since}" if one.release else "-"),
            ("  runs", f"{one.runs.model_version or '?'} {one.runs.image.digest[:19]}, {one.health}" if one.runs else "-"),
        ]
        lines.append(table(rows))
        lines += [f"  {note}" for note in one.notes]
    return "\n".join(lines) + "\n"


def _row(one: EnvironmentStatus, form: Form) -> tuple[str, ...]:
    missing = "?" if one.agree is None else "-"
    live = (one.runs.model_version or one.runs.image.digest[:19]) if one.runs else missing
    since = "" if one.since is None else duration(form.now - one.since) if form.now else f"{one.since:%Y-%m-%d %H:%M}"
    return (
        one.environment,
        one.model,
        one.alias_version or ("-" if one.alias is None else missing),
        one.release.version if one.release else missing,
        live,
        one.health or missing,
        since or missing,
        ", ".join(_words(one)),
    )


def _with_wave(row: tuple[str, ...], cell: str, grouped: bool) -> tuple[str, ...]:
    """The row with a column for waves, if there is a group."""
    return (row[0], cell, *row[1:]) if grouped else row


def _wave(one: EnvironmentStatus) -> str:
    """`production 2 westeurope`"""
    return f"{one.group} {one.wave} {one.region}".rstrip() if one.group else ""


def _words(one: EnvironmentStatus) -> list[str]:
    part = one.part if one.part in ("failed", "reverted") and not one.alias_state else ""
    words = [part, one.alias_state or ("behind" if one.behind else ""), "frozen" if one.frozen else "", one.verdict]
    return [word for word in (*words, "unknown" if one.agree is None else "") if word]
