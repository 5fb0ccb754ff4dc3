"""Freeze windows of promoter.yaml: open when a naive model of the calendar is, and open when they can't be read."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promoter import config
from promoter.commands.plan import plan
from promoter.commands.promote import promote
from promoter.commands.status import status
from promoter.errors import ConfigError
from promoter.model_registry import ModelReference
from promoter.models import Window
from promoter.promotion.freezes import FrozenError
from promoter.promotion.steps import Steps
from promoter.promotion.windows import closes, standing
from tests.support.argo_world import MODEL, world
from tests.support.interleaving import ALIAS, without_rendering
from tests.support.interleaving import world as small_world

MINUTE = timedelta(minutes=1)
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu")
CRONS = ("0 18 * * FRI", "30 2 * * *", "*/15 2 * * SUN", "15,45 1-3 * * *", "0 0 1 * MON", "0 * * * *", "59 23 28-31 * *")
SECONDS = (60, 1800, 3600, 5 * 3600, 62 * 3600)


# -- the naive model --------------------------------------------------------------------------------------------------


@lru_cache
def numbers(field: str, low: int, high: int) -> set[int]:
    """Of one field of a cron expression: numbers, ranges, lists, steps and the days that CRONS names."""
    found: set[int] = set()
    for part in field.replace("SUN", "0").replace("MON", "1").replace("FRI", "5").split(","):
        values, _, step = part.partition("/")
        begin, _, end = (f"{low}-{high}" if values == "*" else values).partition("-")
        found |= set(range(int(begin), int(end or begin) + 1, int(step or 1)))
    return found


def matches(cron: str, wall: datetime) -> bool:
    minute, hour, day, month, weekday = cron.split()
    if wall.minute not in numbers(minute, 0, 59) or wall.hour not in numbers(hour, 0, 23):
        return False
    if wall.month not in numbers(month, 1, 12):
        return False
    by_day, by_weekday = wall.day in numbers(day, 1, 31), wall.isoweekday() % 7 in numbers(weekday, 0, 6)
    return (by_day and by_weekday) if "*" in (day[0], weekday[0]) else (by_day or by_weekday)


def begins(cron: str, minute: datetime, zone: ZoneInfo) -> bool:
    """Whether Debian's cron would run it at this minute (cron(8), about daylight saving time)."""
    local, before = minute.astimezone(zone), (minute - MINUTE).astimezone(zone)
    wall, was = local.replace(tzinfo=None, fold=0), before.replace(tzinfo=None, fold=0)
    if cron.startswith("*") or cron.split()[1].startswith("*"):
        return matches(cron, wall)
    left_out = [was + MINUTE * number for number in range(1, round((wall - was) / MINUTE))]
    return (matches(cron, wall) and local.fold == 0) or any(matches(cron, one) for one in left_out)


def is_open(window: Window, now: datetime) -> bool:
    """Looks at each minute from which the window could still be open."""
    zone, minute = ZoneInfo(window.zone), now.replace(second=0, microsecond=0)
    while now < minute + timedelta(seconds=window.seconds):
        if begins(window.cron, minute, zone):
            return True
        minute -= MINUTE
    return False


