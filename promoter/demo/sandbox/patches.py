"""JSON patches (RFC 6902), as a kustomization's `patches:` lists them with a target."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from promoter.errors import PromoterError

Manifest = dict[str, Any]


class PatchError(PromoterError):
    """The patch can't be applied, or is none that the sandbox knows."""


def selected(manifest: Manifest, target: Mapping[str, Any]) -> bool:
    """Whether a patch with this target changes the manifest: by group and kind, regular expression of the name, and label."""
    metadata = manifest.get("metadata") or {}
    key, _, value = str(target.get("labelSelector", "")).partition("=")
    return (
        target.get("group") in (None, manifest.get("apiVersion", "").rpartition("/")[0])
        and target.get("kind") in (None, manifest.get("kind"))
        and re.fullmatch(target.get("name", ".*"), metadata.get("name", "")) is not None
        and (not key or (metadata.get("labels") or {}).get(key) == value)
    )


def patch(manifests: list[Manifest], entry: Mapping[str, Any]) -> None:
    """Applies one entry of `patches:` to every manifest that its target selects.

    Raises:
        PatchError: it is not a list of operations with a target, or one of them does not fit.
    """
    operations = YAML(typ="safe").load(entry.get("patch") or "")
    if not isinstance(operations, list) or "target" not in entry:
        raise PatchError("the sandbox renders patches of the JSON 6902 form with a target only")
    for manifest in manifests:
        if selected(manifest, entry["target"]):
            for operation in operations:
                _apply(manifest, operation)


def _apply(manifest: Manifest, operation: Mapping[str, Any]) -> None:
    verb, path = operation["op"], operation["path"]
    holder, key = _place(manifest, path)
    if verb == "move":
        source, name = _place(manifest, operation["from"])
        holder, key, value = *_place(manifest, path), source.pop(name)
    elif verb in ("add", "replace", "remove"):
        value = copy.deepcopy(operation.get("value"))
    else:
        raise PatchError(f"the sandbox does not know the operation {verb!r} of a patch")
    if verb in ("replace", "remove") and not _exists(holder, key):
        raise PatchError(f'{verb} operation does not apply: doc is missing path: "{path}": missing value')
    if verb == "remove":
        del holder[key]
    elif isinstance(holder, list) and verb != "replace":
        holder.insert(key, value)
    else:
        holder[key] = value


def _place(manifest: Manifest, pointer: str) -> tuple[Any, Any]:
    """What holds the value that a JSON pointer (RFC 6901) names, and its key there."""
    *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    node: Any = manifest
    for part in parents:
        key = _key(node, part)
        if not _exists(node, key):
            raise PatchError(f'operation does not apply: doc is missing path: "{pointer}": missing value')
        node = node[key]
    return node, _key(node, last)


def _key(node: Any, part: str) -> Any:
    if isinstance(node, list):
        return len(node) if part == "-" else int(part)
    return part


def _exists(node: Any, key: Any) -> bool:
    return 0 <= key < len(node) if isinstance(node, list) else isinstance(node, dict) and key in node
