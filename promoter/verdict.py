"""What one observation says about a promotion: the rules, in order; the first that has something to say decides.

Pure. The facts behind the rules are measured on a live Argo CD with Argo Rollouts; tests replay the recordings line by
line. A verdict is about one instant: the watch loop wants a terminal one twice before it acts on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from promoter.evidence import (
    about_analysis,
    about_health,
    about_operation,
    about_pods,
    image_refused,
    our_analysis,
    our_pods,
    out_of_sync,
)
from promoter.live import WORKLOAD_CONDITIONS, applied, compared, newer_than_operation, no_operation, synced, unmet
from promoter.observed import Carries, ImageReference

if TYPE_CHECKING:
    from promoter.observed import (
        AnalysisRunState,
        ApplicationState,
        Expectation,
        Observation,
        PodState,
        RolloutState,
        RunningRelease,
        Workload,
    )


class Kind(StrEnum):
    """Where a promotion stands."""

    NOT_OBSERVED = "not observed yet"
    SYNCING = "syncing"
    ROLLING = "rolling"
    LIVE = "live"
    ABORTED = "aborted"
    FAILED = "failed"
    MASKED = "masked"
    NEEDS_PERSON = "needs a person"
    SUPERSEDED = "superseded"
    COMMIT_GONE = "commit gone"
    APPLICATION_GONE = "application gone"


class Reason(StrEnum):
    """Why it aborted, failed or needs a person."""

    ANALYSIS_FAILED = "analysis failed"
    ANALYSIS_ERROR = "analysis could not measure"
    ABORTED_BY_HAND = "aborted by hand"
    PROGRESS_DEADLINE = "progress deadline"
    OTHER = "other"
    RENDER = "render"
    SYNC = "sync"
    HOOK = "hook"
    INVALID_SPEC = "invalid spec"
    IMAGE = "image"
    INCONCLUSIVE = "inconclusive analysis"
    INDEFINITE_PAUSE = "indefinite pause"
    PAUSED_BY_HAND = "paused by hand"
    SYNC_WINDOW = "sync window"
    AUTO_SYNC_OFF = "auto-sync off"
    AUTO_SYNC_SKIPPED = "auto-sync skipped"


_ON_THE_WAY = frozenset({Kind.NOT_OBSERVED, Kind.SYNCING, Kind.ROLLING})
_BLAMES_THE_MODEL = frozenset({Reason.ANALYSIS_FAILED, Reason.ABORTED_BY_HAND})
_RETRIES_THAT_PROVE = 2  # the first retry failed as well: waiting for the others helps nobody


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement: `summary` is one line, `evidence` what a person acts on.

    `restore`: Git should get back the release of the stable pods. `sync_due`: auto-sync skipped our revision; ask for a
    sync once, after a grace. `held_by`: the revision of somebody else's operation that keeps ours from being synced.
    `step` of `steps` and `weight` (percent) tell how far a canary is. `override` is the Application's image override.
    """

    kind: Kind
    summary: str
    reason: Reason | None = None
    evidence: tuple[str, ...] = ()
    restore: bool = False
    sync_due: bool = False
    held_by: str = ""
    step: int | None = None
    steps: int | None = None
    weight: int | None = None
    analysis: AnalysisRunState | None = None
    override: str = ""
    stable: RunningRelease | None = None
    pods: tuple[PodState, ...] = ()

    @property
    def terminal(self) -> bool:
        """It changes no more unless somebody does something."""
        return self.kind not in _ON_THE_WAY

    @property
    def quarantine(self) -> bool:
        """It speaks against the model version itself: an analysis failed, or a person aborted."""
        return self.kind is Kind.ABORTED and self.reason in _BLAMES_THE_MODEL


def judge(seen: Observation, expected: Expectation) -> Verdict:
    """The verdict on this observation, with what every verdict carries: progress, analysis, pods, stable release."""
    for rule in RULES:
        verdict = rule(seen, expected)
        if verdict is not None:
            return _with_facts(verdict, seen, expected)
    raise AssertionError("the last rule always decides")


