"""What rendered manifests run: the workloads that carry a release, and those that promoter could not watch. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from promoter.config.yaml import plain_values
from promoter.errors import ConfigError, RefusedError
from promoter.models import Release

_WATCHED = frozenset({("argoproj.io", "Rollout"), ("apps", "Deployment")})


@dataclass(frozen=True, slots=True)
class Workload:
    """A rendered object with a pod template: the images of its containers, and the model version that it carries."""

    group: str
    kind: str
    name: str
    images: tuple[str, ...]
    model_version: str | None = None

    @property
    def watched(self) -> bool:
        return (self.group, self.kind) in _WATCHED

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def carrying(text: str, directory: str, release: Release) -> tuple[str, ...]:
    """The workloads in the rendered manifests of `directory` that run this release, by kind and name.

    Raises:
        RefusedError: none runs its image, one runs another model version, or one takes its pods from elsewhere.
    """
    try:
        manifests = [one for one in plain_values(text, directory) if isinstance(one, Mapping)]
    except ConfigError as error:
        raise RefusedError(f"{directory} renders to what is not YAML: {error.message}", hint="see kustomize build") from None
    for manifest in manifests:
        _require_own_pods(manifest)
    found = [workload for manifest in manifests if (workload := _workload(manifest)) is not None]
    ours = [workload for workload in found if release.image in workload.images]
    if not any(workload.watched for workload in ours):
        raise _without_image(directory, release, found)
    for workload in ours:
        if workload.model_version not in (None, release.version):
            raise RefusedError(
                f"{directory}: {workload} renders with model version {workload.model_version!r}, not {release.version!r}",
                hint="copy data.modelVersion of the release file there with `replacements`, as components/release does",
            )
    return tuple(str(workload) for workload in found if workload in ours or workload.model_version == release.version)


def _without_image(directory: str, release: Release, found: list[Workload]) -> RefusedError:
    images = sorted({image for workload in found if workload.watched for image in workload.images})
    runs = f"they run {', '.join(images)}" if images else "there is none"
    return RefusedError(
        f"no Rollout or Deployment that {directory} renders runs {release.image}: {runs}",
        hint="the name under `images:` must be the one in the workload, and no later entry may change it (kustomize-image)",
    )


def _require_own_pods(manifest: Mapping[str, Any]) -> None:
    if manifest.get("kind") == "Rollout" and _at(manifest, "spec").get("workloadRef"):
        raise RefusedError(
            f"Rollout {_at(manifest, 'metadata').get('name')} takes its pods from another object (spec.workloadRef)",
            hint="promoter can't watch that: move the pod template into the Rollout",
        )


def _workload(manifest: Mapping[str, Any]) -> Workload | None:
    spec = _at(manifest, "spec")
    template = _at(spec, "template") or _at(spec, "jobTemplate", "spec", "template")
    containers = [one for one in _list(_at(template, "spec"), "containers") if isinstance(one, Mapping)]
    if not containers:
        return None
    group = str(manifest.get("apiVersion", "")).rpartition("/")[0]
    images = tuple(str(container.get("image", "")) for container in containers)
    label = _at(template, "metadata", "labels").get("model-version")
    version = next((str(one) for one in _versions(containers)), None if label is None else str(label))
    return Workload(group, str(manifest.get("kind", "")), str(_at(manifest, "metadata").get("name", "")), images, version)


def _versions(containers: list[Mapping[str, Any]]) -> Iterator[Any]:
    for container in containers:
        for variable in _list(container, "env"):
            if isinstance(variable, Mapping) and variable.get("name") == "MODEL_VERSION":
                yield variable.get("value", "")


def _at(document: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []
