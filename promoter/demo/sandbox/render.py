"""What an overlay renders to: the part of Kustomize that promoter's overlays use, and an error for any other part.

Resources, components, patches, namespace, names, labels, images and replacements, in Kustomize's order. The errors are
worded as `kustomize build` words them, since Argo CD shows them in the ComparisonError of an Application.
"""

from __future__ import annotations

import copy
import functools
import posixpath
import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from promoter.config.yaml import plain_values
from promoter.demo.sandbox.names import label, rename
from promoter.demo.sandbox.patches import Manifest, PatchError, patch
from promoter.errors import ConfigError, PromoterError

_KNOWN = {"apiVersion", "kind", "metadata", "namespace", "resources", "components", "patches", "labels", "images"}
_KNOWN |= {"replacements", "configurations", "namePrefix"}
_LOCAL = "config.kubernetes.io/local-config"


class RenderError(PromoterError):
    """The overlay does not build; the message is what `kustomize build` would say."""


def render(files: Mapping[str, bytes], path: str, namespace: str) -> list[Manifest]:
    """The manifests that `kustomize build <path>` prints, those without a namespace of their own in `namespace`.

    Raises:
        RenderError: a file is missing or broken, a field is unknown, or a replacement has no target.
    """
    try:
        built = _build(files, path, [], configurations=[])
    except PatchError as error:
        raise RenderError(error.message) from None
    except (KeyError, TypeError, AttributeError, re.error) as error:
        raise RenderError(f"invalid Kustomization in {path}: {type(error).__name__}: {error}") from None
    manifests = [item for item in built if (_metadata(item).get("annotations") or {}).get(_LOCAL) != "true"]
    for manifest in manifests:
        manifest["metadata"].setdefault("namespace", namespace)
    return manifests


def _build(files: Mapping[str, bytes], path: str, below: Sequence[Manifest], configurations: list[Manifest]) -> list[Manifest]:
    """What the kustomization at `path` makes; a component makes it of what is `below` it too.

    `configurations` gets those that it lists: what is above inherits them.
    """
    kustomization = _kustomization(files, path)
    manifests = [*below]
    for entry in kustomization.get("configurations") or []:
        configurations += _documents(files, posixpath.normpath(posixpath.join(path, entry)), objects=False)
    for entry in kustomization.get("resources") or []:
        target = posixpath.normpath(posixpath.join(path, entry))
        if target in files:
            manifests += _documents(files, target)
        elif any(name.startswith(target + "/") for name in files):
            manifests += _build(files, target, [], configurations)
        else:
            raise RenderError(
                f"accumulating resources: accumulation err='accumulating resources from '{entry}': "
                f"evalsymlink failure on '{target}' : lstat {target}: no such file or directory'"
            )
    for entry in kustomization.get("components") or []:
        manifests = _build(files, posixpath.normpath(posixpath.join(path, entry)), manifests, configurations)
    for entry in kustomization.get("patches") or []:
        patch(manifests, entry)
    _transform(manifests, kustomization, configurations)
    return manifests


def _transform(manifests: list[Manifest], kustomization: Manifest, configurations: Sequence[Manifest]) -> None:
    if prefix := kustomization.get("namePrefix"):
        rename(manifests, prefix, configurations)
    for entry in kustomization.get("labels") or []:
        label(manifests, entry)
    for manifest in manifests:
        if namespace := kustomization.get("namespace"):
            _set_namespace(manifest, namespace)
        for image in kustomization.get("images") or []:
            _set_image(manifest, image)
    for replacement in kustomization.get("replacements") or []:
        _replace(manifests, replacement)


def _set_namespace(manifest: Manifest, namespace: str) -> None:
    manifest["metadata"]["namespace"] = namespace
    for subject in manifest.get("subjects") or []:
        if subject["kind"] == "ServiceAccount":
            subject["namespace"] = namespace


def _kustomization(files: Mapping[str, bytes], path: str) -> Manifest:
    name = posixpath.join(path, "kustomization.yaml")
    if name not in files:
        raise RenderError(
            f"unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{path}'"
        )
    documents = _documents(files, name, objects=False)
    kustomization = documents[0] if documents else {}
    if unknown := sorted(set(kustomization) - _KNOWN):
        raise RenderError(f"invalid Kustomization: the sandbox does not render the field {unknown[0]} of {name}")
    return kustomization


