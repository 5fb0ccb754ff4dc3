"""Argo CD's JSON answers as the values of `state`. Pure; tolerates absent fields, but not those that a verdict depends on.

Field paths are those of argo-cd pkg/apis/application/v1alpha1/types.go and argo-rollouts pkg/apis/rollouts/v1alpha1/types.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from promoter.argocd.errors import UnwatchableError
from promoter.argocd.state import (
    AnalysisRunState,
    ApplicationState,
    CanaryStep,
    Condition,
    ContainerImage,
    Difference,
    FieldManager,
    ManagedResource,
    MetricResult,
    OperationState,
    PlannedAnalysis,
    PodState,
    PodTemplate,
    ResourceRef,
    ResourceResult,
    ResourceTree,
    RolloutState,
    SyncWindows,
    Workload,
)
from promoter.errors import UnexpectedAnswerError
from promoter.models import source_path
from promoter.transport.boundary import whole_number

Json = Mapping[str, Any]

_WHOLE_TEMPLATE = re.compile(r"[./]spec(?:[./]template)?")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0, "ms": 0.001}
_ARGUMENT = re.compile(r"\{\{ *args\.([\w-]+) *\}\}")
_LIMITS = ("successCondition", "failureCondition", "failureLimit", "inconclusiveLimit", "consecutiveErrorLimit", "count")
_HASHES = {"Latest": "currentPodHash", "Stable": "stableRS"}
_FIELD = re.compile(r"([A-Za-z][\w-]*)|\[(\d+)\]|\['([^']+)'\]")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


# -- Application ------------------------------------------------------------------------------------------------------


def application_state(document: Json, *, path: str = "") -> ApplicationState:
    """An Application's JSON; with several sources, the one at `path` is read, else the first that has a path.

    Raises:
        UnexpectedAnswerError: no metadata.name, or a time that is none.
    """
    metadata, spec, status = _at(document, "metadata"), _at(document, "spec"), _at(document, "status")
    if not metadata.get("name"):
        raise UnexpectedAnswerError("Argo CD answered with something that is not an Application: metadata.name is missing")
    index, source = _source(spec, path)
    sync, automated = _at(status, "sync"), _at(spec, "syncPolicy").get("automated")
    return ApplicationState(
        name=metadata["name"],
        project=spec.get("project", ""),
        namespace=metadata.get("namespace", ""),
        repo_url=source.get("repoURL", ""),
        path=source.get("path", ""),
        target_revision=source.get("targetRevision", ""),
        revision=_revision(sync, index),
        sync=sync.get("status", "Unknown"),
        health=_at(status, "health").get("status", "Unknown"),
        health_since=_time(_at(status, "health").get("lastTransitionTime"), "status.health.lastTransitionTime"),
        reconciled_at=_time(status.get("reconciledAt"), "status.reconciledAt"),
        operation_requested=bool(document.get("operation")),
        operation=_operation(status.get("operationState"), index),
        conditions=_conditions(status),
        resources=tuple(_managed(one) for one in _list(status, "resources")),
        auto_sync=automated is not None and automated.get("enabled") is not False,
        self_heal=bool((automated or {}).get("selfHeal")),
        image_overrides=tuple(_at(source, "kustomize").get("images") or ()),
        last_synced_revision=_revision(_list(status, "history")[-1], index) if _list(status, "history") else "",
        deleting="deletionTimestamp" in metadata,
        hydrated="sourceHydrator" in spec,
        skips_reconcile=_at(metadata, "annotations").get("argocd.argoproj.io/skip-reconcile") == "true",
        generate_paths=_at(metadata, "annotations").get("argocd.argoproj.io/manifest-generate-paths", ""),
        ignored_fields=tuple(_ignored(spec)),
        images=_images(_at(status, "summary")),
    )


def _ignored(spec: Json) -> Iterator[str]:
    """With RespectIgnoreDifferences a sync leaves these fields as they are; without it, any other difference brings them."""
    respected = "RespectIgnoreDifferences=true" in _list(_at(spec, "syncPolicy"), "syncOptions")
    for one in _list(spec, "ignoreDifferences"):
        if one.get("kind") in ("Rollout", "Deployment", "*"):
            fields = (*_list(one, "jsonPointers"), *_list(one, "jqPathExpressions"))
            yield from (field for field in fields if respected or _WHOLE_TEMPLATE.fullmatch(field))


def _source(spec: Json, path: str) -> tuple[int, Json]:
    sources = _list(spec, "sources") or [_at(spec, "source")]
    for index, source in enumerate(sources):
        if source.get("path") and path in ("", source_path(source["path"])):
            return index, source
    return 0, sources[0]


def _revision(document: Json, index: int) -> str:
    """`revision`, or of `revisions` the one that belongs to our source (they are index-aligned with the sources)."""
    several = document.get("revisions") or ()
    return several[index] if index < len(several) else document.get("revision") or ""


def _operation(document: Json | None, index: int) -> OperationState | None:
    if not document:
        return None
    result, asked, retry = _at(document, "syncResult"), _at(document, "operation", "sync"), _at(document, "operation", "retry")
    limit = retry.get("limit") or 0
    return OperationState(
        phase=document.get("phase", ""),
        revision=_revision(result, index) or _revision(asked, index),
        message=document.get("message", ""),
        finished_at=_time(document.get("finishedAt"), "status.operationState.finishedAt"),
        retry_count=document.get("retryCount", 0),
        resources=tuple(_result(one) for one in _list(result, "resources")),
        retry_limit=limit,
        retry_seconds=_retry_seconds(limit, _at(retry, "backoff")),
    )


def _retry_seconds(limit: int, backoff: Json) -> float:
    """How long an operation waits between its tries, all together, with Argo CD's defaults (controller/appcontroller.go)."""
    first, longest = _seconds(backoff.get("duration"), 5.0), _seconds(backoff.get("maxDuration"), 180.0)
    factor = float(backoff.get("factor") or 2)
    return sum((min(longest, first * factor**count) for count in range(min(limit, 100))), 0.0)


