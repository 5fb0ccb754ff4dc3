"""What a person needs to know to act, in sentences made from what was observed. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promoter.argocd.state import (
        AnalysisRunState,
        ApplicationState,
        Condition,
        Difference,
        FieldManager,
        OperationState,
        PlannedAnalysis,
        PodState,
        Workload,
    )
    from promoter.verdict.observation import Expectation, Observation

_NAMES = re.compile(r'"[^"]*"|\S*/\S*')
_REFUSALS = (
    r"\bnot found\b",
    r"manifest unknown",
    r"name unknown",
    r"does not exist",
    r"insufficient_scope",
    r"\bunauthorized\b",
    r"\bforbidden\b",
    r"\bdenied\b",
)
_REFUSED = re.compile("|".join(_REFUSALS), re.IGNORECASE)
TERMINATING = "because it is being terminated"
"""Of a namespace (k8s.io/apiserver: namespace lifecycle admission)."""
_KINDS = frozenset({"Rollout", "Deployment"})
# metadata.managedFields[].manager of what may set a pod template without a person.
_CONTROLLERS = frozenset(
    {"argocd-controller", "argocd-application-controller", "rollouts-controller", "kube-controller-manager"}
)
_WAITING_FOR_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff"})
_BAD = frozenset({"Failed", "Error", "Inconclusive"})
"""Phases of an AnalysisRun and of a metric."""
_NOT_ANALYSED = "Argo CD shows no AnalysisRun of this release: no analysis looked at it, or its runs were not kept"
_NORMAL = frozenset({"", "Running", "Pending", "ContainerCreating", "PodInitializing", "Completed", "Terminating"})


def our_pods(seen: Observation, expected: Expectation) -> tuple[PodState, ...]:
    """The pods of the present template that run our digest; old pods and pods of other releases say nothing about us."""
    rollout = seen.workload.rollout if seen.workload else None
    own = seen.workload.template.images if seen.workload and seen.by_version else ()
    digest = expected.release.digest
    carrying = (pod for pod in seen.pods if any(image.digest == digest or image in own for image in pod.images))
    return tuple(pod for pod in carrying if rollout is None or not pod.hash or pod.hash == rollout.current_hash)


def image_refused(pod: PodState) -> bool:
    """Whether the registry reports that the image is missing or denied. A registry that can't answer reports neither.

    Names are taken out of the sentence first: a repository may be called anything.
    """
    sentence = _NAMES.sub("", pod.message)
    return pod.status_reason in _WAITING_FOR_IMAGE and _REFUSED.search(sentence) is not None


def about_pods(pods: tuple[PodState, ...]) -> tuple[str, ...]:
    """One sentence for each pod that waits or fails."""
    return tuple(_about_pod(pod) for pod in pods if pod.health == "Degraded" or pod.status_reason not in _NORMAL)


def _about_pod(pod: PodState) -> str:
    restarts = f", restarted {pod.restarts} times" if pod.restarts else ""
    return f"pod {pod.name}: {pod.status_reason or pod.health}{restarts}" + (f": {pod.message}" if pod.message else "")


def our_analyses(seen: Observation) -> tuple[AnalysisRunState, ...]:
    """The AnalysisRuns of the present pod template and Rollout revision.

    Runs of earlier releases stay listed; the newest name proves nothing, the label and the annotation do.
    """
    workload = seen.workload
    if workload is None or workload.rollout is None:
        return ()
    current, revisions = workload.rollout.current_hash, ("", workload.revision)
    return tuple(run for run in seen.analysis_runs if run.hash == current and run.revision in revisions)


def our_analysis(seen: Observation) -> AnalysisRunState | None:
    """Of these one that did not succeed, else the last."""
    runs = our_analyses(seen)
    return next((run for run in runs if run.phase in _BAD), runs[-1] if runs else None)


def about_analysis(run: AnalysisRunState | None) -> tuple[str, ...]:
    """One sentence for each metric, with what was measured; those that failed come first."""
    if run is None:
        return ()
    return tuple(
        f"analysis {run.name}: metric {metric.name} {metric.phase}, measured {_runs(metric.values) or 'nothing yet'}"
        for metric in sorted(run.metrics, key=lambda one: one.phase not in _BAD)
    )


def without_analysis(seen: Observation) -> tuple[str, ...]:
    """That no analysis is seen of this attempt: there is none in the strategy, Rollouts skipped it (an old template, `skip`),
    or it keeps no runs that succeeded (`successfulRunHistoryLimit: 0`).
    """
    rollout = seen.workload.rollout if seen.workload else None
    return () if rollout is None or our_analysis(seen) else (_NOT_ANALYSED,)


def to_analyse(seen: Observation) -> tuple[str, ...]:
    """The commands of Argo Rollouts' kubectl plugin that run the analyses of the strategy, if none of this attempt is seen."""
    workload = seen.workload
    if workload is None or workload.rollout is None or our_analyses(seen):
        return ()
    return tuple(_command(workload.ref.namespace, planned) for planned in dict.fromkeys(workload.rollout.analyses))


