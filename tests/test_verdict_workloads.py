"""Several workloads of one release: live when every one is, aborted or failed when any one is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter.argocd.state import ContainerImage, RunningRelease
from promoter.verdict import Kind, judge
from promoter.verdict.observation import Observation
from tests.support.argocd_recordings import altered, every_moment, moment

LIVE = moment("good-canary", 18.08, "2433")
ABORTED = moment("analysis-fails-abort-revert", 10.28, "f462")
STABLE, OTHER = (
    RunningRelease(ContainerImage("registry.example.com/fraud", tag, f"sha256:{tag[1:] * 64}")) for tag in ("v1", "v0")
)
MOMENTS = [at for at in every_moment() if at.seen.application is not None]


def together(*seen: Observation) -> Observation:
    first, *others = seen
    return replace(first, others=tuple(others))


def named(seen: Observation, name: str) -> Observation:
    assert seen.workload is not None
    return altered(seen, workload={"ref": replace(seen.workload.ref, name=name)})


def test_live_is_all_of_them() -> None:
    assert judge(together(LIVE.seen, named(LIVE.seen, "batch")), LIVE.expected).kind is Kind.LIVE


@pytest.mark.parametrize("order", [1, -1])
def test_one_that_aborted_decides_whatever_the_order(order: int) -> None:
    """A quick Deployment was judged in place of the Rollout that aborted, because it comes first in Argo CD's list."""
    well = altered(ABORTED.seen, rollout={"aborted": False, "phase": "Healthy"}, workload={"available": 3, "updated": 3})
    both = [well, replace(named(ABORTED.seen, "serving"), stable=STABLE)][::order]
    verdict = judge(together(*both), ABORTED.expected)
    assert (verdict.kind, verdict.restore) == (Kind.ABORTED, True)
    assert verdict.summary.startswith("Rollout serving: ")
    assert verdict.stable == STABLE


def test_stable_releases_that_differ_need_a_person() -> None:
    seen = together(replace(ABORTED.seen, stable=STABLE), replace(named(ABORTED.seen, "batch"), stable=OTHER))
    verdict = judge(seen, ABORTED.expected)
    assert (verdict.kind, verdict.restore) == (Kind.NEEDS_PERSON, False)
    assert "the stable releases of the workloads differ" in verdict.summary
    assert "sha256:000000" in verdict.summary


@given(st.lists(st.sampled_from(MOMENTS), min_size=2, max_size=4))
def test_never_live_unless_every_one_is(moments: list[object]) -> None:
    """Any recorded states at once: what one of them says is never hidden by another that is live."""
    chosen = [at for at in MOMENTS if any(at is one for one in moments)]
    expected = chosen[0].expected
    kinds = [judge(at.seen, expected).kind for at in chosen]
    verdict = judge(together(*(at.seen for at in chosen)), expected)
    assert (verdict.kind is Kind.LIVE) == (set(kinds) == {Kind.LIVE})
    if not {Kind.APPLICATION_GONE, Kind.COMMIT_GONE, Kind.SUPERSEDED} & set(kinds):
        failed = {Kind.ABORTED, Kind.FAILED} & set(kinds)
        assert not failed or verdict.kind in (Kind.ABORTED, Kind.FAILED, Kind.NEEDS_PERSON)
