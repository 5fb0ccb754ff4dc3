"""When a release is live: the conditions, by name. All must hold in one observation.

That they hold twice, some seconds apart, is the watch loop's part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from promoter.verdict.observation import Deployed

if TYPE_CHECKING:
    from promoter.argocd.state import ApplicationState, Workload
    from promoter.verdict.observation import Expectation, Observation

FAILED = frozenset({"Failed", "Error"})
"""Phases of an operation that ended badly."""

Predicate = Callable[["Observation", "Expectation"], bool]


def compared(seen: Observation, _: Expectation) -> bool:
    """Argo CD has compared the cluster with a revision that contains our commit.

    When rendering failed it names the branch instead of a commit, and nothing is Synced; then only a comparison after our
    commit counts. No date of a commit shows that: Argo CD's clock is another one.
    """
    application = seen.application
    if application is None or seen.git.ancestor is not True:
        return False
    return application.revision_is_commit or (seen.compared_since and application.sync != "Synced")


def applied(seen: Observation, expected: Expectation) -> bool:
    """The live workload runs our release, and its controller has seen that: its status speaks of us."""
    return generation_observed(seen, expected) and digest_runs(seen, expected) and model_version_runs(seen, expected)


def overlay_deploys_release(seen: Observation, _: Expectation) -> bool:
    return seen.git.deployed is Deployed.OURS


def synced(seen: Observation, expected: Expectation) -> bool:
    """Argo CD reports that the workload equals Git. Other objects of the Application that are OutOfSync don't matter.

    If the workload differs only outside its pod template, a controller or a person owns that field.
    """
    application = seen.application
    if application is None or application.sync == "Synced":
        return application is not None
    if seen.workload is None or application.sync != "OutOfSync" or not operation_applied(seen, expected):
        return False
    own = application.sync_of(seen.workload.ref)
    return own == "Synced" or (own == "OutOfSync" and seen.difference is not None and not seen.difference.template)


def operation_applied(seen: Observation, expected: Expectation) -> bool:
    """The last operation contains our commit, and succeeded as far as the workload is concerned."""
    operation = seen.application.operation if seen.application else None
    if operation is None or seen.git.operation_ancestor is not True:
        return False
    return operation.phase == "Succeeded" or failed_elsewhere(seen, expected)


def failed_elsewhere(seen: Observation, expected: Expectation) -> bool:
    """The last operation contains our commit and failed, or waits for a retry, and yet it applied our release.

    Then another object is what fails: a hook, one that is not healthy under a hook or a wave, or one that can't be applied,
    unless that begins with our own commit.
    """
    operation = seen.application.operation if seen.application else None
    if operation is None or seen.workload is None or seen.git.operation_ancestor is not True or not applied(seen, expected):
        return False
    ended = operation.phase in FAILED or (operation.phase == "Running" and operation.finished_at is not None)
    workload = (seen.workload.ref.kind, seen.workload.ref.name)
    if not ended or any(one.failed for one in operation.resources if (one.kind, one.name) == workload):
        return False
    rejected = any(one.status == "SyncFailed" for one in operation.resources)
    unwell = any(one.failed or one.ill for one in operation.resources)
    return seen.git.sole_change is not True or (unwell and not rejected)


def no_operation(seen: Observation, expected: Expectation) -> bool:
    """Nothing is under way that could still change the workload: an operation that waits to retry another object can't."""
    application = seen.application
    if application is None or not application.operation_in_progress:
        return application is not None
    # Argo CD keeps the request until the operation has ended, and has one at a time.
    waits = application.operation is not None and application.operation.phase == "Running"
    return waits and failed_elsewhere(seen, expected)


def newer_than_operation(seen: Observation, _: Expectation) -> bool:
    """The comparison is not older than the end of the last operation: two loops of Argo CD write these two."""
    application = seen.application
    if application is None:
        return False
    finished = application.operation.finished_at if application.operation else None
    return finished is None or (application.reconciled_at is not None and application.reconciled_at >= finished)


def generation_observed(seen: Observation, _: Expectation) -> bool:
    return seen.workload is not None and seen.workload.observed


def digest_runs(seen: Observation, expected: Expectation) -> bool:
    """One with an image of its own carries the model version instead."""
    if seen.workload is None:
        return False
    template = seen.workload.template
    return template.names_version(expected.release) if seen.by_version else template.runs_digest(expected.release)


def model_version_runs(seen: Observation, expected: Expectation) -> bool:
    return seen.workload is not None and seen.workload.template.runs_model_version(expected.release)


def healthy(seen: Observation, _: Expectation) -> bool:
    """A Rollout's own phase. A Deployment has none: its replica counts say it."""
    rollout = seen.workload.rollout if seen.workload else None
    return rollout is None or rollout.phase == "Healthy"


def stable(seen: Observation, _: Expectation) -> bool:
    """The stable pods are of the present template. A Deployment has no stable ReplicaSet: no old pod is left."""
    workload = seen.workload
    if workload is None:
        return False
    if workload.rollout is None:
        return workload.total == workload.updated
    return bool(workload.rollout.stable_hash) and workload.rollout.stable_hash == workload.rollout.current_hash


def active(seen: Observation, _: Expectation) -> bool:
    """Blue-green: the active Service selects the present template."""
    rollout = seen.workload.rollout if seen.workload else None
    return rollout is None or rollout.active_hash in (None, rollout.current_hash)


def replicas_updated(seen: Observation, _: Expectation) -> bool:
    return seen.workload is not None and seen.workload.updated >= seen.workload.desired


def replicas_available(seen: Observation, _: Expectation) -> bool:
    """At least one: nothing is proven by a workload scaled to zero."""
    return seen.workload is not None and seen.workload.available >= max(1, seen.workload.desired)


def settled(seen: Observation, expected: Expectation) -> bool:
    """Argo CD has applied the workload as compared: Synced, nothing under way, and compared since the last operation."""
    return synced(seen, expected) and no_operation(seen, expected) and newer_than_operation(seen, expected)


AVAILABLE = "all replicas are available"

WORKLOAD_CONDITIONS: tuple[tuple[str, Predicate], ...] = (
    ("the workload's controller has observed the spec", generation_observed),
    ("the workload runs our image digest", digest_runs),
    ("the workload runs our model version", model_version_runs),
    ("the workload is Healthy", healthy),
    ("the stable pods are ours", stable),
    ("the active Service selects our pods", active),
    ("all replicas are updated", replicas_updated),
    (AVAILABLE, replicas_available),
)

CONDITIONS: tuple[tuple[str, Predicate], ...] = (
    ("our commit is part of the compared revision", compared),
    ("the overlay there deploys our release", overlay_deploys_release),
    ("the workload is Synced", synced),
    ("no operation is under way", no_operation),
    ("the comparison is newer than the operation", newer_than_operation),
    *WORKLOAD_CONDITIONS,
)


def unmet(
    seen: Observation, expected: Expectation, conditions: Sequence[tuple[str, Predicate]] = CONDITIONS
) -> tuple[str, ...]:
    """The conditions that do not hold, by name; none: the release is live."""
    return tuple(name for name, holds in conditions if not holds(seen, expected))


def application_of(seen: Observation) -> ApplicationState:
    assert seen.application is not None, "application_gone comes first"  # noqa: S101 - for the type checker
    return seen.application


def workload_of(seen: Observation) -> Workload:
    assert seen.workload is not None, "only asked where our release is applied"  # noqa: S101 - for the type checker
    return seen.workload