def _seconds(text: object, default: float) -> float:
    """Go's duration (`1m30s`), or a number of seconds."""
    parts = re.findall(r"([0-9.]+)(h|ms|m|s|)", str(text or ""))
    return sum(float(number) * _UNITS[unit] for number, unit in parts) or default


def _result(document: Json) -> ResourceResult:
    return ResourceResult(
        kind=document.get("kind", ""),
        name=document.get("name", ""),
        status=document.get("status", ""),
        message=document.get("message", ""),
        hook_type=document.get("hookType", ""),
        hook_phase=document.get("hookPhase", ""),
        images=_images(document),
    )


def _managed(document: Json) -> ManagedResource:
    health = _at(document, "health")
    return ManagedResource(_ref(document), document.get("status", ""), health.get("status", ""), health.get("message", ""))


def sync_windows(document: Json) -> SyncWindows:
    """The answer of `GET .../syncwindows`."""
    active, assigned = _list(document, "activeWindows"), _list(document, "assignedWindows")
    denied = [window for window in active if window.get("kind") == "deny"]
    allowed = [window for window in assigned if window.get("kind") == "allow"]
    outside = bool(allowed) and not any(one.get("kind") == "allow" for one in active)
    closed = denied or (allowed if outside else [])
    return SyncWindows(bool(closed), tuple(map(_window, closed)))


def _window(document: Json) -> str:
    """`deny 0 18 * * 5 for 62h`"""
    return f"{document.get('kind')} {document.get('schedule', '(no schedule)')} for {document.get('duration', '?')}"


# -- workload ---------------------------------------------------------------------------------------------------------


