"""JSON patches (RFC 6902) and patches that delete, as a kustomization's `patches:` lists them with a target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jsonpatch

from promoter.config.yaml import plain_values
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
        PatchError: it is neither a list of operations nor a deletion, has no target, or an operation does not fit.
    """
    (operations,) = plain_values(entry.get("patch") or "null", "patch")
    if isinstance(operations, dict) and operations.get("$patch") == "delete" and "target" in entry:
        manifests[:] = [manifest for manifest in manifests if not selected(manifest, entry["target"])]
        return
    if not isinstance(operations, list) or "target" not in entry:
        raise PatchError("the sandbox renders patches of the JSON 6902 form with a target only")
    for manifest in manifests:
        if selected(manifest, entry["target"]):
            for operation in operations:
                _apply(manifest, operation)


def _apply(manifest: Manifest, operation: Mapping[str, Any]) -> None:
    try:
        jsonpatch.apply_patch(manifest, [operation], in_place=True)
    except jsonpatch.InvalidJsonPatch as error:
        raise PatchError(f"not a JSON patch: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, KeyError) as error:
        what = f'{operation.get("op")} operation does not apply: doc is missing path: "{operation.get("path")}": missing value'
        raise PatchError(what, hint=str(error)) from None
