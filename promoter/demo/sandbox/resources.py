"""The live objects of an Application as the API answers them: Rollout, ReplicaSets, AnalysisRuns, and the resource tree."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from promoter.demo.sandbox.analysis import AnalysisRun, timestamp

if TYPE_CHECKING:
    from promoter.demo.sandbox.replica_sets import ReplicaSet, RunningPod
    from promoter.demo.sandbox.rollout import Rollout

_PHASE_TO_HEALTH = {"Paused": "Suspended"}
_RUN_HEALTH = {"Running": "Progressing", "Successful": "Healthy", "Failed": "Degraded", "Error": "Degraded"}
_RUN_MESSAGE = {"Running": "Analysis run is running", "Successful": "Analysis run completed successfully"}


def uid(*parts: str) -> str:
    """The same object always has the same UID."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))


def rollout_health(rollout: Rollout) -> dict[str, str]:
    """Argo CD's health of a Rollout (resource_customizations/argoproj.io/Rollout/health.lua)."""
    if rollout.status.get("observedGeneration") != str(rollout.generation):
        return {"status": "Progressing", "message": "Waiting for rollout spec update to be observed"}
    phase, message = str(rollout.status["phase"]), rollout.status.get("message")
    health = {"status": _PHASE_TO_HEALTH.get(phase, phase)}
    return {**health, "message": message} if message else health


def find(rollout: Rollout, kind: str, name: str) -> Mapping[str, Any] | None:
    """The live manifest of the Rollout, of one of its ReplicaSets or of one of its AnalysisRuns."""
    if kind == "Rollout":
        return _rollout(rollout) if name == rollout.name else None
    if kind == "ReplicaSet":
        return next((_replica_set(rollout, item) for item in rollout.replica_sets if item.name == name), None)
    if kind == "AnalysisRun":
        return next((_analysis_run(rollout, item) for item in rollout.analysis_runs if item.name == name), None)
    return None


def _rollout(rollout: Rollout) -> dict[str, Any]:
    metadata = dict(rollout.manifest["metadata"])
    metadata["annotations"] = {**metadata.get("annotations", {}), "rollout.argoproj.io/revision": str(rollout.revision)}
    metadata |= {"generation": rollout.generation, "creationTimestamp": timestamp(rollout.created)}
    metadata["uid"] = uid(rollout.namespace, "Rollout", rollout.name)
    return {**rollout.manifest, "metadata": metadata, "status": rollout.status}


def _owner(rollout: Rollout) -> list[dict[str, Any]]:
    reference = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": rollout.name}
    return [
        {**reference, "uid": uid(rollout.namespace, "Rollout", rollout.name), "controller": True, "blockOwnerDeletion": True}
    ]


def _replica_set(rollout: Rollout, replica_set: ReplicaSet) -> dict[str, Any]:
    hash_label = {"rollouts-pod-template-hash": replica_set.hash}
    template = dict(replica_set.template)
    labels = {**(template.get("metadata") or {}).get("labels", {}), **hash_label}
    template["metadata"] = {**(template.get("metadata") or {}), "labels": labels}
    counts = {"replicas": len(replica_set.active), "readyReplicas": len(replica_set.ready)}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": replica_set.name,
            "namespace": rollout.namespace,
            "uid": uid(rollout.namespace, "ReplicaSet", replica_set.name),
            "creationTimestamp": timestamp(replica_set.created),
            "labels": labels,
            "annotations": {"rollout.argoproj.io/revision": str(replica_set.revision)},
            "ownerReferences": _owner(rollout),
        },
        "spec": {"replicas": len(replica_set.active), "selector": {"matchLabels": labels}, "template": template},
        "status": counts,
    }


def _analysis_run(rollout: Rollout, run: AnalysisRun) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {
            "name": run.name,
            "namespace": rollout.namespace,
            "uid": uid(rollout.namespace, "AnalysisRun", run.name),
            "creationTimestamp": timestamp(run.started),
            "labels": dict(run.labels),
            "annotations": {"rollout.argoproj.io/revision": str(run.revision)},
            "ownerReferences": _owner(rollout),
        },
        "spec": run.spec(),
        "status": run.status(),
    }