def changes(zone: ZoneInfo) -> list[datetime]:
    """The hours at whose end the offset is another one, within the five years."""
    hours = (FIRST + timedelta(hours=number) for number in range((LAST - FIRST) // timedelta(hours=1)))
    return [hour for hour in hours if hour.astimezone(zone).utcoffset() != (hour + 60 * MINUTE).astimezone(zone).utcoffset()]


CHANGES = {name: changes(ZoneInfo(name)) for name in ZONES}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(CRONS),
    st.sampled_from(SECONDS),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_a_window_is_open_when_the_naive_model_says_so(
    name: str, cron: str, seconds: int, chance: random.Random, near_a_change: bool
) -> None:
    """A second of five years, every other time one within a day and a half of a daylight-saving change."""
    window = Window("w", name, cron, seconds)
    now = FIRST + timedelta(seconds=chance.randrange(int((LAST - FIRST).total_seconds())))
    if near_a_change and CHANGES[name]:
        now = chance.choice(CHANGES[name]) + timedelta(seconds=chance.randrange(-36 * 3600, 36 * 3600))
    end = closes(window, now)
    assert (end is not None) is is_open(window, now), f"{name} {cron} for {seconds} s at {now}"
    if end is not None:
        assert is_open(window, end - timedelta(seconds=1))
        later = (end - MINUTE * number for number in range(int((end - now) / MINUTE) + 1))
        again = any(begins(cron, minute, ZoneInfo(name)) for minute in later if minute > now)
        assert again or not is_open(window, end), f"{now}: until {end}"


def test_zones_of_the_property_change_their_clocks() -> None:
    assert {name: len(found) for name, found in CHANGES.items()} == {
        "Europe/Berlin": 10,
        "America/New_York": 10,
        "Australia/Lord_Howe": 10,
        "Africa/Casablanca": 10,
        "Asia/Kathmandu": 0,
    }


@pytest.mark.parametrize(
    ("now", "open_until"),
    [
        ("2026-03-29T00:59:59Z", None),  # 01:59:59, and 02:30 will not be
        ("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"),  # 03:00: right after what was left out
        ("2026-10-25T00:29:59Z", None),
        ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),  # 02:30, the first of two
        ("2026-10-25T01:29:59Z", "2026-10-25T01:30:00Z"),
        ("2026-10-25T01:30:00Z", None),  # 02:30 again
        ("2026-06-01T00:30:00Z", "2026-06-01T01:30:00Z"),
    ],
)
def test_across_a_change_of_the_clocks(now: str, open_until: str | None) -> None:
    end = closes(Window("night", "Europe/Berlin", "30 2 * * *", 3600), datetime.fromisoformat(now))
    assert end == (datetime.fromisoformat(open_until) if open_until else None)


@pytest.mark.parametrize(
    ("now", "is_frozen"),
    [
        ("2026-12-22T22:59:59Z", False),
        ("2026-12-22T23:00:00Z", True),
        ("2027-01-02T22:59:59Z", True),
        ("2027-01-02T23:00:00Z", False),
    ],
)
def test_days_are_local_ones_the_last_one_too(now: str, is_frozen: bool) -> None:
    window = Window("holidays", "Europe/Berlin", first=date(2026, 12, 23), last=date(2027, 1, 2))
    end = closes(window, datetime.fromisoformat(now))
    assert end == (datetime(2027, 1, 2, 23, tzinfo=UTC) if is_frozen else None)


def test_what_can_not_be_read_counts_as_open() -> None:
    (found,) = standing([Window("w", "Nowhere/Here", "0 0 * * *", 60)], FIRST)
    assert found.problem is not None
    assert (found.window, "Nowhere/Here" in found.problem.message) == ("w", True)
    assert list(standing([Window("w", "Europe/Berlin", "0 0 * * *", 60)], FIRST + timedelta(hours=5))) == []


# -- promoter.yaml ----------------------------------------------------------------------------------------------------

ALWAYS = "{name: always, zone: UTC, cron: '* * * * *', duration: 2m}"


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("{name: w, zone: UTC}", "needs cron and duration, or first and last"),
        ("{name: w, zone: UTC, cron: '0 0 * * *'}", "needs cron and duration, or first and last"),
        ("{name: w, zone: UTC, cron: '0 0 * * *', duration: 1h, first: 2026-12-23}", "needs cron and duration"),
        ("{name: w, zone: UTC, cron: '0 0 * *', duration: 1h}", "has five fields"),
        ("{name: w, zone: UTC, cron: '0 25 * * *', duration: 1h}", "is not a cron expression: bad hour"),
        ("{name: w, zone: UTC, cron: '0 0 31 2 *', duration: 1h}", "is not a cron expression: bad day-of-month"),
        ("{name: w, zone: UTC, cron: '0 0 * * *', duration: soon}", "duration"),
        ("{name: w, zone: UTC, cron: '0 0 * * *', duration: 99d}", "duration"),
        ("{name: w, zone: Europe/Berln, cron: '0 0 * * *', duration: 1h}", "did you mean Europe/Berlin?"),
        ("{name: w, zone: Europe, cron: '0 0 * * *', duration: 1h}", "is not an IANA time zone"),
        ("{name: w, zone: ../../etc/passwd, cron: '0 0 * * *', duration: 1h}", "is not an IANA time zone"),
        ("{name: w, zone: UTC, first: 2026-12-23, last: 2026-12-22}", "ends before it begins"),
        ("{name: w, zone: UTC, first: someday, last: 2026-12-22}", "is a day like 2026-12-24"),
        ("{name: w, cron: '0 0 * * *', duration: 1h}", "zone"),
    ],
)
def test_what_is_wrong_in_promoter_yaml_is_told_with_its_line(tmp_path: Path, window: str, told: str) -> None:
    with world(tmp_path, os.environ) as it:
        file = it.folder / "promoter.yaml"
        file.write_text(f"{file.read_text()}freeze:\n- {window}\n")
        with pytest.raises(ConfigError) as refused:
            config.load(file)
    assert told in refused.value.message
    assert refused.value.message.startswith("promoter.yaml:")


def test_an_environment_has_its_own_windows_and_those_of_all(tmp_path: Path) -> None:
    own = f"  freeze: [{ALWAYS.replace('always', 'own')}]\n"
    common = "freeze:\n- {name: days, zone: Asia/Kathmandu, first: 2026-12-23, last: '2027-01-02'}\n"
    with world(tmp_path, os.environ, lines=own, settings=common) as it:
        days, minutes = it.environment.freeze
        assert days == Window("days", "Asia/Kathmandu", first=date(2026, 12, 23), last=date(2027, 1, 2))
        assert minutes == Window("own", "UTC", "* * * * *", 120.0)
        (one,) = status(it.clients, [it.environment])
        assert one.frozen.endswith("by the window 'own' of promoter.yaml")
        assert (one.agree, one.exit_code) == (True, 0)


@pytest.fixture
def _not_rendered() -> Iterator[None]:
    patch = without_rendering()
    yield
    patch.undo()


@pytest.mark.usefixtures("_not_rendered")
def test_promote_asks_before_it_plans_and_before_it_commits(tmp_path: Path) -> None:
    made = small_world(tmp_path, lambda _: 0, bad=())
    made.alias = "2"
    environment = made.clients.config.environments[0]
    reference = ModelReference.parse(f"{MODEL}@{ALIAS}")
    planned = plan(made.clients, environment, reference, Steps(), rendering=False)
    file = tmp_path / "promoter.yaml"
    file.write_text(f"{file.read_text()}freeze: [{ALWAYS}]\n")
    frozen = config.load(file).environments[0]
    with pytest.raises(FrozenError, match=r"is frozen until .* by the window 'always'") as refused:
        plan(made.clients, frozen, reference, Steps(), rendering=False)
    assert refused.value.until is not None
    object.__setattr__(planned, "environment", frozen)  # it opens while an image is built
    with pytest.raises(FrozenError, match="by the window 'always'"):
        promote(made.clients, planned, Steps())
    assert len(made.line) == 1