def _with_facts(verdict: Verdict, seen: Observation, expected: Expectation) -> Verdict:
    verdict = replace(verdict, stable=seen.stable, pods=our_pods(seen, expected))
    rollout = seen.workload.rollout if seen.workload else None
    if rollout is None or not applied(seen, expected):
        return verdict
    done = rollout.step or 0
    weights = [step.weight for step in rollout.steps[: done + 1] if step.weight is not None]
    weight = 100 if rollout.steps and done >= len(rollout.steps) else next(reversed(weights), None)
    return replace(
        verdict,
        step=rollout.step,
        steps=len(rollout.steps) or None,
        weight=0 if rollout.aborted else weight,
        analysis=our_analysis(seen),
    )


# -- is it still ours to judge ----------------------------------------------------------------------------------------


def application_gone(seen: Observation, _: Expectation) -> Verdict | None:
    if seen.application is None:
        return Verdict(Kind.APPLICATION_GONE, "the Application does not exist")
    if seen.application.deleting:
        return Verdict(Kind.APPLICATION_GONE, f"the Application {seen.application.name} is being deleted")
    return None


def commit_gone(seen: Observation, expected: Expectation) -> Verdict | None:
    if seen.git.reachable is False:
        return Verdict(Kind.COMMIT_GONE, f"commit {expected.commit[:8]} is no longer on the branch: somebody rewrote it")
    return None


def not_observed(seen: Observation, expected: Expectation) -> Verdict | None:
    if compared(seen, expected):
        return None
    revision = _application(seen).revision
    return Verdict(Kind.NOT_OBSERVED, f"Argo CD has not looked at {expected.commit[:8]} yet; it compared {revision[:8]}")


def superseded(seen: Observation, _: Expectation) -> Verdict | None:
    if seen.git.carries is Carries.ANOTHER:
        return Verdict(Kind.SUPERSEDED, f"at {_application(seen).revision[:8]} the overlay carries another release")
    return None


# -- can it be rendered -----------------------------------------------------------------------------------------------


def render_failed(seen: Observation, _: Expectation) -> Verdict | None:
    """Only what Argo CD could not generate: a repository that it could not reach is a ComparisonError too, and passes."""
    for condition in _application(seen).conditions:
        if condition.type == "InvalidSpecError":
            return Verdict(Kind.FAILED, "the Application's spec is invalid", Reason.INVALID_SPEC, (condition.message,))
        if condition.type == "ComparisonError" and "failed to generate manifest" in condition.message:
            return _begun_by(seen, Verdict(Kind.FAILED, "the overlay does not render", Reason.RENDER, (condition.message,)))
    return None


def not_comparable(seen: Observation, _: Expectation) -> Verdict | None:
    application = _application(seen)
    if application.sync != "Unknown":
        return None
    messages = tuple(f"{one.type}: {one.message}" for one in application.conditions)
    return Verdict(Kind.NOT_OBSERVED, "Argo CD can't compare at the moment", evidence=messages)


# -- what the workload says of our release ----------------------------------------------------------------------------


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
    if rollout is None or not _is_invalid(rollout) or not _settled(seen, expected):
        return None
    return Verdict(Kind.FAILED, "the Rollout's spec is invalid; the old pods serve", Reason.INVALID_SPEC, (rollout.message,))


def _is_invalid(rollout: RolloutState) -> bool:
    return rollout.message.startswith("InvalidSpec:")


def image_missing(seen: Observation, expected: Expectation) -> Verdict | None:
    """Said at once, not at the deadline. A complete workload needs no image: then one node's trouble says nothing."""
    if not applied(seen, expected) or not unmet(seen, expected, WORKLOAD_CONDITIONS):
        return None
    refused = tuple(pod for pod in our_pods(seen, expected) if image_refused(pod))
    if not refused:
        return None
    verdict = Verdict(Kind.FAILED, "the image can't be pulled", Reason.IMAGE, about_pods(refused))
    return _leaves_stable(seen.workload.rollout if seen.workload else None, verdict)


