"""The rules that read the live workload, its pods and its analyses: has our release failed, and how far is it?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from promoter.verdict.evidence import (
    TERMINATING,
    about_analysis,
    about_health,
    about_operation,
    about_pause,
    about_pods,
    about_workload,
    image_refused,
    our_analysis,
    our_pods,
    out_of_sync,
    without_analysis,
)
from promoter.verdict.live import (
    AVAILABLE,
    WORKLOAD_CONDITIONS,
    application_of,
    applied,
    failed_elsewhere,
    settled,
    unmet,
    workload_of,
)
from promoter.verdict.result import Kind, Reason, Verdict

if TYPE_CHECKING:
    from promoter.argocd.state import RolloutState
    from promoter.verdict.observation import Expectation, Observation


def aborted(seen: Observation, expected: Expectation) -> Verdict | None:
    rollout = _our_rollout(seen, expected)
    if rollout is None or not rollout.aborted:
        return None
    evidence = (rollout.message, *about_analysis(our_analysis(seen)), *about_pods(our_pods(seen, expected)))
    reason = _abort_reason(rollout.message)
    return _leaves_stable(rollout, Verdict(Kind.ABORTED, f"Argo Rollouts aborted the update: {reason}", reason, evidence))


def _abort_reason(message: str) -> Reason:
    """From `RolloutAborted: Rollout aborted update to revision N[: <why>]` (argo-rollouts utils/conditions)."""
    why = message.partition("Rollout aborted update to revision ")[2].partition(": ")[2]
    if not why:
        return Reason.ABORTED_BY_HAND
    if "has timed out progressing" in why:
        return Reason.PROGRESS_DEADLINE
    if "assessed Error" in why:
        return Reason.ANALYSIS_ERROR
    return Reason.ANALYSIS_FAILED if "assessed Failed" in why else Reason.OTHER


def progress_deadline(seen: Observation, expected: Expectation) -> Verdict | None:
    workload = seen.workload
    if workload is None or not applied(seen, expected):
        return None
    late = next(
        (one for one in workload.conditions if one.reason == "ProgressDeadlineExceeded" and one.status == "False"), None
    )
    if late is None:
        return None
    evidence = (late.message, *about_pods(our_pods(seen, expected)))
    verdict = Verdict(Kind.FAILED, "the new pods did not become ready in time", Reason.PROGRESS_DEADLINE, evidence)
    return _leaves_stable(workload.rollout, verdict)


def invalid_spec(seen: Observation, expected: Expectation) -> Verdict | None:
    """While a newer revision is being applied the message is still that of the spec before."""
    rollout = _our_rollout(seen, expected)
    if rollout is None or not _is_invalid(rollout) or not settled(seen, expected):
        return None
    return Verdict(Kind.FAILED, "the Rollout's spec is invalid; the old pods serve", Reason.INVALID_SPEC, (rollout.message,))


def _is_invalid(rollout: RolloutState) -> bool:
    return rollout.message.startswith("InvalidSpec:")


def image_missing(seen: Observation, expected: Expectation) -> Verdict | None:
    """Reported at once, not at the deadline. A complete workload needs no more pulls, so one node's failure is ignored."""
    if not applied(seen, expected) or not unmet(seen, expected, WORKLOAD_CONDITIONS):
        return None
    refused = tuple(pod for pod in our_pods(seen, expected) if image_refused(pod))
    if not refused:
        return None
    verdict = Verdict(Kind.FAILED, "the image can't be pulled", Reason.IMAGE, about_pods(refused))
    return _leaves_stable(seen.workload.rollout if seen.workload else None, verdict)


def namespace_terminating(seen: Observation, expected: Expectation) -> Verdict | None:
    """A sync still updates what exists there; the pods of it can't be made."""
    evidence = about_workload(seen) if applied(seen, expected) else ()
    if not any(TERMINATING in text for text in evidence):
        return None
    return Verdict(Kind.NEEDS_PERSON, "the namespace is being deleted: no pod can be made", Reason.SYNC, evidence)


