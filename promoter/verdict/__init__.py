"""The verdict on one observation of a promotion: rules in order, of which the first that applies decides.

Pure. The facts behind the rules are measured on a live Argo CD with Argo Rollouts; tests replay the recordings line by
line. A verdict is about one instant: the watch loop wants a terminal one twice before it acts on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from promoter.verdict.application import (
    application_gone,
    changed_by_hand,
    commit_gone,
    held,
    moved,
    not_comparable,
    not_observed,
    render_failed,
    superseded,
    sync_failed,
    syncing,
    waits_for_sync,
)
from promoter.verdict.evidence import our_analyses, our_analysis, our_pods, to_analyse
from promoter.verdict.live import applied
from promoter.verdict.masked import masked
from promoter.verdict.result import Kind, Reason, Verdict
from promoter.verdict.workload import (
    aborted,
    image_missing,
    invalid_spec,
    live,
    namespace_terminating,
    paused_for_a_person,
    progress_deadline,
    rolling,
    scaled_to_zero,
)

if TYPE_CHECKING:
    from promoter.argocd.state import RunningRelease
    from promoter.verdict.observation import Expectation, Observation

__all__ = ["RULES", "Kind", "Reason", "Verdict", "judge"]

RULES: tuple[Callable[[Observation, Expectation], Verdict | None], ...] = (
    application_gone,
    moved,
    commit_gone,
    not_observed,
    superseded,
    aborted,
    progress_deadline,
    image_missing,
    render_failed,
    not_comparable,
    invalid_spec,
    namespace_terminating,
    paused_for_a_person,
    masked,
    sync_failed,
    waits_for_sync,
    held,
    changed_by_hand,
    live,
    scaled_to_zero,
    rolling,
    syncing,
)


def judge(seen: Observation, expected: Expectation) -> Verdict:
    """The verdict on all workloads of the release: live when every one is live, aborted or failed when any one is."""
    if not seen.others:
        return _judge(seen, expected)
    found = [(_name(one), _judge(one, expected)) for one in (seen, *seen.others)]
    name, worst = min(found, key=lambda pair: _ORDER.index(pair[1].kind))
    worst = replace(worst, analyses=tuple(run for _, verdict in found for run in verdict.analyses))
    if worst.kind is Kind.LIVE:
        evidence = dict.fromkeys(line for _, verdict in found for line in verdict.evidence)
        return replace(worst, summary="; ".join(verdict.summary for _, verdict in found), evidence=tuple(evidence))
    summary = worst.summary if worst.summary.startswith(name) else f"{name}: {worst.summary}"
    named = replace(worst, summary=summary)
    stable = [(name, verdict.stable) for name, verdict in found if verdict.stable is not None]
    if named.restore and _differ([running for _, running in stable]):
        names = ", ".join(f"{name} {_release(running)}" for name, running in stable)
        summary = f"{summary}; the stable releases of the workloads differ: {names}"
        return replace(named, kind=Kind.NEEDS_PERSON, restore=False, summary=summary)
    return replace(named, stable=min((one for _, one in stable), key=lambda one: one.by_version, default=None))


# What one workload's verdict means for all: the first of these decides.
_ORDER = (
    Kind.APPLICATION_GONE,
    Kind.COMMIT_GONE,
    Kind.SUPERSEDED,
    Kind.ABORTED,
    Kind.FAILED,
    Kind.MASKED,
    Kind.NEEDS_PERSON,
    Kind.NOT_OBSERVED,
    Kind.SYNCING,
    Kind.ROLLING,
    Kind.LIVE,
)


def _name(seen: Observation) -> str:
    ref = seen.workload.ref if seen.workload else seen.ref
    return f"{ref.kind} {ref.name}" if ref else "the workload"


def _differ(stable: Sequence[RunningRelease]) -> bool:
    """An image that is not the release's names nothing; a model version that a template does not carry neither."""
    images = {one.image for one in stable if not one.by_version}
    versions = {one.model_version for one in stable if one.model_version is not None}
    return len(images) > 1 or len(versions) > 1


def _release(running: RunningRelease) -> str:
    return f"version {running.model_version}" if running.by_version else str(running.image)


def _judge(seen: Observation, expected: Expectation) -> Verdict:
    """The verdict on one workload, with what every verdict has: progress, analysis, pods, stable release."""
    for rule in RULES:
        verdict = rule(seen, expected)
        if verdict is not None:
            return _with_facts(verdict, seen, expected)
    raise AssertionError("the last rule always decides")


def _with_facts(verdict: Verdict, seen: Observation, expected: Expectation) -> Verdict:
    application = seen.application
    revision = application.revision if application and application.revision_is_commit else ""
    verdict = replace(verdict, stable=seen.stable, pods=our_pods(seen, expected), workload=_name(seen), revision=revision)
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
        analyses=our_analyses(seen),
        to_analyse=to_analyse(seen),
    )
