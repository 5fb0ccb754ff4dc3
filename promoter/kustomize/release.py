"""The release that a Kustomize overlay deploys: read it, or write another one by changing those values and no other byte.

An overlay deploys it in two files: the `images:` entry of the kustomization (newName, newTag and digest together: with
only one of tag and digest changed the other is stale), and a ConfigMap in the release file (modelName, modelVersion,
modelDigest), whose values `replacements` copy into the pod template.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from promoter.kustomize import yaml_edit
from promoter.kustomize.values import Edit, additions, assign
from promoter.kustomize.yaml_file import Node, YamlFile, apply, parse
from promoter.models import Change, Model, Release

_IMAGE_KEYS = ("newName", "newTag", "digest")
_DATA_KEYS = ("modelName", "modelVersion", "modelDigest")
_UNRELEASED = "unreleased"  # the component of an overlay without a release: base/components/unreleased


@dataclass(frozen=True, slots=True)
class Overlay:
    """The files of an overlay that promoter writes: their paths in the repository, and their bytes.

    `promotion` is None if the overlay has no promotion.yaml yet.
    """

    directory: str
    kustomization_file: str
    kustomization: bytes
    release_file: str
    release: bytes
    promotion_file: str = ""
    promotion: bytes | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """The new bytes of the files that changed, by path, and what changed in them; both empty when nothing did."""

    files: Mapping[str, bytes]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class ParsedOverlay:
    """The overlay's two files, parsed once for whoever reads the release and then writes another one."""

    kustomization: YamlFile
    release: YamlFile

    def deployed(self, model: Model) -> Release | None:
        """The release that the overlay deploys for this model; what is absent is "", and without tag, digest and version None.

        Raises:
            ConfigError: a file does not say clearly which values are this model's.
        """
        file = self.kustomization
        entry = _find_entry(file, _images(file, _kustomization(file)), model).entry
        image = file.scalars(entry, _IMAGE_KEYS, _image_prefix(model))
        data_map = self.release.mapping(_config_map(self.release, model), "data")
        data = self.release.scalars(data_map, _DATA_KEYS, "data.")
        if not (image["newTag"] or image["digest"] or data["modelVersion"]):
            return None
        return Release(
            model=model.name,
            version=data["modelVersion"],
            model_digest=data["modelDigest"],
            repository=image["newName"],
            tag=image["newTag"],
            digest=image["digest"],
        )

    def write(self, model: Model, release: Release) -> Edited:
        """The files with this release; nothing at all when they have it already.

        Missing keys are written next to the present ones; an empty value is what `deployed` returns for an absent one, and
        is never added.

        Raises:
            ConfigError: a file does not say clearly which values are this model's, or can't be edited without changing
                something else.
        """
        image, data = _write_image(self.kustomization, model, release), _write_data(self.release, model, release)
        edits = (_with_workload(image), data)
        files = {edit.file.path: apply(edit.file, edit.splices) for edit in edits if edit.splices}
        return Edited(files, tuple(change for edit in edits for change in edit.changes))


def parse_overlay(overlay: Overlay) -> ParsedOverlay:
    """Raises ConfigError when a file is not YAML that promoter can edit."""
    return ParsedOverlay(parse(overlay.kustomization_file, overlay.kustomization), parse(overlay.release_file, overlay.release))


def model_version(path: str, content: bytes, model: Model) -> str:
    """The version that the content of a release file names for this model; "" for none, or for no file.

    Raises:
        ConfigError: it is not a release file of this model.
    """
    if not content:
        return ""
    file = parse(path, content)
    return file.scalar(file.mapping(_config_map(file, model), "data"), "modelVersion", "data.modelVersion")


def deployed(overlay: Overlay, model: Model) -> Release | None:
    """As `ParsedOverlay.deployed`. Raises as it does, and as `parse_overlay`."""
    return parse_overlay(overlay).deployed(model)


def write_release(overlay: Overlay, model: Model, release: Release) -> Edited:
    """As `ParsedOverlay.write`. Raises as it does, and as `parse_overlay`."""
    return parse_overlay(overlay).write(model, release)


