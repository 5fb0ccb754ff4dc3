"""The page itself: one HTML file with its style and its pictures inside. It loads nothing, runs nothing, and opens offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promoter import __version__
from promoter.config.duration import spoken
from promoter.errors import UsageError
from promoter.errors.redaction import clean
from promoter.machine.extras import install
from promoter.promotion.outcome import End
from promoter.report import charts
from promoter.report.facts import Deployment, Facts, Past, natural
from promoter.report.figures import Figures, figures

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_PLACE = Path(__file__).parent
_LONGEST = 4_000  # characters of one text
_MOST_CHARTS = 600  # of measurements, the newest first: the others are numbers only
_MOST_METRICS = 8  # of a model
_WEEK = timedelta(days=7)

_TONES = {
    End.DEPLOYED: "good",
    End.REPLACED: "plain",
    End.UNKNOWN: "plain",
    End.ABORTED: "bad",
    End.FAILED: "bad",
    End.ROLLED_BACK: "bad",
    End.REJECTED: "bad",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One environment on the page. `timeline` and `weekly` are pictures, None if nothing happened."""

    past: Past
    figures: Figures
    timeline: Markup | None
    weekly: Markup | None


def html(facts: Facts) -> str:
    """The page.

    Raises:
        UsageError: the libraries for it are not installed.
    """
    parts = [_part(past, facts) for past in facts.pasts]
    drawn = _Drawn()
    return _template().render(
        facts=facts,
        parts=parts,
        metrics=list(_metrics(facts.metrics)),
        measured=drawn.measured,
        version=__version__,
        undone=sum(one.failed for past in facts.pasts for one in past.deployments),
    )


def _part(past: Past, facts: Facts) -> Part:
    made = figures(past.deployments, facts.start, facts.now)
    if not past.deployments:
        return Part(past, made, None, None)
    return Part(past, made, _timeline(past, facts), _weekly(past, facts))


def _timeline(past: Past, facts: Facts) -> Markup:
    """Which version was deployed when: what was there before the start stands at the start."""
    versions = sorted({one.version for one in past.deployments}, key=natural)
    heights = {version: float(place) for place, version in enumerate(versions)}
    series: dict[str, list[tuple[datetime, float]]] = {"deployed": [], "stayed": [], "undone": [], "put back": []}
    for one in reversed(past.deployments):
        kind = "undone" if one.failed else "stayed" if one.is_change else "put back"
        point = max(one.when, facts.start), heights[one.version]
        series["deployed"].append(point)
        if one.when >= facts.start:
            series[kind].append(point)
    if past.deployed:
        series["deployed"].append((facts.now, heights[past.deployed.version]))
    names = {height: _short(f"v{version}") for version, height in heights.items()}
    return _picture(charts.over_time(_short(f"versions deployed in {past.environment} over time"), series, names))


def _weekly(past: Past, facts: Facts) -> Markup:
    """Deployments of each week that touches the span, counted back from now."""
    count = min(26, max(1, -(-(facts.now - facts.start) // _WEEK)))
    stayed, undone = [0] * count, [0] * count
    for one in past.deployments:
        place = count - 1 - (facts.now - one.when) // _WEEK
        if one.is_change and facts.start <= one.when <= facts.now and place >= 0:
            (undone if one.failed else stayed)[place] += 1
    weeks = [f"{facts.now - _WEEK * (count - place):%d %b}" for place in range(count)]
    return _picture(
        charts.by_week(_short(f"deployments to {past.environment} by week"), weeks, {"stayed": stayed, "undone": undone})
    )


def _metrics(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[dict[str, Any]]:
    """For each model its metrics, each with its numbers by version and a picture of them."""
    for model, versions in sorted(found.items()):
        ordered = sorted(versions, key=natural)
        names = sorted({name for known in versions.values() for name in known})
        rows = []
        for name in names[:_MOST_METRICS]:
            points = [(_short(version), versions[version][name]) for version in ordered if name in versions[version]]
            drawable = [(version, value) for version, value in points if abs(value) < float("inf")]
            picture = charts.over_versions(_short(f"{model}: {name}"), drawable) if drawable else ""
            rows.append({"name": name, "points": points, "picture": _picture(picture)})
        yield {"model": model, "rows": rows, "more": names[_MOST_METRICS:]}


class _Drawn:
    """Pictures of measurements: only so many, for a page has to open at once."""

    def __init__(self) -> None:
        self._left = _MOST_CHARTS

    def measured(self, name: str, values: Sequence[float | None], bounds: Sequence[float]) -> Markup | str:
        numbers = [one for one in (*values, *bounds) if one is not None]
        if not self._left or len(numbers) == len(bounds) or any(abs(one) > 1e100 for one in numbers):
            return ""
        self._left -= 1
        limits = ", ".join(f"{one:g}" for one in bounds)
        return _picture(
            charts.measured(_short(f"{name}: what was measured" + (f", limit {limits}" if limits else "")), values, bounds)
        )


# -- the template -----------------------------------------------------------------------------------------------------


@cache
def _template() -> Template:
    """Every value is escaped, after secrets and what nobody sees were taken out of it."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise UsageError("a report needs Jinja, which is not installed", hint=install("report")) from None
    made = Environment(
        loader=FileSystemLoader(_PLACE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
    )
    made.filters |= {
        "time": lambda when: f"{when:%Y-%m-%d %H:%M} UTC",
        "spoken": spoken,
        "page": _page,
        "tone": _tone,
        "until": lambda one: spoken((one.outcome.until - one.when).total_seconds()),
    }
    return made.get_template("page.html.jinja")


def _cleaned(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return clean(value if len(value) <= _LONGEST else f"{value[:_LONGEST]} …")


def _tone(one: Deployment) -> str:
    return "bad" if one.failed else _TONES[one.outcome.end]


def _page(url: str | None) -> str:
    """An address that may be a link; "" for any other: a record may name anything."""
    return url if url and url.startswith(("https://", "http://")) else ""


def _picture(svg: str) -> Markup:
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - made by charts, which escapes


def _short(text: str) -> str:
    """As it stands in a picture."""
    text = clean(text)
    return text if len(text) <= 60 else f"{text[:60]}…"
