"""The ReplicaSets of a Rollout and their pods: counting them, and scaling within what may be too many or too few."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from promoter.demo.sandbox.pods import WAITING, Pod, PodStatus, Runtime

_SAFE = "bcdfghjklmnpqrstvwxz2456789"  # the letters Kubernetes makes hashes and pod names of


def short_hash(value: Any, length: int = 10) -> str:
    """A deterministic name for a value: the same pod template always has the same hash."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:length])


@dataclass
class RunningPod:
    """A pod of a ReplicaSet. `ready_at` is when it became ready, `stopped_at` when it began to terminate."""

    pod: Pod
    created: float
    status: PodStatus = WAITING
    ready_at: float | None = None
    stopped_at: float | None = None


@dataclass
class ReplicaSet:
    """One pod template of the Rollout with the pods made from it, those that terminate included."""

    name: str
    hash: str
    template: Mapping[str, Any]
    revision: int
    created: float
    pods: list[RunningPod] = field(default_factory=list)

    @property
    def active(self) -> list[RunningPod]:
        return [pod for pod in self.pods if pod.stopped_at is None]

    @property
    def ready(self) -> list[RunningPod]:
        return [pod for pod in self.active if pod.ready_at is not None]


class ReplicaSets:
    """All ReplicaSets of one Rollout, by the hash of their pod template."""

    def __init__(self, rollout: str, namespace: str, runtime: Runtime) -> None:
        self.by_hash: dict[str, ReplicaSet] = {}
        self.min_ready_seconds = 0.0
        self._rollout, self._namespace, self._runtime, self._pods_made = rollout, namespace, runtime, 0

    def __iter__(self) -> Iterator[ReplicaSet]:
        return iter(self.by_hash.values())

    def adopt(self, hash_: str, template: Mapping[str, Any], revision: int, now: float) -> None:
        """Makes the ReplicaSet of this template the one of this revision; it may be there from before."""
        known = self.by_hash.setdefault(hash_, ReplicaSet(f"{self._rollout}-{hash_}", hash_, template, revision, now))
        known.revision = revision

    def forget_idle(self, limit: int, *, keep: Collection[str]) -> None:
        """Drops the oldest ReplicaSets without pods, beyond revisionHistoryLimit."""
        idle = sorted((item for item in self if not item.pods and item.hash not in keep), key=lambda item: item.revision)
        for replica_set in idle[: max(0, len(idle) - limit)]:
            del self.by_hash[replica_set.hash]

    def available(self, hash_: str, now: float) -> list[RunningPod]:
        """The pods that have been ready for minReadySeconds."""
        ready = self.by_hash[hash_].ready
        return [pod for pod in ready if pod.ready_at is not None and now - pod.ready_at >= self.min_ready_seconds]

    def counts(self, current: str, now: float) -> dict[str, int]:
        """The four counts in the status of the Rollout."""
        return {
            "replicas": sum(len(item.active) for item in self),
            "updatedReplicas": len(self.by_hash[current].active) if current else 0,
            "readyReplicas": sum(len(item.ready) for item in self),
            "availableReplicas": self._all_available(now),
        }

    def see(self, now: float) -> bool:
        """Takes over how the pods fare; whether one of them has become ready."""
        progress = False
        for replica_set in self:
            replica_set.pods = [pod for pod in replica_set.pods if pod.stopped_at is None or not self._runtime.gone(pod.pod)]
            for pod in replica_set.active:
                pod.status = self._runtime.status(pod.pod)
                progress = progress or (pod.status.ready and pod.ready_at is None)
                pod.ready_at = (pod.ready_at or now) if pod.status.ready else None
        return progress

    def scale(self, want: Mapping[str, int], *, most: int, least: int, now: float) -> None:
        """Towards the wanted number of pods of each hash (none of any other), with at most `most` and `least` available."""
        for replica_set in self:
            room = most - sum(len(item.active) for item in self)
            for _ in range(min(want.get(replica_set.hash, 0) - len(replica_set.active), room)):
                self._start_pod(replica_set, now)
        for replica_set in sorted(self, key=lambda item: item.hash in want):
            for pod in sorted(replica_set.active, key=lambda item: item.ready_at is not None):
                spare = pod.ready_at is None or self._all_available(now) > least
                if spare and len(replica_set.active) > want.get(replica_set.hash, 0):
                    pod.stopped_at = now
                    self._runtime.stop(pod.pod)

    def _all_available(self, now: float) -> int:
        return sum(len(self.available(item.hash, now)) for item in self)

    def _start_pod(self, replica_set: ReplicaSet, now: float) -> None:
        self._pods_made += 1
        container = replica_set.template["spec"]["containers"][0]
        env = {item["name"]: str(item.get("value", "")) for item in container.get("env", [])}
        name = f"{replica_set.name}-{short_hash([self._namespace, self._rollout, self._pods_made], 5)}"
        pod = RunningPod(Pod(name, container["image"], env), now)
        replica_set.pods.append(pod)
        self._runtime.start(pod.pod)
