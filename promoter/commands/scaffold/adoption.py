"""An overlay that exists, with a server of its own: lines are added where promoter will write, and what it renders to stays.

Nothing is believed about its form: it is rendered before and after, and once more with a release in it.
"""

from __future__ import annotations

import difflib
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from promoter.commands.scaffold.lines import inserted, single
from promoter.config.yaml import plain_values
from promoter.errors import ConfigError, RefusedError
from promoter.kustomize.outside import KUSTOMIZATION_FILES
from promoter.kustomize.promotion_file import FILE_NAME
from promoter.kustomize.release import Overlay, write_release
from promoter.kustomize.render import Tree, build, sources
from promoter.kustomize.rendered import carrying, repository_of
from promoter.models import Model, Release

RELEASE_FILE = "release.yaml"
_WATCHED = frozenset({"Rollout", "Deployment"})
# The variables of a container that promoter's own server reads, and where each value stands in the release file.
_VARIABLES = {"MODEL_NAME": "modelName", "MODEL_VERSION": "modelVersion", "MODEL_DIGEST": "modelDigest"}
_TRIAL = "sha256:" + "0" * 63 + "1"
_SHOWN = 20  # lines of a difference

_RELEASE = """\
# The release in this overlay. The replacements in kustomization.yaml copy these values into the pod template; the
# ConfigMap itself is never applied to the cluster.
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
  annotations:
    config.kubernetes.io/local-config: "true"
data:
"""


@dataclass(frozen=True, slots=True)
class Container:
    """The container of a rendered workload that serves the model; `variables` are those with a plain value."""

    kind: str
    workload: str
    name: str
    image: str
    namespace: str
    variables: Mapping[str, str]

    @property
    def repository(self) -> str:
        return repository_of(self.image)

    def __str__(self) -> str:
        return f"{self.workload}/{self.name}"


@dataclass(frozen=True, slots=True)
class Adopted:
    """The overlay's new and changed files by path, its container, and the name of its entry under `images:`."""

    files: Mapping[str, bytes]
    container: Container
    image_name: str


def adopt(tree: Tree, directory: str, model: str, *, container: str = "") -> Adopted:
    """`container` is [WORKLOAD/]CONTAINER where the overlay has several. One that was adopted before stays as it is.

    Raises:
        ConfigError, UsageError: the kustomization is not there, or is written so that lines can't be added.
        RefusedError: it does not build, has no such container, or would render to something else.
    """
    path, text = _kustomization(tree, directory)
    before = _rendered(tree, directory, {})
    found = _container(before, directory, container)
    image_name, has_entry = _image_name(text, path, found)
    new = _Additions(directory, model, found, "" if has_entry else image_name)
    release_file, there = posixpath.join(directory, RELEASE_FILE), tree.read(posixpath.join(directory, RELEASE_FILE))
    if there is None or RELEASE_FILE not in _resources(text, path):
        files = {path: new.kustomization(text, path), release_file: new.release()}
        if there not in (None, files[release_file]):
            hint = "move it away, or write promoter.yaml by hand: see docs/configuration.md"
            raise RefusedError(f"{release_file} is there already, and is not promoter's", hint=hint)
        _require_same(directory, before, _rendered(tree, directory, files))
    else:
        files = {path: text.encode(), release_file: there}
    _require_release(tree, directory, files, path, Model(model, found.repository, image_name, RELEASE_FILE))
    return Adopted(files, found, image_name)


def _resources(text: str, path: str) -> list[Any]:
    listed = single(text, path).value.get("resources")
    return listed if isinstance(listed, list) else []


def _kustomization(tree: Tree, directory: str) -> tuple[str, str]:
    for name in KUSTOMIZATION_FILES:
        path = posixpath.normpath(posixpath.join(directory, name))
        if (content := tree.read(path)) is not None:
            try:
                return path, content.decode()
            except UnicodeDecodeError:
                raise ConfigError("is not UTF-8", file=path, hint="save it as UTF-8") from None
    raise ConfigError("kustomization.yaml is missing", file=directory, hint="name the folder of an overlay with --overlay")


def _rendered(tree: Tree, directory: str, changed: Mapping[str, bytes]) -> str:
    text = build({**sources(tree, directory), **changed}, directory)
    if text is None:
        raise RefusedError(
            f"what {directory} renders to can't be seen: neither kustomize nor kubectl is here", hint="install kustomize"
        )
    return text