# -- components -------------------------------------------------------------------------------------------------------


def _with_workload(edit: Edit) -> Edit:
    """Without the component that keeps an overlay without a release from having a workload."""
    file = edit.file
    if _UNRELEASED not in file.text:
        return edit
    components = file.get(_kustomization(file), "components")
    if components is None or not components.is_sequence:
        return edit
    for item in components.children:
        if item.is_scalar and posixpath.basename(item.value.rstrip("/")) == _UNRELEASED:
            taken_out = yaml_edit.remove(file, components, item, "components")
            change = Change(file.path, "components", item.value, "")
            return Edit(file, (*edit.splices, taken_out), (*edit.changes, change))
    return edit


# -- images -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of `images:` around this model's own, in order: kustomize applies them one after the other."""

    before: tuple[Node, ...]
    entry: Node | None
    after: tuple[Node, ...]


def _write_image(file: YamlFile, model: Model, release: Release) -> Edit:
    values = {"newName": release.repository, "newTag": release.tag, "digest": release.digest}
    root = _kustomization(file)
    images = _images(file, root)
    entries = _find_entry(file, images, model)
    _require_effect(file, root, entries, model, release)
    for node in (root, images):
        if node:
            file.require_own(node, "images")
    if entries.entry:
        return assign(file, entries.entry, values, _image_prefix(model))
    new = {"name": model.image_name} | {key: value for key, value in values.items() if value}
    if len(new) == 1:
        return Edit(file, (), ())
    added = [yaml_edit.append(file, images, new)] if images else yaml_edit.add(file, root, "images", new, as_item=True)
    return Edit(file, tuple(added), additions(file, new, _image_prefix(model)))


def _kustomization(file: YamlFile) -> Node:
    documents = [document for document in file.documents if not document.is_null]
    if not documents:
        raise file.error("the kustomization is empty", hint="list at least the base under `resources:`")
    if len(documents) > 1:
        hint = "kustomize reads the first one only: keep one document in this file"
        raise file.error("several documents in a kustomization", documents[1], hint=hint)
    if not documents[0].is_mapping:
        raise file.error("the kustomization is not a mapping", documents[0], hint="start it with `resources:`")
    return documents[0]


def _images(file: YamlFile, root: Node) -> Node | None:
    """The sequence under `images:`, None when it is absent or null."""
    images = file.get(root, "images")
    if images is None or images.is_null:
        return None
    if not images.is_sequence:
        raise file.error("not a list of images", images, key="images", hint="write a list of `name:`, `newTag:`, `digest:`")
    return images


def _find_entry(file: YamlFile, images: Node | None, model: Model) -> _Entries:
    items = tuple(images.children) if images else ()
    for item in items:
        if not item.is_mapping:
            raise file.error("an image that is not a mapping", item, key="images", hint="write its `name:` here")
    places = [place for place, item in enumerate(items) if _name(file, item) == model.image_name]
    if not places:
        return _Entries(items, None, ())
    if len(places) > 1:
        message, key = "a second entry for this image", f"images[{model.image_name}]"
        raise file.error(message, items[places[1]], key=key, hint="keep one entry for each name")
    place = places[0]
    return _Entries(items[:place], items[place], items[place + 1 :])


def _require_effect(file: YamlFile, root: Node, entries: _Entries, model: Model, release: Release) -> None:
    """Refuses entries that override the model's own: each entry is applied to the result of those before it."""
    key = f"images[{model.image_name}]"
    _require_spelling(file, root, ("images",))
    if entries.entry:
        _require_spelling(file, entries.entry, ("name", *_IMAGE_KEYS))
    for other in _deprecated(file, root):
        if _matches(_name(file, other), model.image_name) or _matches(_name(file, other), release.repository):
            message, hint = "kustomize changes the image again by this entry", "move it to `images:`, or remove it"
            raise file.error(message, other, key="imageTags", hint=hint)
    for other in entries.before:
        new_name = file.scalar(other, "newName", "newName")
        if _matches(_name(file, other), model.image_name) and new_name and not _matches(model.image_name, new_name):
            message = f"this entry renames the image to {new_name!r} before {key} can match it"
            raise file.error(message, other, key="images", hint="remove it, or make its name match fewer images")
        if not entries.entry and _matches(model.image_name, new_name):
            message = f"a new {key} would also match the image that this entry makes"
            hint = f"add an entry with `name: {model.image_name}` by hand if that is meant"
            raise file.error(message, other, key="images", hint=hint)
    for other in entries.after:
        if release.repository and _matches(_name(file, other), release.repository):
            message = f"this entry matches what {key} makes of the image and changes it again"
            raise file.error(message, other, key="images", hint=f"remove it, or move it before {key}")


