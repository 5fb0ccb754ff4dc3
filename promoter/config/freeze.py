"""Freeze windows of promoter.yaml: when nothing is promoted, by the calendar."""

from __future__ import annotations

import difflib
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from promoter.config.duration import Seconds
from promoter.config.section import Section

_LONGEST = 31 * 86400.0
_ANY_TIME = datetime(2026, 1, 1)


def _cron(value: str) -> str:
    from cronsim import CronSim, CronSimError

    if len(value.split()) != 5:
        raise ValueError("has five fields: minute, hour, day of the month, month, day of the week")
    try:
        CronSim(value, _ANY_TIME)
    except (CronSimError, AssertionError) as error:
        raise ValueError(f"is not a cron expression: {str(error).lower() or 'a step that is not a number'}") from None
    return value


def _zone(value: str) -> str:
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        known = available_timezones()  # empty on a machine without them: then the window counts as open, for that reason
        if known:
            near = difflib.get_close_matches(value, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ", as Europe/Berlin is one"
            raise ValueError(f"is not an IANA time zone{hint}") from None
    return value


def _day(value: object) -> object:
    """A date, which YAML reads as one or as a text."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("is a day like 2026-12-24") from None


_Day = Annotated[date, BeforeValidator(_day, json_schema_input_type=str)]


class WindowSection(Section):
    """When nothing is promoted: from each time of `cron` for `duration`, or on the days from `first` to `last`."""

    name: str = Field(min_length=1, description="What refusals call it.")
    zone: Annotated[str, AfterValidator(_zone)] = Field(min_length=1, description="IANA time zone, as Europe/Berlin.")
    cron: Annotated[str, AfterValidator(_cron)] | None = Field(
        None, description="When it begins: minute, hour, day of the month, month, day of the week."
    )
    duration: Annotated[Seconds, Field(gt=0, le=_LONGEST)] | None = Field(
        None, description="How long it lasts from then on: 90m, 62h, 2d; 31 days at most."
    )
    first: _Day | None = Field(None, description="The first day, all of it.")
    last: _Day | None = Field(None, description="The last day, all of it.")

    @model_validator(mode="after")
    def _one_kind(self) -> WindowSection:
        given = [one for one in ("cron", "duration", "first", "last") if getattr(self, one) is not None]
        if given not in (["cron", "duration"], ["first", "last"]):
            raise ValueError("needs cron and duration, or first and last")
        if self.first and self.last and self.last < self.first:
            raise ValueError("ends before it begins")
        return self