def workload(manifest: Json) -> Workload:
    """A live Rollout or Deployment.

    Raises:
        UnwatchableError: a Rollout with spec.workloadRef.
        UnexpectedAnswerError: no generation, an observedGeneration that is not a number, or no pod template.
    """
    metadata, spec, status = _at(manifest, "metadata"), _at(manifest, "spec"), _at(manifest, "status")
    kind, name = manifest.get("kind", ""), metadata.get("name", "")
    if not isinstance(metadata.get("generation"), int):
        raise UnexpectedAnswerError(f"{kind} {name}: metadata.generation is missing")
    if reference := _at(spec, "workloadRef"):
        source = f"{reference.get('kind', '')} {reference.get('name', '')}"
        raise UnwatchableError(
            f"{kind} {name} takes its pods from {source} (spec.workloadRef)",
            hint="promoter can't watch that: move the pod template into the Rollout",
        )
    if "template" not in spec:
        raise UnexpectedAnswerError(f"{kind} {name} has no pod template")
    annotations = _at(metadata, "annotations")
    return Workload(
        ref=ResourceRef(*_group_version(manifest, kind, metadata)),
        generation=metadata["generation"],
        observed_generation=_observed_generation(status.get("observedGeneration"), f"{kind} {name}"),
        template=pod_template(spec["template"]),
        applied=_applied(annotations.get(_LAST_APPLIED)),
        revision=annotations.get("rollout.argoproj.io/revision") or annotations.get("deployment.kubernetes.io/revision") or "",
        desired=1 if spec.get("replicas") is None else spec["replicas"],
        total=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        conditions=_conditions(status),
        rollout=_rollout(manifest, spec, status) if kind == "Rollout" else None,
        managers=tuple(_manager(one) for one in _list(metadata, "managedFields")),
    )


def _manager(document: Json) -> FieldManager:
    spec, time = _at(document, "fieldsV1", "f:spec"), _time(document.get("time"), "metadata.managedFields")
    return FieldManager(document.get("manager", ""), time, "f:template" in spec, "f:paused" in spec)


def difference(document: Json, ref: ResourceRef) -> Difference | None:
    """How one object differs, in the answer of `GET .../managed-resources`; None if the answer does not have both sides."""
    wanted = (ref.group, ref.kind, ref.namespace, ref.name)
    for item in _list(document, "items"):
        if tuple(item.get(key, "") for key in ("group", "kind", "namespace", "name")) == wanted:
            live, target = (_manifest(item.get(side)) for side in ("normalizedLiveState", "predictedLiveState"))
            if live is None or target is None:
                return None
            paths = sorted(_differing(live, target, ""))
            inside = tuple(path for path in paths if path.startswith("spec.template"))
            return Difference(inside, tuple(path for path in paths if path not in inside))
    return None


def _manifest(text: str | None) -> Json | None:
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _differing(live: Any, target: Any, path: str) -> Iterator[str]:
    """The paths of the smallest values that differ; a list is named as a whole where its length differs."""
    if isinstance(live, dict) and isinstance(target, dict):
        for key in live.keys() | target.keys():
            yield from _differing(live.get(key), target.get(key), f"{path}.{key}" if path else key)
    elif isinstance(live, list) and isinstance(target, list) and len(live) == len(target):
        for index, (one, other) in enumerate(zip(live, target, strict=True)):
            yield from _differing(one, other, f"{path}[{index}]")
    elif live != target:
        yield path


def _group_version(manifest: Json, kind: str, metadata: Json) -> tuple[str, str, str, str, str]:
    group, _, version = manifest.get("apiVersion", "").rpartition("/")
    return group, kind, metadata.get("namespace", ""), metadata.get("name", ""), version


def _observed_generation(value: Any, where: str) -> int | None:
    """A string in Rollouts, a number in Deployments; None before the controller's first look."""
    try:
        return None if value in (None, "") else int(value)
    except (TypeError, ValueError):
        raise UnexpectedAnswerError(f"{where}: status.observedGeneration is {value!r}, not a number") from None


def _rollout(manifest: Json, spec: Json, status: Json) -> RolloutState:
    blue_green = _at(spec, "strategy").get("blueGreen")
    return RolloutState(
        phase=status.get("phase", ""),
        message=status.get("message", ""),
        aborted=bool(status.get("abort")),
        paused_by_hand=bool(spec.get("paused")),
        pause_reasons=tuple(one.get("reason", "") for one in _list(status, "pauseConditions")),
        current_hash=status.get("currentPodHash", ""),
        stable_hash=status.get("stableRS", ""),
        active_hash=_at(status, "blueGreen").get("activeSelector", "") if blue_green is not None else None,
        step=status.get("currentStepIndex"),
        steps=tuple(_step(one) for one in _list(_at(spec, "strategy", "canary"), "steps")),
        auto_promotes=not blue_green
        or blue_green.get("autoPromotionEnabled") is not False
        or "autoPromotionSeconds" in blue_green,
        analyses=tuple(_planned(manifest)),
    )