# -- resource tree ----------------------------------------------------------------------------------------------------


def resource_tree(rollout: Rollout) -> dict[str, Any]:
    """The nodes that promoter looks at: the Rollout, its ReplicaSets, their Pods, its AnalysisRuns."""
    if not rollout.manifest:
        return {"nodes": []}
    rollout_node = _node(rollout, "argoproj.io", "v1alpha1", "Rollout", rollout.name, rollout.created)
    nodes = [{**rollout_node, "info": _revision(rollout.revision), "health": rollout_health(rollout)}]
    for replica_set in rollout.replica_sets:
        nodes.append(_replica_set_node(rollout, replica_set))
        nodes += [_pod_node(rollout, replica_set, pod) for pod in replica_set.pods]
    return {"nodes": [*nodes, *(_run_node(rollout, run) for run in rollout.analysis_runs)]}


def _node(rollout: Rollout, group: str, version: str, kind: str, name: str, created: float) -> dict[str, Any]:
    node = {"version": version, "kind": kind, "namespace": rollout.namespace, "name": name}
    node |= {"uid": uid(rollout.namespace, kind, name), "createdAt": timestamp(created)}
    return {"group": group, **node} if group else node


def _revision(number: int) -> list[dict[str, str]]:
    return [{"name": "Revision", "value": f"Rev:{number}"}]


def _parent(rollout: Rollout, group: str, version: str, kind: str, name: str) -> list[dict[str, str]]:
    parent = {"group": group, "version": version, "kind": kind, "namespace": rollout.namespace, "name": name}
    return [{**parent, "uid": uid(rollout.namespace, kind, name)}]


def _replica_set_node(rollout: Rollout, replica_set: ReplicaSet) -> dict[str, Any]:
    ready, wanted = len(replica_set.ready), len(replica_set.active)
    health = {"status": "Healthy"}
    if ready < wanted:
        message = f"Waiting for rollout to finish: {ready} out of {wanted} new replicas are available..."
        health = {"status": "Progressing", "message": message}
    node = _node(rollout, "apps", "v1", "ReplicaSet", replica_set.name, replica_set.created)
    parents = _parent(rollout, "argoproj.io", "v1alpha1", "Rollout", rollout.name)
    return {**node, "parentRefs": parents, "info": _revision(replica_set.revision), "health": health}


def _pod_node(rollout: Rollout, replica_set: ReplicaSet, pod: RunningPod) -> dict[str, Any]:
    status = pod.status
    reason = "Terminating" if pod.stopped_at is not None else status.reason
    info = {"Status Reason": reason, "Containers": "1/1" if status.ready else "0/1"}
    if status.restarts:
        info["Restart Count"] = str(status.restarts)
    if pod.stopped_at is not None:
        health = {"status": "Progressing", "message": "Pending deletion"}
    elif status.ready:
        health = {"status": "Healthy"}
    else:
        health = {"status": "Degraded", "message": status.message} if status.message else {"status": "Progressing"}
    node = _node(rollout, "", "v1", "Pod", pod.pod.name, pod.created)
    return {
        **node,
        "parentRefs": _parent(rollout, "apps", "v1", "ReplicaSet", replica_set.name),
        "info": [{"name": name, "value": value} for name, value in info.items()],
        "networkingInfo": {"labels": {"rollouts-pod-template-hash": replica_set.hash}},
        "images": [pod.pod.image],
        "health": health,
    }


def _run_node(rollout: Rollout, run: AnalysisRun) -> dict[str, Any]:
    message = run.message or _RUN_MESSAGE[run.phase]
    node = _node(rollout, "argoproj.io", "v1alpha1", "AnalysisRun", run.name, run.started)
    parents = _parent(rollout, "argoproj.io", "v1alpha1", "Rollout", rollout.name)
    health = {"status": _RUN_HEALTH[run.phase], "message": message}
    return {**node, "parentRefs": parents, "info": _revision(run.revision), "health": health}