def _command(namespace: str, planned: PlannedAnalysis) -> str:
    given = [part for name, value in planned.arguments for part in ("-a", f"{name}={value or 'VALUE'}")]
    everywhere = ["--global"] if planned.everywhere else []
    words = ["kubectl", "argo", "rollouts", "create", "analysisrun", "-n", namespace, *everywhere, "--from", planned.template]
    return shlex.join([*words, *given])


def _runs(values: tuple[str, ...]) -> str:
    """The values in their order, with equal neighbours counted: `ok (3 times), error`."""
    groups = [(value, len(tuple(same))) for value, same in groupby(values)]
    return ", ".join(value if times == 1 else f"{value} ({times} times)" for value, times in groups)


def about_operation(application: ApplicationState) -> tuple[str, ...]:
    """The last operation's message, with the objects that failed."""
    operation = application.operation
    if operation is None:
        return ()
    failed = (one for one in operation.resources if one.failed or one.ill)
    objects = [f"{one.kind} {one.name}: {one.message}" for one in failed]
    message = f": {operation.message}" if operation.message else ""
    return (f"sync of {operation.revision[:8]} is {operation.phase}{message}", *objects)


def about_retries(operation: OperationState) -> tuple[str, ...]:
    """How long an operation that fails may go on."""
    if not operation.retry_limit:
        return ()
    return (f"Argo CD tries it {operation.retry_limit} times again, with {operation.retry_seconds:.0f} s between them in all",)


def about_workload(seen: Observation) -> tuple[str, ...]:
    """Why the workload makes no pods, as its controller reports it; that it does not exist."""
    workload = seen.workload
    if workload is None and seen.ref is not None:
        return (f"{seen.ref.kind} {seen.ref.name} does not exist in the cluster",)
    if workload is None:
        missing = (one.ref for one in seen.application.resources if one.health == "Missing") if seen.application else ()
        return tuple(f"{ref.kind} {ref.name} does not exist in the cluster" for ref in missing if ref.kind in _KINDS)
    failing = (one for one in workload.conditions if _keeps_pods_from(one))
    return tuple(f"{workload.ref.kind} {workload.ref.name}: {one.reason}: {one.message}" for one in failing)


def _keeps_pods_from(condition: Condition) -> bool:
    """Its controller may make no pod, or no ReplicaSet."""
    if condition.type == "Progressing":
        return condition.status == "False" and condition.reason == "ReplicaSetCreateError"
    return condition.type == "ReplicaFailure" and condition.status == "True"


def about_difference(workload: Workload, difference: Difference) -> tuple[str, ...]:
    """The fields of the pod template that differ from Git, and who changed it last."""
    return (*(f"{path} differs from Git" for path in difference.template), *_last("changed", _persons(workload)))


def only_controllers_wrote(workload: Workload) -> bool:
    """Whether the pod template was written by Argo CD and controllers only; False where the managers are not known."""
    return any(one.template for one in workload.managers) and not _persons(workload)


def _persons(workload: Workload) -> Sequence[FieldManager]:
    return [one for one in workload.managers if one.template and one.name not in _CONTROLLERS]


def about_pause(workload: Workload | None) -> tuple[str, ...]:
    """The manager that set spec.paused last."""
    return _last("paused", [one for one in workload.managers if one.paused]) if workload else ()


def _last(what: str, managers: Sequence[FieldManager]) -> tuple[str, ...]:
    last = max((one for one in managers if one.time is not None), key=lambda one: str(one.time), default=None)
    return (f"last {what} by {last.name} at {last.time:%Y-%m-%d %H:%M:%S} UTC",) if last else ()


def about_health(application: ApplicationState) -> tuple[str, ...]:
    """The objects that make the Application less than Healthy."""
    if application.health == "Healthy":
        return ()
    bad = (one for one in application.resources if one.health not in ("", "Healthy"))
    objects = [f"{one.ref.kind} {one.ref.name} is {one.health}" + (f": {one.message}" if one.message else "") for one in bad]
    return (f"the Application is {application.health}", *objects)


def out_of_sync(application: ApplicationState) -> tuple[str, ...]:
    return tuple(f"{one.ref.kind} {one.ref.name} is OutOfSync" for one in application.resources if one.sync == "OutOfSync")