def _planned(manifest: Json) -> Iterator[PlannedAnalysis]:
    """The analyses of the strategy: in the background, in steps, before and after a blue-green promotion."""
    canary, blue_green = (_at(manifest, "spec", "strategy", name) for name in ("canary", "blueGreen"))
    parts = [_at(canary, "analysis"), *(_at(step, "analysis") for step in _list(canary, "steps"))]
    parts += [_at(blue_green, name) for name in ("prePromotionAnalysis", "postPromotionAnalysis")]
    for part in parts:
        arguments = tuple((one.get("name", ""), _argument(manifest, one)) for one in _list(part, "args"))
        for used in _list(part, "templates"):
            yield PlannedAnalysis(used.get("templateName", ""), bool(used.get("clusterScope")), arguments)


def _argument(manifest: Json, document: Json) -> str:
    """Its value now; "" if it is not in the Rollout."""
    source, status = _at(document, "valueFrom"), _at(manifest, "status")
    if (which := source.get("podTemplateHashValue")) in _HASHES:
        return str(status.get(_HASHES[which]) or "")
    found: Any = manifest
    for name, place, key in _FIELD.findall(_at(source, "fieldRef").get("fieldPath", "")):
        try:
            found = found[int(place)] if place else found[key or name]
        except (LookupError, TypeError):
            return ""
    return str(found) if isinstance(found, str) else str(document.get("value") or "")


def _step(document: Json) -> CanaryStep:
    pause = document.get("pause")
    forever = "pause" in document and (pause or {}).get("duration") is None
    return CanaryStep(document.get("setWeight"), forever, _step_words(document))


def _step_words(document: Json) -> str:
    """Its kind, as CanaryStep of argoproj.io/v1alpha1 has it, with what matters most of it."""
    kind = next(iter(document), "")
    value = document.get(kind)
    if isinstance(value, Mapping):
        named = ", ".join(str(one.get("templateName") or one.get("name") or "") for one in _list(value, "templates"))
        value = named or value.get("duration") or value.get("name") or value.get("replicas") or value.get("weight")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = None
    return f"{kind} {value}" if value is not None else kind


def pod_template(document: Json) -> PodTemplate:
    """`spec.template` of a Rollout, Deployment or ReplicaSet. Images of volumes come after those of containers."""
    containers = _list(_at(document, "spec"), "containers")
    references = [container.get("image", "") for container in containers]
    references += filter(None, (_at(one, "image").get("reference") for one in _list(_at(document, "spec"), "volumes")))
    versions = [_variable(container, "MODEL_VERSION") for container in containers]
    names = (_variable(container, "MODEL_NAME") for container in containers)
    server = next((index for index, version in enumerate(versions) if version is not None), 0)
    label = _at(document, "metadata", "labels").get("model-version")
    return PodTemplate(
        images=tuple(ContainerImage.parse(reference) for reference in references),
        model_version=next((version for version in versions if version is not None), label),
        server=server,
        model_name=next((name for name in names if name), None),
    )


def _variable(container: Json, name: str) -> str | None:
    return next((one.get("value") for one in _list(container, "env") if one.get("name") == name), None)


def _applied(text: str | None) -> PodTemplate | None:
    """The pod template of the last-applied annotation, which an object applied on the server's side does not have."""
    try:
        template = json.loads(text)["spec"]["template"] if text else None
    except (ValueError, KeyError, TypeError):
        return None
    return pod_template(template) if template else None


# -- below the workload -----------------------------------------------------------------------------------------------


