"""metrics: bounds of what MLflow has measured of a version, some of them relative to the version that it would replace."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from promoter.config.bounds import Bound, parse
from promoter.models import ModelVersion, Ruling
from promoter.promotion.gates.live import Live
from promoter.promotion.gates.table import passed, refused


def metrics(rules: Mapping[str, Sequence[str]], version: ModelVersion, live: Callable[[], Live | None]) -> Iterator[Ruling]:
    """`live` is only asked for if a bound is relative to it."""
    for name, texts in rules.items():
        value = version.metrics.get(name)
        if value is None:
            yield refused("metrics", name, f"MLflow has no such metric of {version.reference}{_similar(name, version)}", _LOG)
        elif math.isnan(value):
            yield refused("metrics", name, "is NaN, which is within no bound", _LOG)
        else:
            yield from (_bound(name, value, parse(text), version, live) for text in texts)


_LOG = "log it with the model or its run in MLflow, or correct the name under gates.metrics"


def _similar(name: str, version: ModelVersion) -> str:
    close = difflib.get_close_matches(name, version.metrics, n=1)
    return f"; it has {close[0]!r}" if close else ""


def _bound(name: str, value: float, bound: Bound, version: ModelVersion, live: Callable[[], Live | None]) -> Ruling:
    if not bound.relative:
        return _compared(name, value, bound, None, "")
    now = live()
    if now is None:
        return passed("metrics", name, f"is {value:g}; no version is live to compare it with ({bound.text})")
    if now.is_of(version):
        return passed("metrics", name, f"is {value:g}, and version {version.version} is live itself")
    if now.version is None:
        return refused("metrics", name, f"must be {bound.text}, and MLflow has no version {now.number} any more, which is live")
    other = now.version.metrics.get(name)
    if other is None or not math.isfinite(other):
        has = "has no such metric" if other is None else f"has {other:g}"
        return refused("metrics", name, f"must be {bound.text}, and version {now.number}, which is live, {has}")
    return _compared(name, value, bound, other, f" = {bound.limit(other)} (version {now.number} has {other:g})")


def _compared(name: str, value: float, bound: Bound, live: float | None, limit: str) -> Ruling:
    if bound.holds(value, live):
        return passed("metrics", name, f"is {value:g}, {bound.text}{limit}")
    return refused("metrics", name, f"is {value:g}, and must be {bound.text}{limit}")