def paused_for_a_person(seen: Observation, expected: Expectation) -> Verdict | None:
    """A pause that only a person ends. A timed pause looks the same in the status; only the spec distinguishes them."""
    rollout = _our_rollout(seen, expected)
    if rollout is None:
        return None
    evidence = about_analysis(our_analysis(seen))
    if any(reason.startswith("Inconclusive") for reason in rollout.pause_reasons):
        summary = "the analysis is inconclusive: resume or abort the Rollout"
        return Verdict(Kind.NEEDS_PERSON, summary, Reason.INCONCLUSIVE, evidence)
    if rollout.paused_by_hand:
        evidence = (*about_pause(seen.workload), *evidence)
        return Verdict(Kind.NEEDS_PERSON, "the Rollout is paused by hand (spec.paused)", Reason.PAUSED_BY_HAND, evidence)
    if _pauses_forever(rollout):
        summary = "the Rollout pauses until somebody resumes it"
        return Verdict(Kind.NEEDS_PERSON, summary, Reason.INDEFINITE_PAUSE, evidence)
    return None


def _pauses_forever(rollout: RolloutState) -> bool:
    if "BlueGreenPause" in rollout.pause_reasons:
        return not rollout.auto_promotes
    at_step = rollout.step is not None and rollout.step < len(rollout.steps)
    return "CanaryPauseStep" in rollout.pause_reasons and at_step and rollout.steps[rollout.step or 0].pauses_forever


def live(seen: Observation, expected: Expectation) -> Verdict | None:
    if unmet(seen, expected):
        return None
    workload = workload_of(seen)
    application = application_of(seen)
    what = f"version {expected.release.version} in {workload.ref.name}" if seen.by_version else expected.release.image
    summary = f"{what} is live: {workload.available} of {workload.desired} replicas"
    failing = about_operation(application) if failed_elsewhere(seen, expected) else ()
    evidence = (*about_health(application), *failing, *out_of_sync(application), *without_analysis(seen))
    return Verdict(Kind.LIVE, summary, evidence=evidence)


def scaled_to_zero(seen: Observation, expected: Expectation) -> Verdict | None:
    """All that can be proven without a pod: the workload is of our release, and nobody wants a replica of it."""
    workload = seen.workload
    if workload is None or workload.desired or workload.total or unmet(seen, expected) != (AVAILABLE,):
        return None
    summary = f"{workload.ref.kind} {workload.ref.name} is scaled to zero: no pod proves the release"
    return Verdict(Kind.NEEDS_PERSON, summary, Reason.SCALED_TO_ZERO)


def rolling(seen: Observation, expected: Expectation) -> Verdict | None:
    missing = unmet(seen, expected, WORKLOAD_CONDITIONS)
    if not missing or not applied(seen, expected):
        return None
    workload = workload_of(seen)
    rollout = workload.rollout
    if rollout and _is_invalid(rollout):  # nothing rolls: the fixed spec is on its way
        return None
    phase = f"{rollout.phase} {rollout.message}".strip() if rollout else "Progressing"
    counts = f"{workload.updated} of {workload.desired} replicas updated, {workload.available} available"
    application = application_of(seen)
    operation = about_operation(application) if application.operation_in_progress else ()
    pods, analysis = about_pods(our_pods(seen, expected)), about_analysis(our_analysis(seen))
    evidence = (*about_workload(seen), *pods, *analysis, *operation)
    return Verdict(Kind.ROLLING, f"{workload.ref.kind} {workload.ref.name}: {phase}; {counts}", evidence=evidence)


def _our_rollout(seen: Observation, expected: Expectation) -> RolloutState | None:
    """The Rollout's state where it speaks of our release."""
    return seen.workload.rollout if seen.workload and applied(seen, expected) else None


def _leaves_stable(rollout: RolloutState | None, verdict: Verdict) -> Verdict:
    """Restore, unless the stable pods are of the present template themselves: a first release leaves nothing to go back to."""
    if rollout is None or rollout.stable_hash != rollout.current_hash:
        return replace(verdict, restore=True)
    return replace(verdict, evidence=(*verdict.evidence, "no earlier stable release to restore"))
