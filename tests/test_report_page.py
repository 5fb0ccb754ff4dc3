"""The page of `promoter report` in a browser: it loads nothing, complains of nothing, and can be read at each width and in the dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from promoter.promotion.outcome import End, Outcome
from promoter.report import charts
from promoter.report.facts import Facts, Past
from promoter.report.page import html
from tests.support import browser as support
from tests.support.browser import Page
from tests.support.report_facts import NOW, START, at, deployment, record, story

MOST_BYTES = 3_000_000
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}\u202e"
needs_browser = pytest.mark.skipif(support.program() is None, reason="needs Chromium (.ci/browser)")


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.found}


def hostile() -> Facts:
    """Names, reasons, logs and a record in which somebody wrote a program."""
    evil = record("aborted", at(3), (HOSTILE, "0.5"), people={"pullRequest": "javascript:alert(1)", "approvers": [HOSTILE]})
    one = deployment(
        at(3),
        "7",
        outcome=Outcome(End.ABORTED, at(3, 1), reason=HOSTILE, by=HOSTILE),
        subject=HOSTILE,
        by=HOSTILE,
        reason=HOSTILE,
        log=HOSTILE,
        image=HOSTILE,
        url="javascript:alert(1)",
        recorded=evil,
    )
    past = Past(HOSTILE, HOSTILE, (one, replace(one, version=HOSTILE)), frozen=HOSTILE, links=((HOSTILE, "data:text/html,x"),))
    return Facts(START, NOW, (past, Past("x", "y", problem=HOSTILE)), {HOSTILE: {"7": {HOSTILE: 0.5}}}, (HOSTILE,))


def test_what_people_wrote_is_text_and_no_program() -> None:
    page = html(hostile())
    found = Elements(page)
    assert "script" not in found.tags
    assert "img" not in found.tags
    handlers = [name for _, attributes in found.found for name in attributes if name.startswith("on")]
    assert handlers == []
    links = [attributes["href"] for tag, attributes in found.found if tag == "a"]
    assert links
    assert [link for link in links if not str(link).startswith(("#", "https://"))] == []
    assert page.count("&lt;script&gt;alert(1)") > 10
    assert "{{ 7 * 7 }}" in page
    assert "\u202e" not in page


def test_what_is_not_known_is_shown_as_that() -> None:
    past = Past("production", "fraud-detector", problem="the Git server does not answer")
    page = html(Facts(START, NOW, (past,), notes=("metrics of fraud-detector are not known: MLflow does not answer",)))
    assert '<span class="unknown">not known</span>: the Git server does not answer' in page
    assert "MLflow does not answer" in page
    without = html(Facts(START, NOW, (Past("staging", "m", (deployment(at(1), "1", End.DEPLOYED),)),)))
    assert "no record was read" in without


def test_measurements_are_drawn_with_their_limits() -> None:
    seen = record("live", at(1), ("0.96", "0.97"))
    accuracy, latency = seen.analysis[0].metrics
    assert (accuracy.values, accuracy.bounds) == ((0.96, 0.97), (0.95,))
    assert (latency.values, latency.bounds) == ((0.12, 0.11, 0.14), (0.2,))
    drawn = charts.measured("accuracy", accuracy.values, accuracy.bounds)
    assert drawn.count('class="series serie-') == 4  # the line of what was measured and of the limit, each with its overlay
    assert ">0.95<" in drawn
    page = html(Facts(START, NOW, (Past("staging", "m", (deployment(at(1), "1", End.DEPLOYED, recorded=seen),)),)))
    assert "accuracy: what was measured, limit 0.95" in page
    assert "successCondition: result &gt;= 0.95" in page


def test_three_hundred_releases_are_not_too_much() -> None:
    page = html(story(300))
    assert page.count("<details") == 300
    assert len(page.encode()) < MOST_BYTES


# -- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with support.browser() as one:
        yield one


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_loads_nothing_and_complains_of_nothing(tab: Page, tmp_path: Path, width: int, scheme: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(html(story(30)))
    tab.requests.clear()
    tab.complaints.clear()
    tab.open(file.as_uri(), width, scheme)
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith("data:")] == [file.as_uri()]
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert (
        tab.value(
            "[...document.querySelectorAll('figure svg')].filter(one => one.getBoundingClientRect().height < 40 && one.checkVisibility()).length"
        )
        == 0
    )
    assert tab.value("document.querySelectorAll('.timeline svg circle').length") == 30
    assert (
        tab.value("getComputedStyle(document.body).backgroundColor")
        == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    )


@needs_browser
def test_a_program_in_a_name_does_not_run(tab: Page, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(html(hostile()))
    tab.complaints.clear()
    tab.open(file.as_uri(), 1000, "light")
    assert tab.complaints == []
    assert "alert(1)" in tab.value("document.body.innerText")


@needs_browser
@pytest.mark.skipif(not support.AXE.exists(), reason="needs axe-core (.ci/browser)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everybody(tab: Page, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(html(story(18)))
    tab.open(file.as_uri(), 1000, scheme)
    tab.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
    tab.value(support.AXE.read_text())
    found = json.loads(
        tab.value("axe.run().then(done => JSON.stringify(done.violations.map(one => [one.impact, one.id, one.nodes[0].html])))")
    )
    assert [one for one in found if one[0] in ("serious", "critical")] == []
