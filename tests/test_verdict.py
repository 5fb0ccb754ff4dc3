"""The verdict over every recorded line of a live Argo CD, against labels written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promoter.argocd.state import AnalysisRunState, ContainerImage, MetricResult, RunningRelease
from promoter.verdict import Kind, Verdict, judge
from promoter.verdict.evidence import about_analysis
from promoter.verdict.live import CONDITIONS, unmet
from promoter.verdict.observation import Expectation, Observation
from tests.support.argocd_recordings import DATA, altered, every_moment, labelled, labels, moment, moments

PROMOTIONS = [(scenario, one["commit"]) for scenario in labelled() for one in labels(scenario)["promotions"]]


@pytest.mark.parametrize(
    ("scenario", "commit"), PROMOTIONS, ids=[f"{scenario}-{commit[:4]}" for scenario, commit in PROMOTIONS]
)
def test_no_line_of_a_recording_is_judged_wrongly(scenario: str, commit: str) -> None:
    wrong = []
    for at in moments(scenario, commit):
        verdict, right = judge(at.seen, at.expected), at.label
        said = (verdict.kind, verdict.reason, verdict.restore, verdict.sync_due, verdict.held_by)
        if said != (right.kind, right.reason, right.restore, right.sync_due, right.held_by):
            wrong.append(f"{at.t} {at.call}: {verdict} instead of {right}")
    assert len(moments(scenario, commit)) > 5
    assert not wrong, "\n".join(wrong[:5])


def test_no_line_of_evidence_ends_where_its_words_should_begin() -> None:
    """What Argo CD leaves empty, the message of an operation that begins for example, has no colon in front of it."""
    lines = {line for at in every_moment() for line in judge(at.seen, at.expected).evidence}
    assert any("is Running" in line for line in lines)
    assert not [line for line in lines if line.rstrip() != line or line.endswith(":")]


def test_every_scenario_with_a_promotion_is_labelled() -> None:
    recorded = {path.name.removesuffix(".jsonl.gz") for path in DATA.glob("*.jsonl.gz")}
    assert set(labelled()) == recorded - {"errors"}


LIVE = moment("good-canary", 18.08, "2433")
SWITCHED = moment("blue-green-good", 15.91, "0565")


def with_model_version(seen: Observation, version: str) -> Observation:
    assert seen.workload is not None
    return altered(seen, workload={"template": replace(seen.workload.template, model_version=version)})


def out_of_sync(seen: Observation) -> Observation:
    """The workload itself is OutOfSync, and it is not known in what."""
    assert seen.application is not None
    assert seen.workload is not None
    ours = seen.workload.ref.name
    resources = tuple(replace(one, sync="OutOfSync") if one.ref.name == ours else one for one in seen.application.resources)
    return altered(seen, application={"sync": "OutOfSync", "resources": resources})


HAND_MADE = [
    (altered(LIVE.seen, git={"ancestor": False}), LIVE.expected),
    (replace(altered(LIVE.seen, application={"revision": "main"}), compared_since=False), LIVE.expected),
    (out_of_sync(LIVE.seen), LIVE.expected),
    (with_model_version(LIVE.seen, "1"), LIVE.expected),
    (altered(LIVE.seen, workload={"updated": 2}), LIVE.expected),
    (altered(LIVE.seen, workload={"available": 2}), LIVE.expected),
    (altered(LIVE.seen, workload={"desired": 0, "updated": 0, "available": 0}), LIVE.expected),
    (altered(SWITCHED.seen, rollout={"active_hash": "7c46b48754"}), SWITCHED.expected),
    (altered(LIVE.seen, rollout={"stable_hash": "76ff479cf6"}), LIVE.expected),
    (altered(LIVE.seen, rollout={"stable_hash": "", "current_hash": ""}), LIVE.expected),
]


@pytest.fixture(scope="module")
def not_live() -> list[tuple[Observation, Expectation]]:
    recorded = [(one.seen, one.expected) for one in every_moment() if one.label.kind != "live"]
    return recorded + HAND_MADE


@pytest.mark.parametrize("dropped", [name for name, _ in CONDITIONS])
def test_without_any_one_condition_something_would_wrongly_be_live(
    dropped: str, not_live: list[tuple[Observation, Expectation]]
) -> None:
    others = [(name, holds) for name, holds in CONDITIONS if name != dropped]
    assert all(unmet(seen, expected) for seen, expected in not_live)
    assert any(not unmet(seen, expected, others) for seen, expected in not_live)


@pytest.mark.parametrize(("seen", "expected"), HAND_MADE)
def test_a_line_that_is_live_but_for_one_thing_is_not(seen: Observation, expected: Expectation) -> None:
    assert judge(LIVE.seen, LIVE.expected).kind is judge(SWITCHED.seen, SWITCHED.expected).kind is Kind.LIVE
    assert judge(seen, expected).kind is not Kind.LIVE


# -- what a verdict reports -------------------------------------------------------------------------------------------


def test_a_verdict_shows_how_far_the_canary_is() -> None:
    seen = {one.t: judge(one.seen, one.expected) for one in moments("good-canary", LIVE.expected.commit)}
    progress = [(seen[t].step, seen[t].steps, seen[t].weight) for t in (3.31, 8.04, 12.28, 17.02, 17.56)]
    assert progress == [(0, 5, 34), (2, 5, 34), (3, 5, 67), (5, 5, 100), (5, 5, 100)]


def test_an_abort_shows_what_was_measured_by_our_own_analysis() -> None:
    at = moment("superseded-then-aborted", 18.25, "671d")
    stable = RunningRelease(ContainerImage("127.0.0.1:5005/models/fraud-detector", "v8", "sha256:f0"), "8")
    verdict = judge(replace(at.seen, stable=stable), at.expected)
    assert verdict.analysis is not None
    assert verdict.analysis.name == "fraud-detector-68b9c65967-41-2"  # the run of revision 37 is of the same pod template
    assert "metric success-rate Failed, measured [0.3], [0.32231404958677684]" in verdict.evidence[1]
    assert (verdict.weight, verdict.quarantine, verdict.stable) == (0, True, stable)
    assert at.seen.workload is not None
    assert at.seen.workload.stable_replica_set == "fraud-detector-748c9f974b"


def test_a_release_that_no_analysis_looked_at_shows_it() -> None:
    """Rollouts skips steps and analysis of a template that it had before; a run of that time judges nothing today."""
    looked_at = judge(LIVE.seen, LIVE.expected)
    assert (looked_at.kind, looked_at.analysis is None) == (Kind.LIVE, False)
    assert [line for line in looked_at.evidence if "no AnalysisRun" in line] == []
    earlier = tuple(replace(run, revision="1") for run in LIVE.seen.analysis_runs)
    for runs in ((), earlier):
        skipped = judge(replace(LIVE.seen, analysis_runs=runs), LIVE.expected)
        assert (skipped.kind, skipped.evidence[-1]) == (
            Kind.LIVE,
            "Argo CD shows no AnalysisRun of this release: no analysis looked at it, or its runs were not kept",
        )


def test_the_measurement_that_failed_comes_first() -> None:
    metrics = (MetricResult("latency", "Successful", values=("0.1",)), MetricResult("accuracy", "Failed", values=("0.4",)))
    assert about_analysis(AnalysisRunState("run", "Failed", metrics=metrics)) == (
        "analysis run: metric accuracy Failed, measured 0.4",
        "analysis run: metric latency Successful, measured 0.1",
    )


def test_a_pod_that_waits_is_reported_long_before_the_deadline() -> None:
    crashing = moment("crash-loop-progress-deadline", 6.00, "f4af")
    assert any(
        "CrashLoopBackOff, restarted 1 times: back-off 10s" in told for told in judge(crashing.seen, crashing.expected).evidence
    )
    missing = moment("image-missing", 3.31, "4eca")
    verdict = judge(missing.seen, missing.expected)
    assert "127.0.0.1:5000/models/fraud-detector@sha256:9999" in verdict.evidence[0]
    assert "not found" in verdict.evidence[0]
    assert not verdict.quarantine


def test_a_degraded_application_is_reported_and_live_anyway() -> None:
    at = moment("hpa-degraded-rollout-healthy", 44.17, "66d3")
    verdict = judge(at.seen, at.expected)
    assert verdict.kind is Kind.LIVE
    assert verdict.evidence[0] == "the Application is Degraded"
    assert verdict.evidence[1].startswith("HorizontalPodAutoscaler fraud-detector is Degraded: ")


def test_a_mask_names_the_override_and_what_runs() -> None:
    at = moment("application-overrides-image", 39.97, "0132")
    verdict = judge(at.seen, at.expected)
    assert verdict.override == "model-server=127.0.0.1:5000/models/fraud-detector:v1-20261101T090000Z"
    assert "runs 127.0.0.1:5000/models/fraud-detector:v1-20261101T090000Z, not" in verdict.evidence[0]


def test_verdicts_on_the_way_are_not_terminal() -> None:
    assert {kind for kind in Kind if not Verdict(kind, "").terminal} == {Kind.NOT_OBSERVED, Kind.SYNCING, Kind.ROLLING}
