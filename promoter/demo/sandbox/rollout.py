"""A Rollout with a basic canary: ReplicaSets, steps, analysis, abort and rollback (Argo Rollouts, rollout/canary.go).

Left out, because promoter's base uses none of it: traffic routing, blue-green, background analysis, experiments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promoter.demo.sandbox.analysis import AnalysisRun, seconds, timestamp
from promoter.demo.sandbox.replica_sets import ReplicaSet, ReplicaSets, short_hash

if TYPE_CHECKING:
    from promoter.demo.sandbox.pods import Runtime

_KEPT_RUNS = 10


class Rollout:
    """The object and its controller: `apply` changes the spec, `reconcile` moves the status. Times are seconds of one clock."""

    def __init__(self, name: str, namespace: str, runtime: Runtime, now: float) -> None:
        self.name, self.namespace, self.created, self.runtime = name, namespace, now, runtime
        self.manifest: Mapping[str, Any] = {}
        self.generation, self.revision = 0, 0
        self.replica_sets = ReplicaSets(name, namespace, runtime)
        self.analysis_runs: list[AnalysisRun] = []
        self.status: dict[str, Any] = {}
        self._templates: Mapping[str, Mapping[str, Any]] = {}
        self._observed, self._step = 0, 0
        self._current, self._stable, self._invalid = "", "", ""
        self._paused_at: float | None = None
        self._aborted_at: float | None = None
        self._abort_reason, self._timed_out = "", False
        self._progressed = now
        self._run: AnalysisRun | None = None
        self._condition: tuple[str, str] = ("", "")
        self._condition_since = now

    # -- what people and Argo CD do to it -----------------------------------------------------------------------------

    def apply(self, manifest: Mapping[str, Any], templates: Mapping[str, Mapping[str, Any]], services: Sequence[str]) -> None:
        """Takes over a new spec; the status stays the old one until the next reconcile."""
        if manifest["spec"] != self.manifest.get("spec"):
            self.generation += 1
        self.manifest, self._templates = manifest, templates
        self.replica_sets.min_ready_seconds = float(manifest["spec"].get("minReadySeconds", 0))
        self._invalid = self._validate(services)

    def abort(self, now: float, reason: str = "") -> None:
        self._aborted_at, self._abort_reason = now, reason
        self._restart(now)

    def retry(self, now: float) -> None:
        self._aborted_at = None
        self._restart(now)

    def resume(self, now: float) -> None:
        if self._paused_at is not None:
            self._paused_at = None
            self._next_step(now)

    # -- controller ---------------------------------------------------------------------------------------------------

    def reconcile(self, now: float) -> None:
        """One pass: looks at the pods, takes the steps that are done, scales, and writes the status."""
        if self.replica_sets.see(now):
            self._progressed, self._timed_out = now, False
        if self._observed != self.generation:
            self._observed = self.generation
            if not self._invalid:
                self._observe(now)
        if not self._invalid:
            self._advance(now)
        self.status = self._status(now)

    @property
    def replicas(self) -> int:
        return int(self.manifest["spec"].get("replicas", 1))

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        return self._canary.get("steps") or []

    @property
    def _canary(self) -> Mapping[str, Any]:
        return self.manifest["spec"].get("strategy", {}).get("canary") or {}

    def _validate(self, services: Sequence[str]) -> str:
        """The message of an InvalidSpec, or nothing."""
        start = f'InvalidSpec: The Rollout "{self.name}" is invalid: '
        for role in ("canaryService", "stableService"):
            name = self._canary.get(role)
            if name and name not in services:
                return f'{start}spec.strategy.canary.{role}: Invalid value: "{name}": service "{name}" not found'
        for index, step in enumerate(self.steps):
            for used in step.get("analysis", {}).get("templates", []):
                if (name := used["templateName"]) not in self._templates:
                    place = f"spec.strategy.canary.steps[{index}].analysis.templates"
                    return f"{start}{place}: Invalid value: \"{name}\": AnalysisTemplate '{name}' not found"
        return ""

    def _observe(self, now: float) -> None:
        """A new spec: the same template only scales; a new one starts over, unless it goes back to what is known to be good."""
        template = self.manifest["spec"]["template"]
        hash_ = short_hash(template)
        if hash_ == self._current:
            self._step = len(self.steps) if self._current == self._stable else self._step
            return
        known = self.replica_sets.by_hash.get(hash_)
        back = known is not None and (hash_ == self._stable or self._within_rollback_window(known))
        self.revision += 1
        self.replica_sets.adopt(hash_, template, self.revision, now)
        self._current, self._aborted_at = hash_, None
        self._restart(now)
        if back or not self._stable:
            self._step = len(self.steps)
        self._stable = self._stable or hash_
        limit = int(self.manifest["spec"].get("revisionHistoryLimit", 10))
        self.replica_sets.forget_idle(limit, keep=(self._current, self._stable))

    def _within_rollback_window(self, old: ReplicaSet) -> bool:
        """spec.rollbackWindow.revisions: fewer ReplicaSets than that lie between the old one and the stable one."""
        window = int((self.manifest["spec"].get("rollbackWindow") or {}).get("revisions", 0))
        stable = self.replica_sets.by_hash[self._stable].created
        between = [item for item in self.replica_sets if old.created < item.created < stable]
        return old.created < stable and len(between) < window

    def _restart(self, now: float) -> None:
        self._step, self._paused_at, self._progressed, self._timed_out = 0, None, now, False
        if self._run is not None:
            self._run.terminate(now)
            self._run = None

    def _next_step(self, now: float) -> None:
        self._step += 1
        self._progressed, self._timed_out = now, False

    def _advance(self, now: float) -> None:
        while self._is_updating and self._step < len(self.steps) and self._step_is_done(self.steps[self._step], now):
            self._next_step(now)
        self._scale(now)
        if self._is_updating and self._step == len(self.steps) and self._available(now) >= self.replicas:
            self._stable = self._current
        if self._aborted_at is None:
            self._check_deadline(now)

    @property
    def _is_updating(self) -> bool:
        return self._current != self._stable and self._aborted_at is None

    def _step_is_done(self, step: Mapping[str, Any], now: float) -> bool:
        if "pause" in step:
            return self._pause_is_over(step["pause"] or {}, now)
        if "analysis" in step:
            return self._analysis_is_done(step["analysis"], now)
        want = self._want()
        settled = all(len(item.active) == want.get(item.hash, 0) for item in self.replica_sets)
        return settled and self._available(now) >= want[self._current]

    def _available(self, now: float) -> int:
        return len(self.replica_sets.available(self._current, now))

    def _pause_is_over(self, pause: Mapping[str, Any], now: float) -> bool:
        if self._paused_at is None:
            self._paused_at = now
        if "duration" not in pause or now - self._paused_at < seconds(pause["duration"]):
            return False
        self._paused_at = None
        return True

    def _analysis_is_done(self, analysis: Mapping[str, Any], now: float) -> bool:
        pods = self.replica_sets.available(self._current, now)
        if self._run is None:
            self._run = self._new_run(analysis, now)
        if pods:
            self._run.advance(now, lambda metric: self.runtime.measure(metric, pods[0].pod))
        if self._run.phase in ("Failed", "Error"):
            self.abort(now, f"Step-based analysis phase error/failed: {self._run.message}")
            return False
        if self._run.phase == "Running":
            return False
        self._run = None
        return True

    def _new_run(self, analysis: Mapping[str, Any], now: float) -> AnalysisRun:
        templates = [self._templates[used["templateName"]] for used in analysis["templates"]]
        metrics = [metric for template in templates for metric in template["spec"]["metrics"]]
        labels = {"rollout-type": "Step", "rollouts-pod-template-hash": self._current, "step-index": str(self._step)}
        name = f"{self.name}-{self._current}-{self.revision}-{self._step}"
        run = AnalysisRun(name, metrics, labels=labels, revision=self.revision, now=now)
        self.analysis_runs = [*self.analysis_runs, run][-_KEPT_RUNS:]
        return run

    def _check_deadline(self, now: float) -> None:
        """progressDeadlineSeconds, not counted in pauses and analyses nor once everything is available."""
        waiting = self._paused_at is None and self._run is None and self._available(now) < self._want()[self._current]
        if not waiting or now - self._progressed < float(self.manifest["spec"].get("progressDeadlineSeconds", 600)):
            return
        if self.manifest["spec"].get("progressDeadlineAbort") and self._current != self._stable:
            self.abort(now, f'ReplicaSet "{self.name}-{self._current}" has timed out progressing.')
        else:
            self._timed_out = True

    # -- pods ---------------------------------------------------------------------------------------------------------

    def _want(self) -> dict[str, int]:
        """How many pods each ReplicaSet is to have; those not named have none."""
        if self._aborted_at is not None:
            return {self._stable: self.replicas}
        if self._current == self._stable or self._step == len(self.steps):
            return {self._current: self.replicas}
        weight = next((int(step["setWeight"]) for step in reversed(self.steps[: self._step + 1]) if "setWeight" in step), 0)
        canary = round(self.replicas * weight / 100)
        if 0 < weight < 100:
            canary = max(1, min(canary, max(1, self.replicas - 1)))
        return {self._current: canary, self._stable: max(self.replicas - canary, 1 if weight < 100 else 0)}

    def _scale(self, now: float) -> None:
        surge = _share(self._canary.get("maxSurge", "25%"), self.replicas, math.ceil)
        unavailable = _share(self._canary.get("maxUnavailable", "25%"), self.replicas, math.floor)
        self.replica_sets.scale(self._want(), most=self.replicas + surge, least=self.replicas - unavailable, now=now)

    # -- status -------------------------------------------------------------------------------------------------------

    def _status(self, now: float) -> dict[str, Any]:
        """The `status` of the Rollout as Argo Rollouts writes it: zero counts and empty values are left out."""
        if self._invalid:
            kept = {**self.status, "observedGeneration": str(self._observed), "phase": "Degraded", "message": self._invalid}
            return {**kept, "conditions": [self._progressing(now, "InvalidSpec", self._invalid)]}
        numbers = self.replica_sets.counts(self._current, now)
        phase, message = self._phase(numbers)
        status: dict[str, Any] = {key: number for key, number in numbers.items() if number}
        status |= {"HPAReplicas": numbers["replicas"], "blueGreen": {}, "canary": {}, "phase": phase}
        status |= {"currentPodHash": self._current, "stableRS": self._stable, "currentStepHash": short_hash(self.steps)}
        status |= {"currentStepIndex": self._step, "observedGeneration": str(self._observed), "selector": self._selector()}
        status["conditions"] = [self._progressing(now, phase, message)]
        if message:
            status["message"] = message
        if self._aborted_at is not None:
            status |= {"abort": True, "abortedAt": timestamp(self._aborted_at)}
        if self._paused_at is not None:
            condition = {"reason": "CanaryPauseStep", "startTime": timestamp(self._paused_at)}
            status |= {"controllerPause": True, "pauseConditions": [condition]}
        if self._run is not None:
            status["canary"] = {"currentStepAnalysisRunStatus": {"name": self._run.name, "status": self._run.phase}}
        return status

    def _phase(self, numbers: Mapping[str, int]) -> tuple[str, str]:
        """Phase and message (utils/rollout/rolloututil.go, CalculateRolloutPhase)."""
        if self._aborted_at is not None:
            reason = f": {self._abort_reason}" if self._abort_reason else ""
            return "Degraded", f"RolloutAborted: Rollout aborted update to revision {self.revision}{reason}"
        if self._timed_out:
            return "Degraded", f'ProgressDeadlineExceeded: ReplicaSet "{self.name}-{self._current}" has timed out progressing.'
        if self._paused_at is not None:
            return "Paused", "CanaryPauseStep"
        updated = numbers["updatedReplicas"]
        waits = {
            "more replicas need to be updated": updated < self.replicas,
            "updated replicas are still becoming available": numbers["availableReplicas"] < updated,
            "old replicas are pending termination": numbers["replicas"] > updated,
            "waiting for all steps to complete": self._stable != self._current,
        }
        waiting = next((message for message, holds in waits.items() if holds), "")
        return ("Progressing" if waiting else "Healthy"), waiting

    def _progressing(self, now: float, phase: str, message: str) -> dict[str, str]:
        """The condition Progressing, with the reason and the message of Argo Rollouts."""
        name = f'ReplicaSet "{self.name}-{self._current}"'
        reason, _, text = message.partition(": ")
        known = {
            "Healthy": ("NewReplicaSetAvailable", f"{name} has successfully progressed.", "True"),
            "Progressing": ("ReplicaSetUpdated", f"{name} is progressing.", "True"),
            "Paused": ("RolloutPaused", "Rollout is paused", "Unknown"),
        }
        reason, text, value = known.get(phase, (reason, text, "False"))
        if self._condition != (reason, text):
            self._condition, self._condition_since = (reason, text), now
        since = timestamp(self._condition_since)
        return {"type": "Progressing", "status": value, "reason": reason, "message": text} | {
            "lastTransitionTime": since,
            "lastUpdateTime": since,
        }

    def _selector(self) -> str:
        labels = self.manifest["spec"].get("selector", {}).get("matchLabels", {})
        return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _share(value: Any, replicas: int, rounded: Any) -> int:
    """A number of pods, or a percentage of the replicas, as maxSurge and maxUnavailable have it."""
    text = str(value)
    return int(rounded(replicas * float(text[:-1]) / 100)) if text.endswith("%") else int(text)
