"""Durations as people write them: seconds, or a number with s, m, h or d."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = r"^[0-9]+(\.[0-9]+)?[smhd]$"
_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION}]}


def _seconds(value: object) -> object:
    """Seconds, also of a text like `10m`."""
    return float(value[:-1]) * _UNIT_SECONDS[value[-1]] if isinstance(value, str) and re.match(_DURATION, value) else value


Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_SCHEMA)]


def spoken(seconds: float) -> str:
    """`90 s` as `1 min 30 s`, with at most two units."""
    parts, rest = [], round(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
