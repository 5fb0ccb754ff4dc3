"""Shapes that an Application takes: what other objects do is evidence, and what our own workload does decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter.argocd.state import (
    Condition,
    ContainerImage,
    Difference,
    FieldManager,
    ManagedResource,
    OperationState,
    PodTemplate,
    ResourceRef,
    ResourceResult,
)
from promoter.models import Application
from promoter.verdict import Kind, Reason, Verdict, judge
from promoter.verdict.live import WORKLOAD_CONDITIONS, unmet
from promoter.verdict.observation import Observation
from tests.support.argocd_recordings import Moment, altered, every_moment, moment

LIVE = moment("good-canary", 18.08, "2433")
CANARY = moment("good-canary", 8.05, "2433")
BEFORE = PodTemplate((ContainerImage("registry.example.com/fraud", "v0", "sha256:" + "0" * 64),))
SYNCING = replace(CANARY, seen=altered(CANARY.seen, workload={"template": BEFORE}))
HPA = ResourceRef("autoscaling", "HorizontalPodAutoscaler", "ns", "inference-service")
UNWELL = ResourceResult(HPA.kind, HPA.name, "Synced", "the HPA was unable to compute the replica count", hook_phase="Failed")
MIGRATION = ResourceResult(
    "Job", "migrate", hook_type="PostSync", hook_phase="Failed", message="Job has reached the backoff limit"
)
REJECTED = ResourceResult("ConfigMap", "Not_A_Name", "SyncFailed", "ConfigMap is invalid")


def application(at: Moment, **changes: Any) -> Verdict:
    return judge(altered(at.seen, application=changes), at.expected)


def operation(at: Moment, **changes: Any) -> OperationState:
    assert at.seen.application is not None
    assert at.seen.application.operation is not None
    return replace(at.seen.application.operation, **changes)


def resources(at: Moment, *others: ManagedResource, sync: str = "Synced") -> tuple[ManagedResource, ...]:
    """Those of the moment, of which the workload is changed, and others."""
    assert at.seen.application is not None
    assert at.seen.workload is not None
    ours = at.seen.workload.ref.name
    listed = (replace(one, sync=sync) if one.ref.name == ours else one for one in at.seen.application.resources)
    return (*listed, *others)


# -- live, whatever else is OutOfSync ---------------------------------------------------------------------------------


def test_an_object_that_waits_for_a_prune_keeps_nothing_from_live() -> None:
    removed = ManagedResource(ResourceRef("", "ConfigMap", "ns", "removed"), "OutOfSync")
    verdict = application(LIVE, sync="OutOfSync", resources=resources(LIVE, removed))
    assert verdict.kind is Kind.LIVE
    assert "ConfigMap removed is OutOfSync" in verdict.evidence


@pytest.mark.parametrize(
    ("difference", "kind"),
    [
        (Difference(others=("spec.replicas",)), Kind.LIVE),
        (None, Kind.SYNCING),
        (Difference(template=("spec.template.spec.containers[0].env",)), Kind.NEEDS_PERSON),
    ],
)
def test_the_workload_itself_may_differ_outside_of_its_pod_template_only(difference: Difference | None, kind: Kind) -> None:
    assert LIVE.seen.application is not None
    ours = operation(LIVE, revision=LIVE.seen.application.revision)
    seen = altered(
        LIVE.seen,
        application={"sync": "OutOfSync", "resources": resources(LIVE, sync="OutOfSync"), "operation": ours},
        difference=difference,
    )
    assert judge(seen, LIVE.expected).kind is kind


def test_an_operation_that_does_not_contain_our_commit_proves_nothing() -> None:
    seen = altered(LIVE.seen, application={"sync": "OutOfSync"}, git={"operation_ancestor": False})
    assert judge(seen, LIVE.expected).kind is not Kind.LIVE


@pytest.mark.parametrize("failing", [UNWELL, MIGRATION])
@pytest.mark.parametrize("sole", [True, False, None])
@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_another_object_that_is_ill_under_a_hook_or_a_wave_is_not_our_failure(
    failing: ResourceResult, sole: bool | None, phase: str
) -> None:
    retrying = operation(LIVE, phase=phase, retry_count=3, resources=(failing,), message="one or more tasks failed")
    requested = phase == "Running"  # as Argo CD keeps it until the operation has ended
    application = {"operation": retrying, "operation_requested": requested}
    verdict = judge(altered(LIVE.seen, application=application, git={"sole_change": sole}), LIVE.expected)
    assert (verdict.kind, verdict.restore) == (Kind.LIVE, False)
    assert any(failing.message in line for line in verdict.evidence)
    canary = judge(altered(CANARY.seen, application=application, git={"sole_change": sole}), CANARY.expected)
    assert (canary.kind, canary.restore) == (Kind.ROLLING, False)


def test_an_operation_that_has_not_begun_may_still_change_the_workload() -> None:
    failed = operation(LIVE, phase="Failed", resources=(UNWELL,))
    seen = altered(LIVE.seen, application={"operation": failed, "operation_requested": True}, git={"sole_change": False})
    assert judge(seen, LIVE.expected).kind is not Kind.LIVE


def test_an_object_that_our_own_commit_made_impossible_to_apply_is_our_failure() -> None:
    failed = operation(LIVE, phase="Failed", resources=(REJECTED,))
    verdict = judge(
        altered(LIVE.seen, application={"operation": failed, "sync": "OutOfSync"}, git={"sole_change": True}), LIVE.expected
    )
    assert (verdict.kind, verdict.reason, verdict.restore) == (Kind.FAILED, Reason.SYNC, True)


def test_an_object_of_an_earlier_wave_that_stays_ill_needs_a_person_and_no_restore() -> None:
    """Our workload is not applied yet: the operation waits for the other object, and will not get further."""
    failed = OperationState("Failed", SYNCING.expected.commit, "one or more tasks failed", resources=(UNWELL,))
    verdict = judge(
        altered(
            SYNCING.seen,
            application={"operation": failed, "sync": "OutOfSync"},
            git={"operation_ancestor": True, "sole_change": True},
        ),
        SYNCING.expected,
    )
    assert (verdict.kind, verdict.reason, verdict.restore) == (Kind.NEEDS_PERSON, Reason.SYNC, False)


def test_a_namespace_that_is_being_deleted_needs_a_person_and_no_restore() -> None:
    message = "rollouts.argoproj.io is forbidden: unable to create new content in namespace x because it is being terminated"
    refused = ResourceResult("Rollout", "inference-service", "SyncFailed", message)
    failed = OperationState("Failed", SYNCING.expected.commit, "one or more objects failed", resources=(refused,))
    verdict = judge(
        altered(
            SYNCING.seen,
            application={"operation": failed, "sync": "OutOfSync"},
            git={"operation_ancestor": True, "sole_change": True},
        ),
        SYNCING.expected,
    )
    assert (verdict.kind, verdict.restore) == (Kind.NEEDS_PERSON, False)
    assert "namespace is being deleted" in verdict.summary


# -- somebody changed it ----------------------------------------------------------------------------------------------


BY_A_PERSON = (
    FieldManager("argocd-controller", datetime(2026, 11, 26, 9, 0, tzinfo=UTC), template=True),
    FieldManager("kubectl-set", datetime(2026, 11, 26, 8, 30, tzinfo=UTC), template=True),
    FieldManager("kubectl-edit", datetime(2026, 11, 26, 8, 45, tzinfo=UTC), template=False),
)


def changed(
    at: Moment, managers: Sequence[FieldManager] = BY_A_PERSON, *, sync_requested: bool = False, **of_application: Any
) -> Verdict:
    assert at.seen.application is not None
    difference = Difference(template=("spec.template.spec.containers[0].image",))
    applied = {
        "sync": "OutOfSync",
        "resources": resources(at, sync="OutOfSync"),
        "operation": operation(at, phase="Succeeded", revision=at.seen.application.revision),
        **of_application,
    }
    workload = {"managers": managers}
    seen = altered(at.seen, application=applied, workload=workload, difference=difference, sync_requested=sync_requested)
    return judge(seen, at.expected)


def test_a_change_by_hand_needs_a_person_and_names_who_and_when_and_what() -> None:
    verdict = changed(LIVE)
    assert (verdict.kind, verdict.reason, verdict.restore) == (Kind.NEEDS_PERSON, Reason.CHANGED_BY_HAND, False)
    assert verdict.evidence == (
        "spec.template.spec.containers[0].image differs from Git",
        "last changed by kubectl-set at 2026-11-26 08:30:00 UTC",
        "argocd app sync fraud-detector-staging",
    )


BY_ARGO_CD = (
    FieldManager("argocd-controller", datetime(2026, 11, 27, 22, 38, 4, tzinfo=UTC), template=True),
    FieldManager("rollouts-controller", datetime(2026, 11, 27, 22, 38, 5, tzinfo=UTC), template=True),
)


def test_a_sync_that_did_not_write_the_pod_template_is_asked_for_once_more() -> None:
    """Argo CD 3.4, 2026-11-27: the operation succeeded, the Rollout kept its containers, and no person had touched it."""
    first = changed(LIVE, managers=BY_ARGO_CD)
    assert (first.kind, first.reason, first.sync_due) == (Kind.SYNCING, Reason.NOT_APPLIED, True)
    assert "left the pod template of Rollout" in first.summary
    again = changed(LIVE, managers=BY_ARGO_CD, sync_requested=True)
    assert (again.kind, again.reason, again.restore) == (Kind.NEEDS_PERSON, Reason.NOT_APPLIED, False)
    assert again.evidence[-1] == "argocd app sync fraud-detector-staging"


def test_where_auto_sync_is_off_a_person_syncs_what_the_sync_left_out() -> None:
    verdict = changed(LIVE, managers=BY_ARGO_CD, auto_sync=False)
    assert (verdict.kind, verdict.reason) == (Kind.NEEDS_PERSON, Reason.NOT_APPLIED)


def test_who_changed_it_is_not_known_where_no_manager_is_given() -> None:
    assert changed(LIVE, managers=()).reason is Reason.CHANGED_BY_HAND


def test_self_heal_undoes_it() -> None:
    assert not changed(LIVE, self_heal=True).terminal


@pytest.mark.parametrize(("auto_sync", "reason", "due"), [(True, None, True), (False, Reason.AUTO_SYNC_OFF, False)])
def test_a_later_commit_that_nobody_syncs_is_not_a_change_by_hand(auto_sync: bool, reason: Reason | None, due: bool) -> None:
    verdict = changed(LIVE, revision="f" * 40, auto_sync=auto_sync)
    assert (verdict.reason, verdict.sync_due) == (reason, due)


def test_a_workload_that_was_deleted_after_the_sync_needs_a_person() -> None:
    assert LIVE.seen.application is not None
    assert LIVE.seen.workload is not None
    ours = operation(LIVE, phase="Succeeded", revision=LIVE.seen.application.revision)
    applied = {"sync": "OutOfSync", "resources": resources(LIVE, sync="OutOfSync"), "operation": ours}
    gone = altered(LIVE.seen, application=applied, workload=None, ref=LIVE.seen.workload.ref)
    verdict = judge(gone, LIVE.expected)
    assert (verdict.kind, verdict.reason, verdict.restore) == (Kind.NEEDS_PERSON, Reason.CHANGED_BY_HAND, False)
    assert "was deleted" in verdict.summary
    assert not judge(altered(gone, application={"self_heal": True}), LIVE.expected).terminal


# -- words ------------------------------------------------------------------------------------------------------------


def test_who_paused_is_evidence() -> None:
    who = FieldManager("kubectl-edit", datetime(2026, 11, 26, 8, 45, tzinfo=UTC), paused=True)
    seen = altered(CANARY.seen, rollout={"paused_by_hand": True}, workload={"managers": (who,)})
    verdict = judge(seen, CANARY.expected)
    assert verdict.reason is Reason.PAUSED_BY_HAND
    assert verdict.evidence[0] == "last paused by kubectl-edit at 2026-11-26 08:45:00 UTC"


def test_how_long_another_operation_may_go_on_is_evidence() -> None:
    other = operation(LIVE, phase="Running", retry_count=1, retry_limit=5, retry_seconds=155.0, revision="f" * 40)
    seen = altered(LIVE.seen, application={"operation": other}, git={"operation_ancestor": False})
    verdict = judge(seen, LIVE.expected)
    assert verdict.held_by == "f" * 40
    assert "Argo CD tries it 5 times again, with 155 s between them in all" in verdict.evidence


def test_what_a_running_operation_waits_for_is_evidence() -> None:
    waiting = OperationState("Running", SYNCING.expected.commit, "waiting for healthy state of /Service/balancer")
    verdict = judge(
        altered(SYNCING.seen, application={"operation": waiting}, git={"operation_ancestor": True}), SYNCING.expected
    )
    assert verdict.kind is Kind.SYNCING
    assert any("waiting for healthy state of /Service/balancer" in line for line in verdict.evidence)


def test_why_a_controller_makes_no_pods_is_evidence() -> None:
    quota = Condition("ReplicaFailure", 'pods "x" is forbidden: exceeded quota: small', "FailedCreate", "True")
    verdict = judge(altered(CANARY.seen, workload={"conditions": (quota,)}), CANARY.expected)
    assert verdict.kind is Kind.ROLLING
    assert any("exceeded quota: small" in line for line in verdict.evidence)


def test_a_namespace_that_is_being_deleted_under_a_canary_needs_a_person() -> None:
    """What exists is still updated there; what the controller would make is refused."""
    at = moment("namespace-terminating", 12.41, "0493")
    assert at.seen.workload is not None
    verdict = judge(at.seen, at.expected)
    assert (verdict.kind, verdict.reason, verdict.restore) == (Kind.NEEDS_PERSON, Reason.SYNC, False)
    assert "because it is being terminated" in verdict.evidence[0]


def test_a_workload_that_does_not_exist_is_named() -> None:
    assert SYNCING.seen.workload is not None
    missing = ManagedResource(SYNCING.seen.workload.ref, "OutOfSync", "Missing")
    running = {"resources": (missing,), "operation": operation(SYNCING, phase="Running")}
    verdict = judge(altered(SYNCING.seen, application=running, workload=None), SYNCING.expected)
    assert f"Rollout {missing.ref.name} does not exist in the cluster" in verdict.evidence


FOLLOWS = Application("fraud", "default", "argocd", "https://git.example.com/fleet.git", "overlays/staging", "main")


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({}, ""),
        ({"target_revision": "release"}, "revision release, not main"),
        ({"path": "overlays/other"}, "path 'overlays/other', not 'overlays/staging'"),
        ({"repo_url": "https://git.example.com/other.git"}, "repository https://git.example.com/other.git"),
    ],
)
def test_an_application_that_reads_from_elsewhere_now_ends_the_watch(now: dict[str, str], words: str) -> None:
    place = {"repo_url": FOLLOWS.repo_url, "path": FOLLOWS.path, "target_revision": FOLLOWS.target_revision, **now}
    verdict = judge(altered(LIVE.seen, application=place), replace(LIVE.expected, follows=FOLLOWS))
    assert (verdict.kind, verdict.reason) == ((Kind.NEEDS_PERSON, Reason.MOVED) if words else (Kind.LIVE, None))
    assert words in verdict.summary


def test_scaled_to_zero_proves_nothing_and_reports_it() -> None:
    verdict = judge(altered(LIVE.seen, workload={"desired": 0, "total": 0, "updated": 0, "available": 0}), LIVE.expected)
    assert (verdict.kind, verdict.reason) == (Kind.NEEDS_PERSON, Reason.SCALED_TO_ZERO)


# -- whatever the combination -----------------------------------------------------------------------------------------

MOMENTS = [at for at in every_moment() if at.seen.application is not None and at.seen.workload is not None]
words = st.sampled_from(["Synced", "OutOfSync", "Unknown"])
results = st.lists(st.sampled_from([UNWELL, MIGRATION, REJECTED]), max_size=2).map(tuple)
differences = st.sampled_from(
    [None, Difference(), Difference(others=("spec.replicas",)), Difference(template=("spec.template.x",))]
)


@given(
    at=st.sampled_from(MOMENTS),
    sync=words,
    own=words,
    phase=st.sampled_from(["Running", "Succeeded", "Failed", "Error", "Terminating"]),
    failing=results,
    difference=differences,
    sole=st.sampled_from([True, False, None]),
)
def test_live_is_never_more_than_the_workload_proves(
    at: Moment,
    sync: str,
    own: str,
    phase: str,
    failing: tuple[ResourceResult, ...],
    difference: Difference | None,
    sole: bool | None,
) -> None:
    assert at.seen.application is not None
    changed_operation = at.seen.application.operation and operation(at, phase=phase, resources=failing)
    changes = {"sync": sync, "resources": resources(at, sync=own), "operation": changed_operation}
    seen: Observation = altered(at.seen, application=changes, git={"sole_change": sole}, difference=difference)
    verdict = judge(seen, at.expected)
    if verdict.kind is Kind.LIVE:
        assert not unmet(seen, at.expected, WORKLOAD_CONDITIONS)
        assert "Synced" in (sync, own) or (difference is not None and not difference.template)
        assert sync != "Unknown"
    if failing and set(failing) <= {UNWELL, MIGRATION} and not unmet(seen, at.expected, WORKLOAD_CONDITIONS):
        assert not verdict.restore, "what another object does is never a reason to restore"