def _require_spelling(file: YamlFile, mapping: Node, keys: tuple[str, ...]) -> None:
    """Refuses a key in another case: kustomize reads it as the same key, and of two the last one counts."""
    for node in mapping.children[::2]:
        wanted = next((key for key in keys if node.value != key and node.value.lower() == key.lower()), "")
        if wanted:
            message = f"kustomize reads {node.value!r} as {wanted}"
            raise file.error(message, node, key=node.value, hint=f"write `{wanted}:`, once")


def _deprecated(file: YamlFile, root: Node) -> tuple[Node, ...]:
    """The entries of `imageTags:`, which kustomize applies after those of `images:`."""
    tags = file.get(root, "imageTags")
    return tuple(item for item in tags.children if item.is_mapping) if tags and tags.is_sequence else ()


def _matches(name: str, image: str) -> bool:
    """kustomize uses `name` as an unescaped regular expression: among the characters of image names, a dot is any one."""
    return bool(re.fullmatch(re.escape(name).replace(r"\.", "."), image))


def _name(file: YamlFile, entry: Node) -> str:
    return file.scalar(entry, "name", "images.name")


def _image_prefix(model: Model) -> str:
    return f"images[{model.image_name}]."


# -- release file -----------------------------------------------------------------------------------------------------


def _write_data(file: YamlFile, model: Model, release: Release) -> Edit:
    values = {"modelName": model.name, "modelVersion": release.version, "modelDigest": release.model_digest}
    config_map = _config_map(file, model)
    file.require_own(config_map, "data")
    data = file.mapping(config_map, "data")
    if data:
        file.require_own(data, "data")
        return assign(file, data, values, "data.")
    new = {key: value for key, value in values.items() if value}
    added = yaml_edit.add(file, config_map, "data", new)
    return Edit(file, tuple(added), additions(file, new, "data."))


def _config_map(file: YamlFile, model: Model) -> Node:
    """The ConfigMap whose data.modelName is the model's; a single one without a modelName is it as well."""
    config_maps = [document for document in file.documents if document.is_mapping and _kind(file, document) == "ConfigMap"]
    names = [file.scalar(file.mapping(config_map, "data"), "modelName", "data.modelName") for config_map in config_maps]
    found = [config_map for config_map, name in zip(config_maps, names, strict=True) if name == model.name]
    key, hint = "data.modelName", f"write `modelName: {model.name}` into the one that is meant"
    if len(found) > 1:
        raise file.error(f"a second ConfigMap for model {model.name!r}", found[1], key=key, hint="keep one for each model")
    if found:
        return found[0]
    if not config_maps:
        hint = 'write a ConfigMap annotated `config.kubernetes.io/local-config: "true"` there'
        raise file.error("no ConfigMap in the release file", hint=hint)
    if len(config_maps) > 1:
        raise file.error(f"no ConfigMap of these is for model {model.name!r}", config_maps[0], key=key, hint=hint)
    if names[0]:
        message = f"the ConfigMap is for model {names[0]!r}, not {model.name!r}"
        raise file.error(message, _model_name(file, config_maps[0]), key=key, hint=hint)
    return config_maps[0]


def _kind(file: YamlFile, document: Node) -> str:
    return file.scalar(document, "kind", "kind")


def _model_name(file: YamlFile, config_map: Node) -> Node | None:
    data = file.mapping(config_map, "data")
    return file.get(data, "modelName") if data else None
