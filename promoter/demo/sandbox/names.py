"""Names that an overlay's `namePrefix` changes, in the objects and wherever another object refers to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promoter.demo.sandbox.patches import Manifest

# Of those that Kustomize knows by itself (api/internal/konfig/builtinpluginconsts), the ones that promoter's base has.
_BUILT_IN: tuple[Mapping[str, Any], ...] = (
    {"kind": "Role", "fieldSpecs": [{"kind": "RoleBinding", "path": "roleRef/name"}]},
    {"kind": "Deployment", "fieldSpecs": [{"kind": "HorizontalPodAutoscaler", "path": "spec/scaleTargetRef/name"}]},
    {
        "kind": "ServiceAccount",
        "fieldSpecs": [
            {"kind": "RoleBinding", "path": "subjects/name"},
            {"kind": "Deployment", "path": "spec/template/spec/serviceAccountName"},
        ],
    },
)


def rename(manifests: Sequence[Manifest], prefix: str, configurations: Sequence[Mapping[str, Any]]) -> None:
    """Puts the prefix before each name; `configurations` are the files that a kustomization lists under that key."""
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    for reference in (*_BUILT_IN, *(one for file in configurations for one in file.get("nameReference") or [])):
        for holder, key in _fields(manifests, reference["fieldSpecs"]):
            if (reference["kind"], holder[key]) in names:
                holder[key] = prefix + holder[key]
    for holder, key in _fields(manifests, [one for file in configurations for one in file.get("namePrefix") or []]):
        holder[key] = prefix + holder[key]
    for manifest in manifests:
        manifest["metadata"]["name"] = prefix + manifest["metadata"]["name"]


def label(manifests: Sequence[Manifest], entry: Mapping[str, Any]) -> None:
    """Applies one entry of `labels:` to every object's metadata, and to the fields that it lists."""
    for manifest in manifests:
        manifest["metadata"].setdefault("labels", {}).update(entry.get("pairs") or {})
    for holder, key in _fields(manifests, entry.get("fields") or []):
        holder[key].update(entry.get("pairs") or {})


def _fields(manifests: Sequence[Manifest], specs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, Any]]:
    """What holds each of these fields that is there, and its key in it."""
    for spec in specs:
        path = [part.replace("\0", "/") for part in spec["path"].replace(r"\/", "\0").split("/")]
        for manifest in manifests:
            if spec.get("kind") in (None, manifest["kind"]):
                yield from _places(manifest, path)


def _places(node: Any, path: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _places(item, path)
    elif isinstance(node, dict) and path[0] in node:
        if path[1:]:
            yield from _places(node[path[0]], path[1:])
        elif isinstance(node[path[0]], list):
            yield from ((node[path[0]], index) for index in range(len(node[path[0]])))
        else:
            yield node, path[0]
