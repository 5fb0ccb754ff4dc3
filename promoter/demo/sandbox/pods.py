"""Pods and what decides how they fare: the seam between the Rollout controller and whatever runs the containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Pod:
    """One container to run: `image` as the pod template names it, `env` with its literal values."""

    name: str
    image: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PodStatus:
    """`reason` is what Argo CD shows as Status Reason; `address` is host:port, once there is one."""

    reason: str = "ContainerCreating"
    ready: bool = False
    message: str = ""
    restarts: int = 0
    address: str = ""


WAITING = PodStatus()
RUNNING = PodStatus("Running", ready=True)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of an analysis: phase Successful, Failed or Error, as Argo Rollouts calls them."""

    phase: str
    value: str = ""
    message: str = ""


class Runtime(Protocol):
    """Runs pods. Every call returns at once: progress is seen by asking for the status again."""

    def start(self, pod: Pod) -> None: ...

    def status(self, pod: Pod) -> PodStatus: ...

    def stop(self, pod: Pod) -> None:
        """Begins to end the pod; it may still finish what it is answering."""

    def gone(self, pod: Pod) -> bool:
        """Whether a stopped pod has ended."""

    def measure(self, metric: Mapping[str, Any], pod: Pod) -> Measurement: ...

    def logs(self, pod_name: str) -> list[str]: ...

    def close(self) -> None:
        """Ends every pod that is left and waits for it."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a scripted pod fares: ready after some seconds (None: never), `waiting` until then, and what analyses measure."""

    ready_after: float | None = 0.4
    waiting: PodStatus = WAITING
    measurement: Measurement = Measurement("Successful", "1")
    ends_after: float = 5.0


@dataclass
class ScriptedRuntime:
    """Runs nothing: `script` gives each pod's state at the seconds of `clock`. For tests."""

    script: Callable[[Pod], Behaviour]
    clock: Callable[[], float]
    _since: dict[str, float] = field(default_factory=dict)

    def start(self, pod: Pod) -> None:
        self._since[pod.name] = self.clock()

    def status(self, pod: Pod) -> PodStatus:
        behaviour, age = self.script(pod), self.clock() - self._since[pod.name]
        if behaviour.ready_after is not None and age >= behaviour.ready_after:
            return RUNNING
        return behaviour.waiting if age > 0 else WAITING

    def stop(self, pod: Pod) -> None:
        self._since[pod.name] = self.clock()

    def gone(self, pod: Pod) -> bool:
        return self.clock() - self._since[pod.name] >= self.script(pod).ends_after

    def measure(self, metric: Mapping[str, Any], pod: Pod) -> Measurement:  # noqa: ARG002 - every metric measures the same
        return self.script(pod).measurement

    def logs(self, pod_name: str) -> list[str]:
        return [f"{pod_name} is scripted"] if pod_name in self._since else []

    def close(self) -> None: ...
