"""Whether a freeze window of promoter.yaml is open. Pure: a calendar and a time in; a library knows cron and time zones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from promoter.errors import ConfigError
from promoter.kustomize.freeze_file import Freeze
from promoter.models import Window

# A start that far before the window that may be open: days with another length, and what cron makes of hours that don't exist.
_MARGIN = timedelta(hours=26)


def standing(windows: Iterable[Window], now: datetime) -> Iterator[Freeze]:
    """Those that are open. One whose calendar can't be read counts as open."""
    for window in windows:
        try:
            end = closes(window, now)
        except (KeyError, ValueError, OSError, CronSimError) as error:
            hint = "install the time zones of the system (Debian: tzdata), or correct the window"
            problem = ConfigError(f"window {window.name!r}: {error}", file="promoter.yaml", key="freeze", hint=hint)
            yield Freeze(problem=problem, window=window.name)
            continue
        if end is not None:
            yield Freeze(until=end, window=window.name)


def closes(window: Window, now: datetime) -> datetime | None:
    """When it closes, in UTC, if it is open; of one that begins again while it is open, the later end.

    The times of `cron` are local ones, across daylight-saving changes as in Debian's cron: what falls into an hour that is left
    out begins right after it, and what falls into one that comes twice begins the first time. A duration is time that passes.
    """
    zone = ZoneInfo(window.zone)
    if window.first and window.last:
        if window.first <= now.astimezone(zone).date() <= window.last:
            return datetime.combine(window.last + timedelta(days=1), time(), zone).astimezone(UTC)
        return None
    length = timedelta(seconds=window.seconds)
    end: datetime | None = None
    for local in CronSim(window.cron, (now - length - _MARGIN).astimezone(zone)):
        start = local.astimezone(UTC)
        if start > now:
            break
        if now < start + length:
            end = start + length
    return end