def paused_for_a_person(seen: Observation, expected: Expectation) -> Verdict | None:
    """A pause that nothing but a person ends. A timed pause looks the same in the status; only the spec tells."""
    rollout = _our_rollout(seen, expected)
    if rollout is None:
        return None
    evidence = about_analysis(our_analysis(seen))
    if any(reason.startswith("Inconclusive") for reason in rollout.pause_reasons):
        summary = "the analysis is inconclusive: resume or abort the Rollout"
        return Verdict(Kind.NEEDS_PERSON, summary, Reason.INCONCLUSIVE, evidence)
    if rollout.paused_by_hand:
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


def masked(seen: Observation, expected: Expectation) -> Verdict | None:
    """Argo CD is content with our commit and another image runs. Said only where something proves it: an image override
    on the Application, what the sync applied, or what was last applied to the object; else it may have been read too early.
    """
    workload = seen.workload
    if workload is None or workload.template.runs(expected.release) or not _settled(seen, expected):
        return None
    override = _override(_application(seen), expected)
    if not (override or _applied_another(seen, workload, expected) or _changed_after_apply(workload, expected)):
        return None
    runs = workload.template.release(expected.release.repository)
    evidence = [f"the live {workload.ref.kind} runs {runs.image if runs else 'no image'}, not {expected.release.image}"]
    if override:
        evidence.append(f"the Application overrides the image (spec.source.kustomize.images): {override}")
    return Verdict(Kind.MASKED, "Synced at our commit, and another image runs", evidence=tuple(evidence), override=override)


def _override(application: ApplicationState, expected: Expectation) -> str:
    """The entry (`[name=]image`, as `kustomize edit set image` takes it) that replaces our image by another one."""
    release = expected.release
    for entry in application.image_overrides:
        name, equals, text = entry.rpartition("=")
        image = ImageReference.parse(text)
        concerns = {name if equals else image.repository, image.repository} & {release.repository, expected.image_name}
        if concerns and image.digest != release.digest:
            return entry
    return ""


def _applied_another(seen: Observation, workload: Workload, expected: Expectation) -> bool:
    operation = _application(seen).operation
    if operation is None or seen.git.operation_ancestor is not True:
        return False
    images = [
        image
        for one in operation.resources
        if (one.kind, one.name) == (workload.ref.kind, workload.ref.name)
        for image in one.images
    ]
    return bool(images) and all(image.digest != expected.release.digest for image in images)


def _changed_after_apply(workload: Workload, expected: Expectation) -> bool:
    return workload.applied is not None and workload.applied.runs(expected.release)


# -- is it synced -----------------------------------------------------------------------------------------------------


def sync_failed(seen: Observation, _: Expectation) -> Verdict | None:
    application = _application(seen)
    operation = application.operation
    if operation is None or seen.git.operation_ancestor is not True:
        return None
    ended = operation.phase in {"Failed", "Error"} and not application.operation_in_progress
    if not ended and operation.retry_count < _RETRIES_THAT_PROVE:
        return None
    if operation.phase == "Succeeded":  # in the end a retry did it
        return None
    hook = any(one.hook_type and one.hook_phase in {"Failed", "Error"} for one in operation.resources)
    reason = Reason.HOOK if hook else Reason.SYNC
    return _begun_by(seen, Verdict(Kind.FAILED, "Argo CD can't apply our commit", reason, about_operation(application)))


def waits_for_sync(seen: Observation, _: Expectation) -> Verdict | None:
    """OutOfSync at our revision, nothing under way, and the last operation was not for it: will anybody sync it?"""
    application = _application(seen)
    if application.sync != "OutOfSync" or application.operation_in_progress or seen.git.operation_ancestor is True:
        return None
    if seen.sync_windows is not None and seen.sync_windows.blocks_auto_sync:
        return Verdict(Kind.NEEDS_PERSON, "a sync window keeps our commit from being synced", Reason.SYNC_WINDOW)
    command = (f"argocd app sync {application.name}",)
    if not application.auto_sync:
        return Verdict(Kind.NEEDS_PERSON, "auto-sync is off: somebody must sync", Reason.AUTO_SYNC_OFF, command)
    if seen.sync_requested:
        return Verdict(Kind.NEEDS_PERSON, "auto-sync skipped our commit: somebody must sync", Reason.AUTO_SYNC_SKIPPED, command)
    return Verdict(Kind.SYNCING, "OutOfSync at our commit, no operation yet", sync_due=True)


