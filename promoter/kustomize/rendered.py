"""What rendered manifests run: the workloads that carry a release, and those that promoter could not watch. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from promoter.config.yaml import plain_values
from promoter.errors import ConfigError, RefusedError
from promoter.models import NO_LIMITS, Container, Release

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2}|)")
_SUFFIXES = {
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
_WATCHED = frozenset({("argoproj.io", "Rollout"), ("apps", "Deployment")})


@dataclass(frozen=True, slots=True)
class Workload:
    """A rendered object with a pod template: the images of its containers and volumes, and the model version it carries."""

    group: str
    kind: str
    name: str
    images: tuple[str, ...]
    model_version: str | None = None
    model_name: str | None = None
    containers: Mapping[str, Container] = field(default_factory=dict)

    def carries(self, release: Release) -> bool:
        """It runs the release's image, or has the model version in addition to an image of its own (an explainer)."""
        of_model = self.model_version == release.version and self.model_name in (None, release.model)
        return release.image in self.images or of_model

    @property
    def watched(self) -> bool:
        return (self.group, self.kind) in _WATCHED

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Carriers:
    """What carries a release, by kind and name: the workloads that are watched, and those that promoter can't watch.

    `container` is the first that runs the release's image.
    """

    watched: tuple[str, ...]
    others: tuple[str, ...] = ()
    container: Container = NO_LIMITS


def carrying(text: str, directory: str, release: Release, names: Collection[str] = ()) -> Carriers:
    """The workloads in the rendered manifests of `directory` that carry this release; of the watched ones only `names`, if any.

    Raises:
        RefusedError: none runs its image, one runs another image of its repository or another model version, one of `names`
            carries nothing of it, or one takes its pods from elsewhere.
    """
    try:
        manifests = [one for one in plain_values(text, directory) if isinstance(one, Mapping)]
    except ConfigError as error:
        raise RefusedError(f"{directory} renders to what is not YAML: {error.message}", hint="see kustomize build") from None
    for manifest in manifests:
        if not names or _at(manifest, "metadata").get("name") in names:
            _require_own_pods(manifest)
    found = [workload for manifest in manifests if (workload := _workload(manifest)) is not None]
    watched = [one for one in found if one.watched and (not names or one.name in names)]
    _require_all(directory, release, names, found)
    if not any(release.image in one.images for one in watched):
        raise _without_image(directory, release, watched)
    for workload in watched:
        _require_release(directory, release, workload)
    others = (one for one in found if not one.watched and one.carries(release))
    container = next((one.containers[release.image] for one in watched if release.image in one.containers), NO_LIMITS)
    return Carriers(tuple(str(one) for one in watched if one.carries(release)), tuple(map(str, others)), container)


def _require_all(directory: str, release: Release, names: Collection[str], found: Sequence[Workload]) -> None:
    carriers = {one.name for one in found if one.watched and one.carries(release)}
    if missing := [name for name in names if name not in carriers]:
        raise RefusedError(
            f"`workloads:` names {missing[0]}, and {directory} renders no Rollout or Deployment of that name with the release",
            hint=f"name some of: {', '.join(sorted(carriers)) or 'none carries it'}",
        )


def _require_release(directory: str, release: Release, workload: Workload) -> None:
    """One that runs the model, but not this release of it, would never be live."""
    if release.image in workload.images and workload.model_version not in (None, release.version):
        raise RefusedError(
            f"{directory}: {workload} renders with model version {workload.model_version!r}, not {release.version!r}",
            hint="copy data.modelVersion of the release file there with `replacements`, as components/release does",
        )
    other = next((one for one in workload.images if repository_of(one) == release.repository), None)
    if release.image not in workload.images and other is not None:
        raise RefusedError(
            f"{directory}: {workload} renders with {other}, not {release.image}",
            hint="give its image the name under `images:`, or list those that count as `workloads:` of the environment",
        )


def repository_of(image: str) -> str:
    """An image's name without tag and digest."""
    head, colon, tag = image.partition("@")[0].rpartition(":")
    return head if colon and "/" not in tag else image.partition("@")[0]


def _without_image(directory: str, release: Release, watched: list[Workload]) -> RefusedError:
    images = sorted({image for workload in watched for image in workload.images})
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
    volumes = [_at(one, "image").get("reference") for one in _list(_at(template, "spec"), "volumes")]
    images = (*(str(container.get("image", "")) for container in containers), *map(str, filter(None, volumes)))
    label = _at(template, "metadata", "labels").get("model-version")
    version = next(_values(containers, "MODEL_VERSION"), None if label is None else str(label))
    model = next(filter(None, _values(containers, "MODEL_NAME")), None)
    kind, name = str(manifest.get("kind", "")), str(_at(manifest, "metadata").get("name", ""))
    given = {str(container.get("image", "")): _container(container) for container in containers}
    return Workload(group, kind, name, images, version, model, given)


def _container(container: Mapping[str, Any]) -> Container:
    listed = [one for one in _list(container, "env") if isinstance(one, Mapping)]
    environ = {str(one.get("name")): str(one.get("value", "")) for one in listed if "valueFrom" not in one}
    return Container(_bytes(_at(container, "resources", "limits").get("memory")), environ)


def _bytes(quantity: object) -> int | None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/; None for what is none."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        return None
    number, suffix = match.groups()
    return int(Decimal(number) * _SUFFIXES[suffix] if suffix in _SUFFIXES else Decimal(f"{number}{suffix}"))


def _values(containers: list[Mapping[str, Any]], name: str) -> Iterator[str]:
    for container in containers:
        for variable in _list(container, "env"):
            if isinstance(variable, Mapping) and variable.get("name") == name:
                yield str(variable.get("value", ""))


def _at(document: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []
