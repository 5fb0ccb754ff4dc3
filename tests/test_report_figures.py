"""DORA's four figures, compared with what a person gets on paper from the same history (https://dora.dev)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from promoter.promotion.outcome import Act, End, Outcome
from promoter.report.figures import figures
from tests.support.report_facts import NOW, START, at, deployment, record

HOUR = 3600.0

# Written newest first, as Git has it. Six changes in 30 days; v9 was there before. Two of them were undone: after 2 h and after 30 min.
HISTORY = (
    deployment(at(29), "14", End.DEPLOYED, created=30.0),
    deployment(at(20, 0.5), "12", End.REPLACED, act=Act.ROLLED_BACK, hours=100),
    deployment(at(20), "13", End.ROLLED_BACK, created=3.0, hours=0.5),
    deployment(at(15), "12", End.REPLACED, created=10.0, hours=120, recorded=record("live", at(15, 1))),
    deployment(at(10, 2), "10", End.REPLACED, act=Act.RESTORED, hours=118),
    deployment(at(10), "11", End.ABORTED, created=1.0, hours=2),
    deployment(at(5), "10", End.REPLACED, created=20.0, hours=120, act=Act.BY_HAND),
    deployment(at(2), "9", End.REPLACED, hours=72, created=148.0),
    deployment(at(-4), "9", End.REPLACED, hours=144, created=4.0),
)


def test_the_four_figures_are_those_of_a_person_with_a_pencil() -> None:
    found = figures(HISTORY, START, NOW)
    # Six commits brought a wanted release: v9 again, v10, v11, v12, v13, v14. What a restore or a rollback put back is none.
    assert found.deployments == 6
    assert found.per_day == pytest.approx(6 / 30)
    # Versions that got in for the first time and stayed: v10 after 20 h, v12 after 11 h (10 h and one until it was live), v14 after 30 h.
    assert (found.lead_times, found.to_live) == (3, 1)
    assert found.lead_time == 20 * HOUR
    # v11 and v13 of six.
    assert found.failed == 2
    assert found.failure_ratio == pytest.approx(2 / 6)
    # The median of 2 h and 30 min.
    assert (found.restores, found.restore_time, found.unrestored) == (2, 1.25 * HOUR, 0)


def test_nothing_is_known_of_an_environment_without_releases() -> None:
    found = figures((), START, NOW)
    assert (found.deployments, found.per_day) == (0, 0.0)
    assert (found.lead_time, found.failure_ratio, found.restore_time) == (None, None, None)


def test_a_failure_that_a_watch_saw_and_nobody_undid_is_not_restored() -> None:
    held = deployment(at(3), "7", End.DEPLOYED, created=2.0, recorded=record("failed", at(3, 1)))
    found = figures((held,), START, NOW)
    assert (found.failed, found.unrestored, found.restore_time) == (1, 1, None)
    assert found.lead_time is None
    repaired = replace(held, outcome=Outcome(End.REPLACED, at(3, 5)))
    assert figures((repaired,), START, NOW).restore_time == 5 * HOUR


def test_what_is_replaced_is_not_failed_and_a_clock_that_is_wrong_gives_no_negative_time() -> None:
    early = deployment(at(3), "7", End.REPLACED, created=-1.0, hours=2)
    found = figures((early,), START, NOW)
    assert (found.failed, found.failure_ratio, found.lead_time) == (0, 0.0, 0.0)


def test_only_what_came_within_the_span_counts() -> None:
    found = figures(HISTORY, NOW - timedelta(days=12), NOW)
    assert (found.deployments, found.failed, found.lead_time) == (2, 1, 30 * HOUR)
