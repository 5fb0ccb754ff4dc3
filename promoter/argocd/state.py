"""What was seen of a promotion at one instant: Argo CD's Application, the live workload, its pods and analyses, and Git.

Values only: frozen, without I/O, so that the verdict can be pure. `answers` makes them from Argo CD's JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promoter.models import Release

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")

# -- pod template -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """`repository[:tag][@digest]` taken apart; what is absent is empty."""

    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ContainerImage:
        name, _, digest = text.partition("@")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:  # that colon belongs to the port of the host
            return cls(name, "", digest)
        return cls(head, tag, digest)

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True, slots=True)
class RunningRelease:
    """What a pod template runs: the model server's image, and the model version where the template carries one.

    `by_version`: the image is not the release's (an explainer has its own), and the model version alone names it.
    """

    image: ContainerImage
    model_version: str | None = None
    by_version: bool = False


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """The images of all containers and volumes, MODEL_VERSION (env) or model-version (label), and which is the model server's.

    `model_name` is MODEL_NAME (env), if it is set.
    """

    images: tuple[ContainerImage, ...]
    model_version: str | None = None
    server: int = 0
    model_name: str | None = None

    def runs(self, release: Release) -> bool:
        """Whether this template is that release: its digest, and its model version where the template carries one."""
        return self.runs_digest(release) and self.runs_model_version(release)

    def runs_digest(self, release: Release) -> bool:
        return any(image.digest == release.digest for image in self.images)

    def runs_model_version(self, release: Release) -> bool:
        return self.model_version is None or self.model_version == release.version

    def runs_repository(self, release: Release) -> bool:
        return any(image.repository == release.repository for image in self.images)

    def names_version(self, release: Release) -> bool:
        """Whether the template carries this model version, whatever its images are."""
        return self.model_version == release.version and self.model_name in (None, release.model)

    def release(self, repository: str = "") -> RunningRelease | None:
        """The image from `repository` where a container or a volume has one, else the model server's; None without any."""
        if not self.images:
            return None
        named = [image for image in self.images if image.repository == repository]
        return RunningRelease(named[0] if named else self.images[self.server], self.model_version)


# -- Application ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """One Kubernetes object, as Argo CD's resource calls name it; `version` may be empty."""

    group: str
    kind: str
    namespace: str
    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class ManagedResource:
    """One object of the Application (`status.resources`)."""

    ref: ResourceRef
    sync: str = ""
    health: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """`type` is Argo CD's or Kubernetes' word; `reason` and `status` are empty where the object has none.

    `since` is when it changed last.
    """

    type: str
    message: str
    reason: str = ""
    status: str = ""
    since: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ResourceResult:
    """What a sync did to one object; `images` are those of the manifest that Argo CD applied (3.1 and later)."""

    kind: str
    name: str
    status: str = ""
    message: str = ""
    hook_type: str = ""
    hook_phase: str = ""
    images: tuple[ContainerImage, ...] = ()

    @property
    def ill(self) -> bool:
        """The object was applied, and then did not become healthy: under a hook or a wave the sync waits for that."""
        return not self.hook_type and self.status == "Synced" and self.hook_phase in {"Failed", "Error"}

    @property
    def failed(self) -> bool:
        """The object could not be applied, or the hook failed."""
        return self.status == "SyncFailed" or (bool(self.hook_type) and self.hook_phase in {"Failed", "Error"})


@dataclass(frozen=True, slots=True)
class OperationState:
    """The running or last operation. While it waits for a retry, phase is Running and `finished_at` is set.

    `retry_limit` is how often it is tried again, and `retry_seconds` how long it waits between all these tries together.
    """

    phase: str
    revision: str = ""
    message: str = ""
    finished_at: datetime | None = None
    retry_count: int = 0
    resources: tuple[ResourceResult, ...] = ()
    retry_limit: int = 0
    retry_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """An Application as one GET answered it. `revision` is what was last *compared*, a branch name when rendering failed.

    `generate_paths` is the annotation that keeps Argo CD from rendering commits that touch none of them. `ignored_fields` are
    the paths of Rollouts and Deployments that a sync leaves as they are (ignoreDifferences with RespectIgnoreDifferences), or
    that never cause one: their whole pod template. `images` are those of the pods, by Argo CD's summary.
    `health_since` is when `health` became what it is, from Argo CD 2.14 on.
    """

    name: str
    project: str
    namespace: str
    repo_url: str = ""
    path: str = ""
    target_revision: str = ""
    revision: str = ""
    sync: str = "Unknown"
    health: str = "Unknown"
    reconciled_at: datetime | None = None
    operation_requested: bool = False
    operation: OperationState | None = None
    conditions: tuple[Condition, ...] = ()
    resources: tuple[ManagedResource, ...] = ()
    auto_sync: bool = False
    self_heal: bool = False
    image_overrides: tuple[str, ...] = ()
    last_synced_revision: str = ""
    deleting: bool = False
    hydrated: bool = False
    skips_reconcile: bool = False
    generate_paths: str = ""
    ignored_fields: tuple[str, ...] = ()
    images: tuple[ContainerImage, ...] = ()
    health_since: datetime | None = field(default=None, compare=False)

    @property
    def operation_in_progress(self) -> bool:
        """An operation is requested, runs, or waits for its retry; a newer commit is not synced before it ends."""
        return self.operation_requested or (self.operation is not None and self.operation.phase in {"Running", "Terminating"})

    @property
    def revision_is_commit(self) -> bool:
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def workloads(self) -> tuple[ResourceRef, ...]:
        """The Rollouts and Deployments it manages."""
        return tuple(one.ref for one in self.resources if (one.ref.group, one.ref.kind) in WORKLOADS)

    def sync_of(self, ref: ResourceRef) -> str:
        """Synced or OutOfSync, of one object; "" if it is not in the list."""
        wanted = (ref.group, ref.kind, ref.namespace, ref.name)
        found = (one for one in self.resources if (one.ref.group, one.ref.kind, one.ref.namespace, one.ref.name) == wanted)
        return next((one.sync for one in found), "")


