"""What no recording shows: the rules on observations made by hand from recorded ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promoter.argocd.state import (
    AnalysisRunState,
    CanaryStep,
    Condition,
    ContainerImage,
    OperationState,
    PodState,
    PodTemplate,
    ResourceResult,
    SyncWindows,
)
from promoter.verdict import Kind, Reason, Verdict, judge
from promoter.verdict.evidence import image_refused
from promoter.verdict.observation import Deployed
from tests.support.argocd_recordings import Moment, altered, moment

CANARY = moment("good-canary", 8.05, "2433")
WAITING = moment("render-error-then-auto-sync-stuck", 10.66, "d3ca")
FAILING = moment("sync-fails-and-retries", 14.07, "5103")
BROKEN = moment("render-error-then-auto-sync-stuck", 3.85, "7de5")
ABORTED = moment("analysis-fails-abort-revert", 10.28, "f462")
MASKED = moment("application-overrides-image", 39.97, "0132")
BLUE_GREEN = moment("blue-green-good", 13.76, "0565")
DIGEST = CANARY.expected.release.digest


def said(of: Moment, **changes: Any) -> Verdict:
    return judge(altered(of.seen, **changes), of.expected)


# -- still this release -----------------------------------------------------------------------------------------------


def test_an_application_that_is_being_deleted_is_gone() -> None:
    assert said(CANARY, application={"deleting": True}).kind is Kind.APPLICATION_GONE


def test_nothing_is_synced_at_what_is_no_commit() -> None:
    """Argo CD names the branch only where rendering failed, and then it compares nothing."""
    assert said(CANARY).kind is not Kind.NOT_OBSERVED
    assert said(CANARY, application={"revision": "main", "sync": "Synced"}).kind is Kind.NOT_OBSERVED


def test_a_rewritten_branch_takes_our_commit_away() -> None:
    assert said(CANARY, git={"reachable": False}).kind is Kind.COMMIT_GONE


@pytest.mark.parametrize("ancestor", [False, None])
def test_what_is_not_known_to_contain_our_commit_proves_nothing_about_it(ancestor: bool | None) -> None:
    assert said(ABORTED, git={"ancestor": ancestor, "deployed": Deployed.UNKNOWN}).kind is Kind.NOT_OBSERVED


# -- rendering --------------------------------------------------------------------------------------------------------


def test_a_repository_that_can_not_be_reached_is_no_failure_of_the_overlay() -> None:
    unreachable = Condition("ComparisonError", "Failed to load target state: failed to list refs: dial tcp: i/o timeout")
    verdict = said(BROKEN, application={"conditions": (unreachable,)})
    assert verdict.kind is Kind.NOT_OBSERVED
    assert "i/o timeout" in verdict.evidence[0]


def test_an_invalid_application_is_reported_and_git_stays() -> None:
    verdict = said(BROKEN, application={"conditions": (Condition("InvalidSpecError", "app is not allowed in project"),)})
    assert (verdict.kind, verdict.reason, verdict.restore) == (Kind.FAILED, Reason.INVALID_SPEC, False)


@pytest.mark.parametrize("sole", [False, None])
def test_a_failure_that_does_not_begin_with_our_commit_is_not_fixed_by_taking_it_back(sole: bool | None) -> None:
    verdict = said(BROKEN, git={"sole_change": sole})
    assert (verdict.reason, verdict.restore) == (Reason.RENDER, False)
    assert "other commits since the last synced revision (9f002eff)" in verdict.evidence[-1]


def test_a_later_commit_that_does_not_render_is_waited_for() -> None:
    verdict = said(BROKEN, git={"sole_change": False, "renders": True})
    assert (verdict.kind, verdict.terminal, verdict.restore) == (Kind.SYNCING, False, False)
    assert "waiting until somebody fixes it" in verdict.summary
    assert said(BROKEN, git={"sole_change": True, "renders": False}).restore


def test_an_abort_of_ours_stands_although_somebody_broke_the_overlay_since() -> None:
    assert BROKEN.seen.application is not None
    broken = {"sync": "Unknown", "revision": "main", "conditions": BROKEN.seen.application.conditions}
    verdict = said(ABORTED, application=broken, git={"sole_change": False})
    assert (verdict.kind, verdict.restore) == (Kind.ABORTED, True)


def test_a_later_commit_that_does_not_render_leaves_our_canary_going() -> None:
    assert BROKEN.seen.application is not None
    broken = {"sync": "Unknown", "revision": "main", "conditions": BROKEN.seen.application.conditions}
    assert said(CANARY, application=broken, git={"sole_change": False}).kind is Kind.ROLLING
    live = moment("good-canary", 18.08, "2433")
    verdict = said(live, application=broken, git={"sole_change": False})
    assert verdict.kind is Kind.SYNCING
    assert any("kustomize build" in told for told in verdict.evidence)


# -- syncing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"application": {"auto_sync": False}}, Reason.AUTO_SYNC_OFF),
        ({"sync_requested": True}, Reason.AUTO_SYNC_SKIPPED),
        ({"sync_windows": SyncWindows(blocks_auto_sync=True)}, Reason.SYNC_WINDOW),
    ],
)
def test_nobody_will_sync_unless_a_person_does(changes: dict[str, Any], reason: Reason) -> None:
    verdict = said(WAITING, **changes)
    assert (verdict.kind, verdict.reason, verdict.terminal) == (Kind.NEEDS_PERSON, reason, True)


def test_no_sync_is_asked_for_while_an_operation_is_requested() -> None:
    assert said(WAITING).sync_due
    verdict = said(WAITING, application={"operation": None, "operation_requested": True})
    assert (verdict.kind, verdict.sync_due, verdict.held_by) == (Kind.SYNCING, False, "")


def test_a_sync_that_begins_to_fail_with_our_commit_calls_for_a_restore() -> None:
    verdict = said(FAILING, git={"sole_change": True})
    assert (verdict.kind, verdict.reason, verdict.restore) == (Kind.FAILED, Reason.SYNC, True)
    assert verdict.evidence[1].startswith('ConfigMap Not_A_Valid_Name: ConfigMap "Not_A_Valid_Name" is invalid')


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"retry_count": 1}, Kind.SYNCING),
        ({"finished_at": None}, Kind.SYNCING),
        ({"phase": "Terminating"}, Kind.SYNCING),
        ({"phase": "Succeeded"}, Kind.SYNCING),
        ({}, Kind.FAILED),
    ],
)
def test_an_operation_has_failed_when_its_first_retry_failed_too(operation: dict[str, Any], kind: Kind) -> None:
    assert FAILING.seen.application is not None
    assert FAILING.seen.application.operation is not None
    changed = {"operation": replace(FAILING.seen.application.operation, **operation)}
    assert said(FAILING, application=changed, git={"sole_change": True}).kind is kind


def test_a_failed_hook_is_distinguished_from_a_failed_sync() -> None:
    assert CANARY.seen.application is not None
    hook = ResourceResult(
        "Job", "migrate", hook_type="PreSync", hook_phase="Failed", message="Job has reached the backoff limit"
    )
    operation = OperationState("Failed", CANARY.expected.commit, "one or more tasks failed", resources=(hook,))
    assert CANARY.seen.workload is not None
    before = PodTemplate((ContainerImage("registry.example.com/fraud", "v0", "sha256:" + "0" * 64),))
    verdict = said(CANARY, application={"operation": operation, "sync": "OutOfSync"}, workload={"template": before})
    assert (verdict.kind, verdict.reason) == (Kind.FAILED, Reason.HOOK)
    assert "Job migrate: Job has reached the backoff limit" in verdict.evidence


def test_a_later_commit_that_can_not_be_applied_leaves_our_canary_going() -> None:
    failed = OperationState("Failed", "f" * 40, "one or more objects failed to apply")
    later = {"operation": failed, "sync": "OutOfSync", "revision": "f" * 40}
    assert said(CANARY, application=later, git={"sole_change": False}).kind is Kind.ROLLING
    assert said(CANARY, application=later, git={"sole_change": True}).reason is Reason.SYNC


def test_an_operation_of_which_git_knows_nothing_yet_asks_for_no_sync() -> None:
    assert said(WAITING, git={"operation_ancestor": None}).sync_due is False


def test_a_failed_operation_of_somebody_else_proves_nothing_about_us() -> None:
    assert said(FAILING, git={"operation_ancestor": False}).held_by == FAILING.expected.commit
    assert said(CANARY, git={"operation_ancestor": None}).kind is Kind.ROLLING


# -- workload ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "reason", "quarantine"),
    [
        ("", Reason.ABORTED_BY_HAND, True),
        (
            ': Step-based analysis phase error/failed: Metric "m" assessed Failed due to failed (1) > failureLimit (0)',
            Reason.ANALYSIS_FAILED,
            True,
        ),
        (
            ': Background analysis phase error/failed: Metric "m" assessed Error due to consecutiveErrors (5)',
            Reason.ANALYSIS_ERROR,
            False,
        ),
        (': ReplicaSet "x-1" has timed out progressing.', Reason.PROGRESS_DEADLINE, False),
        (": Step Plugin org/x failed", Reason.OTHER, False),
    ],
)
def test_only_what_speaks_against_the_model_quarantines_it(why: str, reason: Reason, quarantine: bool) -> None:
    message = f"RolloutAborted: Rollout aborted update to revision 3{why}"
    verdict = said(ABORTED, rollout={"message": message})
    assert (verdict.reason, verdict.quarantine, verdict.restore) == (reason, quarantine, True)
    assert verdict.evidence[0] == message


def test_an_abort_of_what_is_stable_itself_leaves_nothing_to_restore() -> None:
    assert ABORTED.seen.workload is not None
    assert ABORTED.seen.workload.rollout is not None
    verdict = said(ABORTED, rollout={"stable_hash": ABORTED.seen.workload.rollout.current_hash})
    assert (verdict.kind, verdict.restore) == (Kind.ABORTED, False)
    assert "no earlier stable release" in verdict.evidence[-1]


@pytest.mark.parametrize(
    ("of", "rollout", "reason"),
    [
        (CANARY, {"paused_by_hand": True}, Reason.PAUSED_BY_HAND),
        (CANARY, {"pause_reasons": ("InconclusiveExperiment",)}, Reason.INCONCLUSIVE),
        (
            CANARY,
            {"pause_reasons": ("CanaryPauseStep",), "step": 0, "steps": (CanaryStep(pauses_forever=True),)},
            Reason.INDEFINITE_PAUSE,
        ),
        (CANARY, {"pause_reasons": ("CanaryPauseStep",), "step": 0, "steps": (CanaryStep(),)}, None),
        (BLUE_GREEN, {"pause_reasons": ("BlueGreenPause",), "auto_promotes": False}, Reason.INDEFINITE_PAUSE),
        (BLUE_GREEN, {"pause_reasons": ("BlueGreenPause",)}, None),
    ],
)
def test_a_pause_needs_a_person_only_if_nothing_else_ends_it(of: Any, rollout: dict[str, Any], reason: Reason | None) -> None:
    verdict = said(of, rollout=rollout)
    assert (verdict.kind, verdict.reason) == (Kind.NEEDS_PERSON if reason else Kind.ROLLING, reason)


def test_an_inconclusive_analysis_is_shown() -> None:
    at = moment("inconclusive-analysis", 11.96, "11c3")
    assert judge(at.seen, at.expected).evidence == (
        "analysis fraud-detector-97b64f5c5-15-2: metric success-rate Inconclusive, measured 1",
    )


def test_an_analysis_of_another_release_is_never_shown() -> None:
    others = tuple(replace(run, hash="76ff479cf6") for run in CANARY.seen.analysis_runs)
    older = tuple(replace(run, revision="1") for run in CANARY.seen.analysis_runs)
    assert said(CANARY).analysis is not None
    assert said(CANARY, analysis_runs=others).analysis is None
    assert said(CANARY, analysis_runs=older).analysis is None


def test_of_several_analyses_the_one_that_failed_is_shown() -> None:
    (ours,) = CANARY.seen.analysis_runs
    failed = AnalysisRunState("background", "Failed", ours.hash, ours.revision)
    assert said(CANARY, analysis_runs=(ours, failed, replace(ours, name="later"))).analysis == failed


# -- images -----------------------------------------------------------------------------------------------------------

NOT_FOUND = (
    'failed to pull and unpack image "r.example.com/m@sha256:99": failed to resolve reference "r.example.com/m@sha256:99": '
)


@pytest.mark.parametrize(
    ("reason", "message", "refused"),
    [
        ("ErrImagePull", f"rpc error: code = NotFound desc = {NOT_FOUND}r.example.com/m@sha256:99: not found", True),
        ("ImagePullBackOff", f'Back-off pulling image "r.example.com/m": ErrImagePull: {NOT_FOUND}manifest unknown', True),
        ("ErrImagePull", f"{NOT_FOUND}pull access denied, repository does not exist or may require authorization", True),
        (
            "ErrImagePull",
            f"{NOT_FOUND}failed to authorize: unexpected status from GET request to https://a/t: 401 Unauthorized",
            True,
        ),
        ("ErrImagePull", f"{NOT_FOUND}unexpected status from HEAD request to https://r/v2/m: 503 Service Unavailable", False),
        ("ErrImagePull", f"{NOT_FOUND}dial tcp: lookup r.example.com: no such host", False),
        ("ErrImagePull", f"{NOT_FOUND}net/http: TLS handshake timeout", False),
        ("ErrImagePull", 'failed to pull "r/access-denied:1": r/denied/forbidden:1: unexpected status: 500', False),
        ("ImagePullBackOff", 'Back-off pulling image "r/not found"', False),
        ("CrashLoopBackOff", "permission denied", False),
    ],
)
def test_a_registry_that_refuses_is_distinguished_from_one_that_can_not_answer(
    reason: str, message: str, refused: bool
) -> None:
    assert image_refused(PodState("pod", status_reason=reason, message=message)) is refused


def waiting(digest: str, hash: str) -> PodState:
    image = ContainerImage("127.0.0.1:5000/models/fraud-detector", "", digest)
    return PodState("pod", (image,), hash, "Degraded", "ErrImagePull", "not found")


def test_only_our_own_pods_speak_of_our_image() -> None:
    assert said(CANARY, pods=(waiting(DIGEST, "7c46b48754"),)).reason is Reason.IMAGE
    assert said(CANARY, pods=(waiting("sha256:other", "7c46b48754"),)).kind is Kind.ROLLING
    assert said(CANARY, pods=(waiting(DIGEST, "76ff479cf6"),)).kind is Kind.ROLLING


def test_a_node_that_can_not_pull_later_does_not_take_a_live_release_back() -> None:
    live = moment("good-canary", 18.08, "2433")
    assert said(live, pods=(waiting(DIGEST, "7c46b48754"),)).kind is Kind.LIVE


# -- masked -----------------------------------------------------------------------------------------------------------


def test_what_the_sync_applied_proves_a_mask_without_an_override() -> None:
    assert said(MASKED, application={"image_overrides": ()}).kind is Kind.MASKED


def test_a_workload_read_too_early_proves_no_mask() -> None:
    """Synced at our commit with the workload of before: the pair that reading one after the other can give."""
    at = moment("application-deleted", 2.82, "201c")
    assert judge(at.seen, at.expected).kind is Kind.SYNCING
    verdict = said(MASKED, application={"image_overrides": (), "operation": None})
    assert verdict.kind is Kind.SYNCING
    assert any("manifest-generate-paths and ignoreDifferences" in line for line in verdict.evidence)


def test_a_live_object_that_differs_from_what_was_applied_is_masked() -> None:
    applied = PodTemplate((ContainerImage("r", "t", MASKED.expected.release.digest),), "7")
    verdict = said(MASKED, application={"image_overrides": (), "operation": None}, workload={"applied": applied})
    assert (verdict.kind, verdict.override) == (Kind.MASKED, "")


@pytest.mark.parametrize(
    ("override", "masks"),
    [
        ("model-server=elsewhere/x:1", True),
        ("127.0.0.1:5000/models/fraud-detector:v1", True),
        ("127.0.0.1:5000/models/fraud-detector=elsewhere/x:1", True),
        (f"model-server=127.0.0.1:5000/models/fraud-detector@{MASKED.expected.release.digest}", False),
        ("sidecar=envoy:1", False),
        ("envoy:1", False),
    ],
)
def test_only_an_override_of_our_image_by_another_masks(override: str, masks: bool) -> None:
    verdict = said(MASKED, application={"image_overrides": (override,), "operation": None})
    assert (verdict.kind, verdict.override) == ((Kind.MASKED, override) if masks else (Kind.SYNCING, ""))