def held(seen: Observation, _: Expectation) -> Verdict | None:
    application = _application(seen)
    if not application.operation_in_progress or application.operation is None or seen.git.operation_ancestor is not False:
        return None
    revision = application.operation.revision
    summary = f"the operation for {revision[:8]} must end before ours can begin"
    return Verdict(Kind.SYNCING, summary, evidence=about_operation(application), held_by=revision)


# -- how far is it ----------------------------------------------------------------------------------------------------


def live(seen: Observation, expected: Expectation) -> Verdict | None:
    if unmet(seen, expected):
        return None
    workload = _workload(seen)
    summary = f"{expected.release.image} is live: {workload.available} of {workload.desired} replicas"
    return Verdict(Kind.LIVE, summary, evidence=about_health(_application(seen)))


def rolling(seen: Observation, expected: Expectation) -> Verdict | None:
    missing = unmet(seen, expected, WORKLOAD_CONDITIONS)
    if not missing or not applied(seen, expected):
        return None
    workload = _workload(seen)
    rollout = workload.rollout
    if rollout and _is_invalid(rollout):  # nothing rolls: the mended spec is on its way
        return None
    phase = f"{rollout.phase} {rollout.message}".strip() if rollout else "Progressing"
    counts = f"{workload.updated} of {workload.desired} replicas updated, {workload.available} available"
    evidence = (*about_pods(our_pods(seen, expected)), *about_analysis(our_analysis(seen)))
    return Verdict(Kind.ROLLING, f"{workload.ref.kind} {workload.ref.name}: {phase}; {counts}", evidence=evidence)


def syncing(seen: Observation, expected: Expectation) -> Verdict:
    application = _application(seen)
    waits = unmet(seen, expected)
    failing = about_operation(application) if application.operation and application.operation.retry_count else ()
    return Verdict(Kind.SYNCING, f"not yet: {'; '.join(waits)}", evidence=(*failing, *out_of_sync(application)))


RULES: tuple[Callable[[Observation, Expectation], Verdict | None], ...] = (
    application_gone,
    commit_gone,
    not_observed,
    superseded,
    render_failed,
    not_comparable,
    aborted,
    progress_deadline,
    invalid_spec,
    image_missing,
    paused_for_a_person,
    masked,
    sync_failed,
    waits_for_sync,
    held,
    live,
    rolling,
    syncing,
)


# -- small parts ------------------------------------------------------------------------------------------------------


def _application(seen: Observation) -> ApplicationState:
    assert seen.application is not None, "application_gone comes first"  # noqa: S101 - for the type checker
    return seen.application


def _workload(seen: Observation) -> Workload:
    assert seen.workload is not None, "only asked where our release is applied"  # noqa: S101 - for the type checker
    return seen.workload


def _our_rollout(seen: Observation, expected: Expectation) -> RolloutState | None:
    """The Rollout's state where it speaks of our release."""
    return seen.workload.rollout if seen.workload and applied(seen, expected) else None


def _settled(seen: Observation, expected: Expectation) -> bool:
    """Argo CD has applied what it compared: Synced, nothing under way, and compared since the last operation."""
    return synced(seen, expected) and no_operation(seen, expected) and newer_than_operation(seen, expected)


def _leaves_stable(rollout: RolloutState | None, verdict: Verdict) -> Verdict:
    """Restore, unless the stable pods are of the present template themselves: a first release leaves nothing to go back to."""
    if rollout is None or rollout.stable_hash != rollout.current_hash:
        return replace(verdict, restore=True)
    return replace(verdict, evidence=(*verdict.evidence, "there is no other stable release to go back to"))


def _begun_by(seen: Observation, verdict: Verdict) -> Verdict:
    """Restore where the failure begins with our own commit; else taking our commit back would mend nothing."""
    if seen.git.sole_change is True:
        return replace(verdict, restore=True)
    last = _application(seen).last_synced_revision[:8] or "none"
    told = f"other commits since the last synced revision ({last}) may have begun it: Git stays as it is"
    return replace(verdict, evidence=(*verdict.evidence, told))
