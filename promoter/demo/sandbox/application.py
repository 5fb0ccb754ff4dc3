"""An Argo CD Application: compares Git with what is applied, syncs by itself, and reports it in its status.

Field by field as Argo CD 3.6 answers; the parts nobody asks a sandbox for (hydration, sources, hooks) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promoter.demo.sandbox.analysis import timestamp
from promoter.demo.sandbox.patches import Manifest
from promoter.demo.sandbox.render import RenderError, render
from promoter.demo.sandbox.resources import rollout_health, uid
from promoter.demo.sandbox.rollout import Rollout
from promoter.errors import UnreachableError

if TYPE_CHECKING:
    from promoter.demo.sandbox.pods import Runtime
    from promoter.demo.sandbox.repository import Repository

ARGOCD_NAMESPACE = "argocd"
_SERVER = "https://kubernetes.default.svc"
_APPLY_AFTER, _FINISH_AFTER = 0.4, 0.8  # seconds from the start of an operation, as measured
_KEPT_HISTORY = 10
_LOAD_FAILED = "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc ="
_RETRY = {"limit": 5, "backoff": {"duration": "5s", "factor": 2, "maxDuration": "1m"}}
_HEALTHY_KINDS = {"Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress"}


class OperationRefusedError(Exception):
    """What was asked of the operation can't be done now: the gRPC code and the sentence that Argo CD answers with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Application:
    """The content of an Application manifest: `namespace` is where its resources go."""

    name: str
    project: str
    repo_url: str
    path: str
    namespace: str
    branch: str = "main"

    @property
    def source(self) -> dict[str, str]:
        return {"repoURL": self.repo_url, "path": self.path, "targetRevision": self.branch}

    @property
    def destination(self) -> dict[str, str]:
        return {"server": _SERVER, "namespace": self.namespace}