def resource_tree(document: Json) -> ResourceTree:
    """The answer of `GET .../resource-tree`."""
    nodes = _list(document, "nodes")

    def of(group: str, kind: str) -> tuple[ResourceRef, ...]:
        return tuple(_ref(node) for node in nodes if (node.get("group", ""), node.get("kind")) == (group, kind))

    return ResourceTree(
        pods=tuple(_pod(node) for node in nodes if node.get("kind") == "Pod"),
        analysis_runs=of("argoproj.io", "AnalysisRun"),
        replica_sets=of("apps", "ReplicaSet"),
    )


def _pod(node: Json) -> PodState:
    info = {one.get("name"): one.get("value", "") for one in _list(node, "info")}
    labels, health = _at(node, "networkingInfo", "labels"), _at(node, "health")
    return PodState(
        name=node.get("name", ""),
        images=_images(node),
        hash=labels.get("rollouts-pod-template-hash") or labels.get("pod-template-hash") or "",
        health=health.get("status", ""),
        status_reason=info.get("Status Reason", ""),
        message=health.get("message", ""),
        restarts=whole_number(info.get("Restart Count", "")) or 0,
        namespace=node.get("namespace", ""),
    )


def analysis_run(manifest: Json) -> AnalysisRunState:
    """A live AnalysisRun."""
    metadata, status, spec = (_at(manifest, part) for part in ("metadata", "status", "spec"))
    given = {one.get("name"): one.get("value") for one in _list(spec, "args")}
    limits = {one.get("name"): _limits(one, given) for one in _list(spec, "metrics")}
    return AnalysisRunState(
        name=metadata.get("name", ""),
        phase=status.get("phase", "Pending"),
        hash=_at(metadata, "labels").get("rollouts-pod-template-hash", ""),
        revision=_at(metadata, "annotations").get("rollout.argoproj.io/revision", ""),
        message=status.get("message", ""),
        metrics=tuple(_metric(one, limits) for one in _list(status, "metricResults")),
    )


def _metric(document: Json, limits: Mapping[str, tuple[tuple[str, str], ...]]) -> MetricResult:
    measured = tuple(_measured(one) for one in _list(document, "measurements"))
    name, phase, message = (document.get(key, "") for key in ("name", "phase", "message"))
    return MetricResult(name, phase, message, measured, limits.get(name, ()))


def _limits(metric: Json, given: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    """What decides about the metric; `{{args.NAME}}` is written out where the run has a value."""

    def filled(text: str) -> str:
        return _ARGUMENT.sub(lambda found: given.get(found[1]) or found[0], text)

    return tuple((key, filled(str(metric[key]))) for key in _LIMITS if metric.get(key) is not None)


def _measured(measurement: Json) -> str:
    """The measured value; for a Job, which has none, its name: its log has the details."""
    job = _at(measurement, "metadata").get("job-name")
    return measurement.get("value") or measurement.get("message") or (f"by Job {job}" if job else "")


# -- small parts ------------------------------------------------------------------------------------------------------


def _at(document: Json, *keys: str) -> Json:
    """The object below these keys; empty where one is absent or null, as Go writes it."""
    for key in keys:
        document = document.get(key) or {}
    return document


def _list(document: Json, key: str) -> Sequence[Any]:
    return document.get(key) or ()


def _time(text: str | None, where: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError:
        time = datetime.min
    if time is not None and time.tzinfo is None:
        raise UnexpectedAnswerError(f"Application: {where} is {text!r}, not a time with its zone")
    return time


def _images(document: Json) -> tuple[ContainerImage, ...]:
    return tuple(ContainerImage.parse(image) for image in _list(document, "images"))


def _ref(document: Json) -> ResourceRef:
    fields = ("group", "kind", "namespace", "name", "version")
    return ResourceRef(*(document.get(one, "") for one in fields))


def _conditions(status: Json) -> tuple[Condition, ...]:
    return tuple(_condition(one) for one in _list(status, "conditions"))


def _condition(document: Json) -> Condition:
    kind, message, reason, state = (document.get(key, "") for key in ("type", "message", "reason", "status"))
    return Condition(kind, message, reason, state, _since(document))


def _since(condition: Json) -> datetime | None:
    times = (_time(condition.get(key), f"conditions.{key}") for key in ("lastTransitionTime", "lastUpdateTime"))
    return max((one for one in times if one), default=None)