WORKLOADS = frozenset({("argoproj.io", "Rollout"), ("apps", "Deployment")})


@dataclass(frozen=True, slots=True)
class SyncWindows:
    """`blocks_auto_sync`: a deny window is open, or there are allow windows and none is open. `by` names the windows."""

    blocks_auto_sync: bool
    by: tuple[str, ...] = ()


# -- workload ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """How a live object differs from Git: the fields' paths, inside its pod template and outside of it."""

    template: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldManager:
    """Who set fields of an object (`metadata.managedFields`): `template`, of its pod template; `paused`, spec.paused."""

    name: str
    time: datetime | None
    template: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class CanaryStep:
    """One step of a canary; `pauses_forever` is `pause: {}`. `words` name it: `pause 5m`, `analysis health`."""

    weight: int | None = None
    pauses_forever: bool = False
    words: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class PlannedAnalysis:
    """A template that the strategy of a Rollout names, with its arguments as they are now; `everywhere`: of the cluster."""

    template: str
    everywhere: bool = False
    arguments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutState:
    """What only a Rollout has. Hashes are pod-template hashes: `stable_hash` names the ReplicaSet that an abort returns to."""

    phase: str
    message: str = ""
    aborted: bool = False
    paused_by_hand: bool = False
    pause_reasons: tuple[str, ...] = ()
    current_hash: str = ""
    stable_hash: str = ""
    active_hash: str | None = None
    step: int | None = None
    steps: tuple[CanaryStep, ...] = ()
    auto_promotes: bool = True
    analyses: tuple[PlannedAnalysis, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """A live Rollout or Deployment. `applied` is the pod template that was last applied to it, if the object records it."""

    ref: ResourceRef
    generation: int
    observed_generation: int | None
    template: PodTemplate
    applied: PodTemplate | None = None
    revision: str = ""
    desired: int = 1
    total: int = 0
    updated: int = 0
    available: int = 0
    conditions: tuple[Condition, ...] = ()
    rollout: RolloutState | None = None
    managers: tuple[FieldManager, ...] = ()

    @property
    def observed(self) -> bool:
        """Its controller has seen the present spec. Until then the status speaks of the spec before."""
        return self.observed_generation == self.generation

    @property
    def stable_replica_set(self) -> str:
        """The name of the ReplicaSet that an abort returns to; empty for a Deployment."""
        return f"{self.ref.name}-{self.rollout.stable_hash}" if self.rollout and self.rollout.stable_hash else ""


@dataclass(frozen=True, slots=True)
class PodState:
    """A Pod of the resource tree: `status_reason` and `message` say why it waits, in the kubelet's and registry's own words."""

    name: str
    images: tuple[ContainerImage, ...] = ()
    hash: str = ""
    health: str = ""
    status_reason: str = ""
    message: str = ""
    restarts: int = 0
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of an AnalysisRun; `values` are what was measured, or the errors instead, oldest first (ten are kept).

    `limits` are the fields of its spec that decide, with the run's arguments filled in: successCondition, failureLimit.
    """

    name: str
    phase: str
    message: str = ""
    values: tuple[str, ...] = ()
    limits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AnalysisRunState:
    """An AnalysisRun; `hash` and `revision` say which pod template and Rollout revision it judged."""

    name: str
    phase: str
    hash: str = ""
    revision: str = ""
    message: str = ""
    metrics: tuple[MetricResult, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceTree:
    """The live objects below an Application that a promotion cares for."""

    pods: tuple[PodState, ...] = ()
    analysis_runs: tuple[ResourceRef, ...] = ()
    replica_sets: tuple[ResourceRef, ...] = ()
