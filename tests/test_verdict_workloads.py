"""Several workloads of one release: live when every one is, aborted or failed when any one is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter.argocd.state import ContainerImage, ManagedResource, PodTemplate, RunningRelease
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


EXPLAINER = PodTemplate((ContainerImage("registry.example.com/explainer", "v1"),), LIVE.expected.release.version)


def explaining(seen: Observation) -> Observation:
    """The same state of a workload that has an image of its own, and carries the model version."""
    return replace(altered(named(seen, "explainer"), workload={"template": EXPLAINER}), by_version=True)


def test_one_with_an_image_of_its_own_is_judged_by_the_model_version() -> None:
    verdict = judge(together(LIVE.seen, explaining(LIVE.seen)), LIVE.expected)
    assert verdict.kind is Kind.LIVE
    assert verdict.summary.endswith("; version 2 in explainer is live: 3 of 3 replicas")
    old = altered(explaining(LIVE.seen), workload={"template": replace(EXPLAINER, model_version="1")})
    assert judge(together(LIVE.seen, old), LIVE.expected).kind is Kind.SYNCING


@pytest.mark.parametrize(("version", "differ"), [("1", False), ("0", True)])
def test_the_stable_release_of_all_is_the_one_with_the_models_image(version: str, differ: bool) -> None:
    stable = RunningRelease(ContainerImage("registry.example.com/explainer", "v1"), version, by_version=True)
    first = replace(ABORTED.seen, stable=replace(STABLE, model_version="1"))
    verdict = judge(together(replace(explaining(ABORTED.seen), stable=stable), first), ABORTED.expected)
    assert verdict.restore is not differ
    assert verdict.stable == (first.stable if not differ else verdict.stable)


OTHER_IMAGE = "another image"
OTHER_VERSION = "another version"
FAULTS: dict[str, dict[str, Any]] = {
    "the controller has not observed it": {"workload": {"observed_generation": 0}},
    "not healthy": {"rollout": {"phase": "Progressing"}},
    "old pods are stable": {"rollout": {"stable_hash": "other"}},
    "aborted": {"rollout": {"aborted": True, "phase": "Degraded"}},
    "not updated": {"workload": {"updated": 1}},
    "not available": {"workload": {"available": 2}},
    "scaled to zero": {"workload": {"desired": 0, "available": 0, "updated": 0, "total": 0}},
    "missing": {"workload": None},
}
faults = st.none() | st.sampled_from([OTHER_IMAGE, OTHER_VERSION, *FAULTS])
synced = st.sampled_from(["Synced", "OutOfSync"])


def at_fault(seen: Observation, fault: str | None) -> Observation:
    assert seen.workload is not None
    template = seen.workload.template
    if fault == OTHER_VERSION:
        return altered(seen, workload={"template": replace(template, model_version="1")})
    if fault == OTHER_IMAGE:
        return altered(seen, workload={"template": replace(template, images=(ContainerImage("registry.example.com/x", "v1"),))})
    return altered(seen, **FAULTS.get(fault or "", {}))


@given(st.lists(st.tuples(faults, st.booleans(), synced), min_size=1, max_size=4), synced)
def test_no_combination_of_states_is_live_unless_every_workload_is(
    drawn: list[tuple[str | None, bool, str]], sync: str
) -> None:
    """Each in order or at fault, Synced or not, with the model's image or one of its own: which is another image anyway."""
    seen, own, all_live = [], [], True
    for number, (fault, by_version, status) in enumerate(drawn):
        one = named(explaining(LIVE.seen) if by_version else LIVE.seen, f"workload-{number}")
        assert one.workload is not None
        own.append(ManagedResource(one.workload.ref, status, "Healthy"))
        seen.append(replace(at_fault(one, fault), ref=one.workload.ref))
        well = fault is None or (by_version and fault == OTHER_IMAGE)
        all_live = all_live and well and "Synced" in (sync, status)
    listed = {"sync": sync, "resources": tuple(own)}
    observations = [altered(one, application=listed, git={"operation_ancestor": True}) for one in seen]
    verdict = judge(together(*observations), LIVE.expected)
    assert (verdict.kind is Kind.LIVE) == all_live, verdict


@given(st.lists(st.sampled_from(MOMENTS), min_size=2, max_size=4))
def test_never_live_unless_every_one_is(moments: list[object]) -> None:
    """Any recorded states at once: what one of them reports is never hidden by another that is live."""
    chosen = [at for at in MOMENTS if any(at is one for one in moments)]
    expected = chosen[0].expected
    kinds = [judge(at.seen, expected).kind for at in chosen]
    verdict = judge(together(*(at.seen for at in chosen)), expected)
    assert (verdict.kind is Kind.LIVE) == (set(kinds) == {Kind.LIVE})
    if not {Kind.APPLICATION_GONE, Kind.COMMIT_GONE, Kind.SUPERSEDED} & set(kinds):
        failed = {Kind.ABORTED, Kind.FAILED} & set(kinds)
        assert not failed or verdict.kind in (Kind.ABORTED, Kind.FAILED, Kind.NEEDS_PERSON)