def _documents(files: Mapping[str, bytes], name: str, *, objects: bool = True) -> list[Manifest]:
    try:
        documents = copy.deepcopy(_parse(files[name], name))
    except (ConfigError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise RenderError(f"accumulating resources: accumulation err='accumulating resources from '{name}': {why}'") from None
    for item in documents:
        if not isinstance(item, dict) or (objects and not (item.get("kind") and _metadata(item).get("name"))):
            raise RenderError(f"accumulating resources from '{name}': missing metadata.name or kind in object")
    return documents


@functools.lru_cache(maxsize=256)
def _parse(content: bytes, name: str) -> list[Any]:
    """One parse for a base that many overlays share."""
    return [item for item in plain_values(content.decode(), name) if item is not None]


def _metadata(manifest: Manifest) -> Manifest:
    metadata = manifest.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _set_image(node: Any, entry: Mapping[str, Any]) -> None:
    """Kustomize's image transformer: newTag and digest together give name:tag@digest, newName alone keeps the rest."""
    for key in ("newName", "newTag", "digest"):
        if not isinstance(entry.get(key, ""), str):
            raise RenderError(
                f"invalid Kustomization: json: cannot unmarshal number into Go struct field Image.images.{key} of type string"
            )
    for container in _containers(node):
        match = re.fullmatch(rf"({entry['name']})(:[^@]*)?(@.*)?", str(container.get("image", "")))
        if not match:
            continue
        tag, digest = entry.get("newTag"), entry.get("digest")
        if tag or digest:
            rest = (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
        else:
            rest = (match[2] or "") + (match[3] or "")
        container["image"] = (entry.get("newName") or match[1]) + rest


def _containers(node: Any) -> Iterator[MutableMapping[str, Any]]:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else []):
        if key in ("containers", "initContainers") and isinstance(value, list):
            yield from (item for item in value if isinstance(item, dict))
        else:
            yield from _containers(value)


def _replace(manifests: list[Manifest], replacement: Mapping[str, Any]) -> None:
    source = replacement["source"]
    found = [item for item in manifests if _selected(item, source)]
    if len(found) != 1:
        raise RenderError(f"expected 1 match for source {source.get('kind')}.{source.get('name')}, found {len(found)}")
    holder, key = _field(found[0], source["fieldPath"], f"fieldPath `{source['fieldPath']}` is missing for replacement source")
    for target in replacement.get("targets") or []:
        for manifest in (item for item in manifests if _selected(item, target["select"])):
            for path in target.get("fieldPaths") or []:
                missing = f'unable to find field "{path}" in replacement target'
                place, name = _field(manifest, path, missing)
                place[name] = _replaced(place[name], copy.deepcopy(holder[key]), target.get("options") or {})


def _replaced(old: Any, value: Any, options: Mapping[str, Any]) -> Any:
    """The value, or the old text with the part at `index` replaced, counted between delimiters."""
    if not (delimiter := options.get("delimiter")):
        return value
    parts = str(old).split(delimiter)
    parts[options.get("index", 0)] = str(value)
    return delimiter.join(parts)


def _selected(manifest: Manifest, select: Mapping[str, Any]) -> bool:
    group = manifest.get("apiVersion", "").rpartition("/")[0]
    facts = {"group": group, "kind": manifest.get("kind"), "name": _metadata(manifest).get("name")}
    key, _, value = str(select.get("labelSelector", "")).partition("=")
    labelled = not key or (_metadata(manifest).get("labels") or {}).get(key) == value
    return labelled and all(select.get(key, fact) == fact for key, fact in facts.items())


def _field(manifest: Manifest, path: str, missing: str) -> tuple[Any, Any]:
    """Where a field path leads to: what holds the field, and its key there.

    `[name=^server$]` picks the element of a list whose name matches, as in Kustomize; `\\.` is a dot within a key.
    """
    holder: Any = None
    key: Any = None
    node: Any = manifest
    for part in re.findall(r"\[[^\]]*\]|(?:\\.|[^.\[])+", path):
        holder, part = node, part.replace("\\.", ".")
        if part.startswith("["):
            name, _, value = part[1:-1].partition("=")
            items = enumerate(node if isinstance(node, list) else [])
            matching = (index for index, item in items if isinstance(item, dict) and re.search(value, str(item.get(name, ""))))
            key = next(matching, None)
        else:
            key = part if isinstance(node, dict) and part in node else None
        if key is None:
            raise RenderError(missing)
        node = holder[key]
    return holder, key