# -- what is there ----------------------------------------------------------------------------------------------------


def _container(rendered: str, directory: str, wanted: str) -> Container:
    everyone = list(_containers(rendered, directory))
    found = [one for one in everyone if wanted in ("", one.name, str(one))]
    if len(found) == 1:
        return found[0]
    names = ", ".join(map(str, everyone)) or "none"
    if not everyone:
        raise RefusedError(
            f"{directory} renders no Rollout or Deployment",
            hint="only those can be watched: name another overlay with --overlay",
        )
    what = f"has no container {wanted!r}" if not found else "has several containers"
    raise RefusedError(
        f"{directory} {what}: {names}", hint="name the one that serves the model: --container WORKLOAD/CONTAINER"
    )


def _containers(rendered: str, directory: str) -> Iterator[Container]:
    for manifest in plain_values(rendered, directory):
        if not isinstance(manifest, dict) or manifest.get("kind") not in _WATCHED:
            continue
        metadata = _mapping(manifest.get("metadata"))
        template = _mapping(_mapping(manifest.get("spec")).get("template"))
        for one in _items(_mapping(template.get("spec")).get("containers")):
            yield Container(
                kind=str(manifest["kind"]),
                workload=str(metadata.get("name", "")),
                name=str(one.get("name", "")),
                image=str(one.get("image", "")),
                namespace=str(metadata.get("namespace", "")),
                variables={str(env.get("name")): str(env["value"]) for env in _items(one.get("env")) if "value" in env},
            )


def _image_name(text: str, path: str, container: Container) -> tuple[str, bool]:
    """The name of the entry that sets the container's image, and whether the kustomization has it already.

    Without one it is the image's name as what is below the overlay has made it.
    """
    for entry in _items(single(text, path).value.get("images")):
        if container.repository == (entry.get("newName") or entry.get("name")):
            return str(entry.get("name")), True
    return container.repository, False


# -- what is added ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Additions:
    """`entry`: the name under `images:` that is missing, or ""."""

    directory: str
    model: str
    container: Container
    entry: str

    @property
    def _written(self) -> dict[str, str]:
        return {name: key for name, key in _VARIABLES.items() if name in self.container.variables}

    def release(self) -> bytes:
        data = {"modelName": self.model, "modelVersion": "", "modelDigest": ""}
        data |= {key: self.container.variables[name] for name, key in self._written.items() if key != "modelName"}
        return (_RELEASE + "".join(f"  {key}: {json.dumps(value)}\n" for key, value in data.items())).encode()

    def kustomization(self, text: str, path: str) -> bytes:
        text = inserted(text, path, "resources", [] if RELEASE_FILE in _resources(text, path) else [f"- {RELEASE_FILE}"])
        text = inserted(text, path, "images", [f"- name: {json.dumps(self.entry)}"] if self.entry else [])
        return inserted(
            text, path, "replacements", [line for name in self._written for line in self._replacement(name)]
        ).encode()

    def _replacement(self, variable: str) -> Iterator[str]:
        """Kustomize takes what is in brackets for a regular expression."""
        one = self.container
        yield f"- source: {{kind: ConfigMap, name: release, fieldPath: data.{_VARIABLES[variable]}}}"
        yield "  targets:"
        yield f"  - select: {{kind: {one.kind}, name: {one.workload}}}"
        yield "    fieldPaths:"
        yield f"    - spec.template.spec.containers.[name=^{one.name}$].env.[name=^{variable}$].value"


# -- the proof --------------------------------------------------------------------------------------------------------


def _require_same(directory: str, before: str, after: str) -> None:
    if before == after:
        return
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=0)
    shown = "\n".join(islice(lines, _SHOWN))
    raise RefusedError(
        f"{directory} would render to something else with promoter's lines:\n{shown}",
        hint="nothing was written: make the overlay say it before, or write promoter's lines yourself (docs/configuration.md)",
    )


def _require_release(tree: Tree, directory: str, files: Mapping[str, bytes], path: str, model: Model) -> None:
    """A release that is written there must reach the pod template."""
    release_file = posixpath.join(directory, RELEASE_FILE)
    overlay = Overlay(directory, path, files[path], release_file, files[release_file], posixpath.join(directory, FILE_NAME))
    release = Release(model.name, "1", _TRIAL, model.repository, "v1-check", _TRIAL)
    written = write_release(overlay, model, release).files
    carrying(_rendered(tree, directory, {**files, **written}), directory, release)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
