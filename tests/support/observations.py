"""What a watch sees of a rollout, made by hand."""

from __future__ import annotations

from promoter.argocd.state import CanaryStep, PodState, PodTemplate, ResourceRef, RolloutState, Workload
from promoter.verdict.observation import GitFacts, Observation


def canary(step: int, steps: int, reason: str = "") -> Observation:
    """A canary in one of its steps: one pod of the stable release that is ready, and a new one that is not, for a reason."""
    ref = ResourceRef("argoproj.io", "Rollout", "fraud", "fraud-detector")
    rollout = RolloutState(
        "Progressing",
        current_hash="b",
        stable_hash="a",
        step=step,
        steps=tuple(CanaryStep(words=f"setWeight {n}") for n in range(steps)),
    )
    pods = (
        PodState("a-1", hash="a", health="Healthy"),
        PodState("b-1", hash="b", health="Degraded", status_reason="CrashLoopBackOff", message=reason),
    )
    return Observation(None, GitFacts(), workload=Workload(ref, 1, 1, PodTemplate(()), rollout=rollout), pods=pods)
