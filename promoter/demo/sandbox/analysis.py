"""An AnalysisRun: metrics measured at their intervals until each succeeds or fails (Argo Rollouts, analysis/analysis.go)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promoter.demo.sandbox.pods import Measurement

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_ERROR_INTERVAL = 10.0
_KEPT_MEASUREMENTS = 10


def seconds(duration: Any) -> float:
    """Seconds of a duration as Argo writes them: 5, "5", "5s", "1m30s"."""
    text = str(duration)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))


def timestamp(moment: float) -> str:
    """Seconds since 1970 as Kubernetes writes a time: UTC, whole seconds."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class _Metric:
    spec: Mapping[str, Any]
    next_at: float
    phase: str = "Running"
    message: str = ""
    measurements: list[dict[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("successful", "failed", "error"), 0))
    consecutive: dict[str, int] = field(default_factory=lambda: {"consecutiveSuccess": 0, "consecutiveError": 0})

    def add(self, measurement: Measurement, now: float) -> None:
        times = {"startedAt": timestamp(now), "finishedAt": timestamp(now)}
        optional = {"value": measurement.value, "message": measurement.message}
        self.measurements.append({"phase": measurement.phase, **times, **{key: text for key, text in optional.items() if text}})
        del self.measurements[:-_KEPT_MEASUREMENTS]
        errored, succeeded = measurement.phase == "Error", measurement.phase == "Successful"
        self.counts["error" if errored else "successful" if succeeded else "failed"] += 1
        self.consecutive["consecutiveSuccess"] = self.consecutive["consecutiveSuccess"] + 1 if succeeded else 0
        self.consecutive["consecutiveError"] = self.consecutive["consecutiveError"] + 1 if errored else 0
        self.next_at = now + (_ERROR_INTERVAL if errored else seconds(self.spec.get("interval", 0)))
        self._assess(measurement.message)

    def _assess(self, said: str) -> None:
        name, failed, errors = self.spec["name"], self.counts["failed"], self.consecutive["consecutiveError"]
        limit, error_limit = int(self.spec.get("failureLimit", 0)), int(self.spec.get("consecutiveErrorLimit", 4))
        if failed > limit:
            self.phase = "Failed"
            self.message = f'Metric "{name}" assessed Failed due to failed ({failed}) > failureLimit ({limit})'
        elif errors > error_limit:
            self.phase = "Error"
            reason = f"consecutiveErrors ({errors}) > consecutiveErrorLimit ({error_limit})"
            self.message = f'Metric "{name}" assessed Error due to {reason}: "Error Message: {said}"'
        elif self.counts["successful"] + failed >= int(self.spec.get("count", 1)):
            self.phase = "Successful"

    def result(self) -> dict[str, Any]:
        count = self.counts["successful"] + self.counts["failed"]
        numbers = {"count": count, **self.counts, **self.consecutive}
        shown = {key: number for key, number in numbers.items() if number}
        return {**shown, "measurements": [*self.measurements], "name": self.spec["name"], "phase": self.phase}


class AnalysisRun:
    """One run of a step's analysis against a canary pod."""

    def __init__(
        self, name: str, metrics: Sequence[Mapping[str, Any]], *, labels: Mapping[str, str], revision: int, now: float
    ) -> None:
        self.name, self.labels, self.revision, self.started = name, labels, revision, now
        self.phase, self.message = "Running", ""
        self.completed: float | None = None
        self._metrics = [_Metric(metric, now + seconds(metric.get("initialDelay", 0))) for metric in metrics]

    def advance(self, now: float, measure: Callable[[Mapping[str, Any]], Measurement]) -> None:
        """Measures what is due; ends with the first metric that fails, or when all have succeeded."""
        for metric in self._metrics:
            if metric.phase == "Running" and now >= metric.next_at:
                metric.add(measure(metric.spec), now)
        bad = next((metric for metric in self._metrics if metric.phase in ("Failed", "Error")), None)
        if bad is not None:
            self._end(bad.phase, bad.message, now)
        elif all(metric.phase == "Successful" for metric in self._metrics):
            self._end("Successful", "", now)

    def terminate(self, now: float) -> None:
        """Ends a run that nobody waits for any more, the way Argo Rollouts does: Successful."""
        if self.completed is None:
            self._end("Successful", "Run Terminated", now)

    def _end(self, phase: str, message: str, now: float) -> None:
        self.phase, self.message, self.completed = phase, message, now

    def spec(self) -> dict[str, Any]:
        return {"metrics": [dict(metric.spec) for metric in self._metrics]}

    def status(self) -> dict[str, Any]:
        """The `status` of the AnalysisRun, as Argo Rollouts writes it."""
        phases = [metric.phase for metric in self._metrics]
        summary = {"successful": phases.count("Successful"), "failed": phases.count("Failed"), "error": phases.count("Error")}
        status: dict[str, Any] = {
            "dryRunSummary": {},
            "metricResults": [metric.result() for metric in self._metrics if metric.measurements],
            "phase": self.phase,
            "runSummary": {"count": len(phases), **{key: number for key, number in summary.items() if number}},
            "startedAt": timestamp(self.started),
        }
        if self.message:
            status["message"] = self.message
        if self.completed is not None:
            status["completedAt"] = timestamp(self.completed)
        return status
