"""Charts as SVG without scripts and without colours of their own: the page's stylesheet has those.

The only module that knows pygal (https://www.pygal.org). A chart is a picture: its numbers are text next to it, too.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from promoter.errors import UsageError
from promoter.machine.extras import install

_PLAIN = {
    "js": [],
    "css": [],
    "disable_xml_declaration": True,
    "show_legend": False,
    "margin": 8,
    "no_data_text": "",
    "truncate_label": -1,
}
_UNUSED = {"script", "style", "defs", "desc", "title"}
_OVERLAYS = {"plot text-overlay", "plot tooltip-overlay", "titles"}
_PLACES = ("d", "cx", "cy", "x", "y", "width", "height", "transform")
_LABELS = 5
_MANY_DIGITS = re.compile(r"(\.\d)\d+")


def over_time(label: str, series: Mapping[str, Sequence[tuple[datetime, float]]], names: Mapping[float, str]) -> str:
    """Points in time, one kind of dot for each series, above each other by the numbers that `names` writes out.

    The first series is joined by a line that stands still until the next point.
    """
    times = [when.timestamp() for points in series.values() for when, _ in points]
    chart = _pygal().XY(
        **_PLAIN,
        width=900,
        height=220,
        dots_size=4,
        x_value_formatter=lambda at: f"{datetime.fromtimestamp(at, UTC):%d %b %H:%M}",
        x_labels=_spread(min(times), max(times)) if times else None,
        y_labels=[{"label": names[at], "value": at} for at in _some(sorted(names))],
    )
    for place, (name, points) in enumerate(series.items()):
        dots = [(when.timestamp(), value) for when, value in points]
        chart.add(name, _steps(dots) if place == 0 else dots, stroke=place == 0, show_dots=place > 0)
    return _svg(chart, label)


def by_week(label: str, weeks: Sequence[str], series: Mapping[str, Sequence[int]]) -> str:
    """Bars that stand on each other, one for each week."""
    chart = _pygal().StackedBar(**_PLAIN, width=900, height=160, x_labels=list(weeks), x_labels_major_every=0)
    top = max((sum(column) for column in zip(*series.values(), strict=True)), default=0)
    chart.y_labels = sorted({0, math.ceil(top / 2), top})
    for name, counts in series.items():
        chart.add(name, list(counts))
    return _svg(chart, label)


def measured(label: str, values: Sequence[float | None], limits: Sequence[float]) -> str:
    """What was measured, one after another, and the limits as lines across."""
    found = [one for one in values if one is not None]
    marks = sorted({*limits, min(found), max(found)})
    chart = _pygal().Line(**_PLAIN, width=420, height=110, dots_size=3, y_labels=marks, show_x_labels=False)
    chart.value_formatter = _short
    chart.add("measured", list(values))
    for limit in limits:
        chart.add(f"limit {limit:g}", [limit] * max(2, len(values)), show_dots=False)
    return _svg(chart, label)


def over_versions(label: str, points: Sequence[tuple[str, float]]) -> str:
    """One metric of each version, the oldest version first."""
    values = [value for _, value in points]
    chart = _pygal().Line(**_PLAIN, width=420, height=150, dots_size=3, x_labels=[f"v{name}" for name, _ in points])
    chart.y_labels = sorted({min(values), max(values)})
    chart.value_formatter = _short
    chart.x_labels_major_count, chart.show_minor_x_labels = min(_LABELS, len(points)), False
    chart.add(label, values)
    return _svg(chart, label)


def _pygal() -> Any:
    """pygal has no types.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pygal
    except ImportError:
        raise UsageError("charts need pygal, which is not installed", hint=install("report")) from None
    # What it adds for its plug-ins is in the way of every later import, and warns of each on Python 3.11.
    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != "pygal"]
    return pygal


def _svg(chart: Any, label: str) -> str:
    """As text for a page: what pygal adds for scripts, styles and their tooltips is left out."""
    from xml.etree import ElementTree

    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in _UNUSED or child.tag is ElementTree.Comment or child.get("class") in _OVERLAYS:
                parent.remove(child)
        for name in _PLACES:
            if name in parent.attrib:
                parent.set(name, _MANY_DIGITS.sub(r"\1", parent.attrib[name]))
    root.set("role", "img")
    root.set("aria-label", label)
    del root.attrib["id"]
    return ElementTree.tostring(root, encoding="unicode")


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, each joined to the next by a level line."""
    found: list[tuple[float, float]] = []
    for at, value in points:
        if found:
            found.append((at, found[-1][1]))
        found.append((at, value))
    return found


def _spread(first: float, last: float) -> list[float]:
    return [first + (last - first) * place / (_LABELS - 1) for place in range(_LABELS)] if last > first else [first]


def _some(values: Sequence[float]) -> list[float]:
    """At most a few of them, the first and the last among them."""
    step = max(1, math.ceil((len(values) - 1) / (_LABELS - 1)))
    return list(dict.fromkeys([*values[::-step], *values[:1]]))


def _short(value: float) -> str:
    return f"{value:.4g}"