class ApplicationController:
    """One Application with its resources. Times are seconds of one clock; `snapshot` is its JSON, replaced, never changed."""

    def __init__(self, spec: Application, repository: Repository, runtime: Runtime, now: float) -> None:
        self.spec, self.rollout = spec, Rollout("", spec.namespace, runtime, now)
        self.resource_version = 0
        self.snapshot: Mapping[str, Any] = {}
        self._repository, self._created = repository, now
        self._target: list[Manifest] = []
        self._applied: list[Manifest] = []
        self._compared: list[Manifest] = []  # what was applied when it was last compared: not looked at while a sync runs
        self._revision, self._error, self._skipped = "", "", ""
        self._reconciled = now
        self._operation: dict[str, Any] | None = None
        self._state: dict[str, Any] = {}
        self._is_compared = True
        self._attempted, self._syncing = "", self._target
        self._started, self._is_applied = now, False
        self._history: list[dict[str, Any]] = []
        self._health, self._health_since = "", now
        self._publish(now)

    # -- what Argo CD is asked to do ----------------------------------------------------------------------------------

    def refresh(self, now: float) -> None:
        """Compares the newest commit with what is applied; starts a sync when they differ."""
        try:
            revision = self._repository.head(self.spec.branch, now)
            if revision != self._revision:
                self._target = render(self._repository.files(revision), self.spec.path, self.spec.namespace)
        except UnreachableError as error:
            self._revision, self._error = self.spec.branch, f"{_LOAD_FAILED} {error.message}"
        except RenderError as error:
            command = f"`kustomize build <path to cached source>/{self.spec.path}` failed exit status 1"
            self._revision, self._error = self.spec.branch, f"{_LOAD_FAILED} {command}: Error: {error.message}"
        else:
            # Once a comparison has failed after a sync, the commit that repairs it is never synced by itself: seen live.
            self._skipped = revision if self._error and self._attempted else self._skipped
            self._revision, self._error = revision, ""
        self._compare(now)
        self._auto_sync(now)
        self._publish(now)

    def sync(self, username: str, revision: str, now: float) -> None:
        """Starts a sync because somebody asked for it.

        Raises:
            OperationRefusedError: another one runs, or a revision was named while auto-sync is on.
        """
        if self._operation is not None:
            raise OperationRefusedError(9, "another operation is already in progress")
        if revision and revision != self.spec.branch:
            raise OperationRefusedError(9, f"Cannot sync to {revision}: auto-sync currently set to {self.spec.branch}")
        self._start({"username": username}, now)
        self._state = {}
        self._publish(now)

    def terminate(self, now: float) -> None:
        """Raises: OperationRefusedError, when nothing runs."""
        if self._operation is None:
            raise OperationRefusedError(3, "Unable to terminate operation. No operation is in progress")
        self._end("Failed", "Operation terminated", now)
        self._publish(now)

    # -- controller ---------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Moves the Rollout and the running operation on."""
        if self.rollout.manifest:
            self.rollout.reconcile(now)
        if self._operation is not None:
            self._advance_operation(now)
        elif not self._is_compared:
            self._compare(now)  # a pass later than the end of the operation: for a moment the two disagree, as seen live
        self._auto_sync(now)
        self._publish(now)

    def _compare(self, now: float) -> None:
        self._reconciled, self._compared, self._is_compared = now, self._applied, True

    def _auto_sync(self, now: float) -> None:
        """Once for each commit, never during another operation."""
        new = self._revision not in (self._attempted, self._skipped)
        if new and self._operation is None and self._sync_status() == "OutOfSync":
            self._start({"automated": True}, now)

    def _start(self, initiated_by: dict[str, Any], now: float) -> None:
        automated = {"prune": True} if "automated" in initiated_by else {}
        sync = {"revision": self._revision, **automated, "source": self.spec.source, "syncOptions": ["CreateNamespace=true"]}
        self._operation = {"sync": sync, "initiatedBy": initiated_by, "retry": _RETRY}
        self._state = {"operation": self._operation, "phase": "Running", "startedAt": timestamp(now)}
        self._attempted, self._syncing, self._started, self._is_applied = self._revision, self._target, now, False

    def _advance_operation(self, now: float) -> None:
        operation = self._operation or {}
        self._state = self._state or {"operation": operation, "phase": "Running", "startedAt": timestamp(self._started)}
        if not self._is_applied and now - self._started >= _APPLY_AFTER:
            self._apply(now)
        elif self._is_applied and now - self._started >= _FINISH_AFTER:
            self._end("Succeeded", "successfully synced (all tasks run)", now)

    def _apply(self, now: float) -> None:
        self._is_applied = True
        self._state = {**self._state, "syncResult": self._sync_result()}
        self._applied = self._syncing
        for name, manifest in self._of_kind("Rollout").items():
            if self.rollout.name != name:
                self.rollout = Rollout(name, self.spec.namespace, self.rollout.runtime, now)
            self.rollout.apply(manifest, self._of_kind("AnalysisTemplate"), list(self._of_kind("Service")))

    def _of_kind(self, kind: str) -> dict[str, Manifest]:
        return {item["metadata"]["name"]: item for item in self._applied if item["kind"] == kind}

    def _end(self, phase: str, message: str, now: float) -> None:
        self._state = {**self._state, "phase": phase, "message": message, "finishedAt": timestamp(now)}
        self._operation, self._is_compared = None, False
        if phase == "Succeeded":
            entry = {"revision": self._state["syncResult"]["revision"], "source": self.spec.source}
            times = {"deployedAt": timestamp(now), "deployStartedAt": timestamp(self._started)}
            initiated_by = self._state["operation"]["initiatedBy"]
            number = self._history[-1]["id"] + 1 if self._history else 0
            self._history = [*self._history, {"id": number, **entry, **times, "initiatedBy": initiated_by}][-_KEPT_HISTORY:]

    def _sync_result(self) -> dict[str, Any]:
        before = {_identity(item): item for item in self._applied}
        resources = []
        for manifest in self._syncing:
            verb = "unchanged" if before.get(_identity(manifest)) == manifest else "configured" if before else "created"
            group, kind = _group(manifest), manifest["kind"].lower()
            name = f"{kind}.{group}" if group else kind
            message = f"{name}/{manifest['metadata']['name']} {verb}"
            entry: dict[str, Any] = {"group": group, **_reference(manifest), "status": "Synced", "message": message}
            entry |= {"hookPhase": "Running", "syncPhase": "Sync"}
            if manifest["kind"] == "Rollout":
                entry["images"] = [container["image"] for container in manifest["spec"]["template"]["spec"]["containers"]]
            resources.append(entry)
        return {"resources": resources, "revision": self._attempted, "source": self.spec.source}

    # -- status -------------------------------------------------------------------------------------------------------

    def _sync_status(self) -> str:
        if self._error or not self._revision:
            return "Unknown"
        return "Synced" if self._target == self._compared else "OutOfSync"

    def _resources(self) -> list[dict[str, Any]]:
        applied = {_identity(item): item for item in self._compared}
        resources = []
        for manifest in self._target:
            same = applied.get(_identity(manifest)) == manifest
            entry: dict[str, Any] = {
                **_reference(manifest),
                "status": "Unknown" if self._error else "Synced" if same else "OutOfSync",
            }
            if _group(manifest):
                entry = {"group": _group(manifest), **entry}
            if _identity(manifest) not in applied:
                entry["health"] = {"status": "Missing"}
            elif manifest["kind"] == "Rollout":
                entry["health"] = rollout_health(self.rollout)
            elif manifest["kind"] in _HEALTHY_KINDS:
                entry["health"] = {"status": "Healthy"}
            resources.append(entry)
        return resources

    def _publish(self, now: float) -> None:
        """Writes the snapshot; health is that of before until an operation has ended and its outcome was compared."""
        resources = self._resources()
        if (self._operation is None and self._is_compared) or not self._health:
            health = rollout_health(self.rollout)["status"] if self._applied else "Missing"
            if health != self._health:
                self._health, self._health_since = health, now
        status = {
            "resources": resources,
            "sync": {
                "status": self._sync_status(),
                "comparedTo": {"source": self.spec.source, "destination": self.spec.destination},
                "revision": self._revision,
            },
            "health": self._health_status(),
            "reconciledAt": timestamp(self._reconciled),
            "sourceType": "Kustomize",
            "summary": {"images": self._images()},
            "resourceHealthSource": "appTree",
            "controllerNamespace": ARGOCD_NAMESPACE,
        }
        if self._history:
            status["history"] = self._history
        if self._state:
            status["operationState"] = self._state
        if self._error:
            condition = {"type": "ComparisonError", "message": self._error, "lastTransitionTime": timestamp(self._reconciled)}
            status["conditions"] = [condition]
        self._replace_snapshot(status)

    def _health_status(self) -> dict[str, str]:
        health = {"status": self._health, "lastTransitionTime": timestamp(self._health_since)}
        if self._applied and self._health != "Healthy":
            health["message"] = f"Caused by argoproj.io/Rollout:{self.spec.namespace}/{self.rollout.name}"
        return health

    def _images(self) -> list[str]:
        sets = self.rollout.replica_sets
        return sorted({pod.pod.image for replica_set in sets for pod in replica_set.pods})

    def _replace_snapshot(self, status: dict[str, Any]) -> None:
        if status == self.snapshot.get("status") and self._operation == self.snapshot.get("operation"):
            return
        self.resource_version += 1
        metadata = {
            "name": self.spec.name,
            "namespace": ARGOCD_NAMESPACE,
            "uid": uid(ARGOCD_NAMESPACE, "Application", self.spec.name),
        }
        metadata |= {"resourceVersion": str(self.resource_version), "creationTimestamp": timestamp(self._created)}
        policy = {"automated": {"prune": True, "selfHeal": False}, "syncOptions": ["CreateNamespace=true"], "retry": _RETRY}
        spec = {
            "source": self.spec.source,
            "destination": self.spec.destination,
            "project": self.spec.project,
            "syncPolicy": policy,
        }
        snapshot: dict[str, Any] = {
            "metadata": {**metadata, "generation": self.resource_version},
            "spec": spec,
            "status": status,
        }
        if self._operation is not None:
            snapshot["operation"] = self._operation
        self.snapshot = snapshot


def _group(manifest: Manifest) -> str:
    return str(manifest["apiVersion"]).rpartition("/")[0]


def _reference(manifest: Manifest) -> dict[str, str]:
    version = str(manifest["apiVersion"]).rpartition("/")[2]
    metadata = manifest["metadata"]
    return {"version": version, "kind": manifest["kind"], "namespace": metadata["namespace"], "name": metadata["name"]}


def _identity(manifest: Manifest) -> tuple[str, ...]:
    return _group(manifest), manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]
