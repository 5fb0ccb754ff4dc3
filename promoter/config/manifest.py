"""Argo CD Application manifests: which one is meant in a file, and where it syncs from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promoter.config.yaml import Document
from promoter.errors import ConfigError
from promoter.models import HEAD, Application, source_path

Place = tuple[str | int, ...]

_LINES = {
    "repoURL": "repoURL: https://github.com/your-org/your-gitops-repository.git",
    "path": "path: overlays/staging",
    "name": "name: fraud-detector-staging",
}


def application_in(documents: Sequence[Document], file: str, name: str | None = None) -> Application:
    """The Application of the manifests in a file: the one of that name, or the only one.

    Raises:
        ConfigError: none or several of them are meant, or the one follows no branch and path that promoter could commit to.
    """
    manifests = [one for one in documents if isinstance(one.value, dict)]
    found = [one for one in manifests if one.value.get("kind") == "Application"]
    named = [one for one in found if name is None or _mapping(one.value.get("metadata")).get("name") == name]
    if len(named) == 1:
        return application_of(named[0])
    names = sorted(str(_mapping(one.value.get("metadata")).get("name", "")) for one in found)
    if name is not None:
        message = f"contains {len(named)} Applications with the name {name!r}"
        raise ConfigError(message, file=file, hint=f"names here: {', '.join(names) or 'none'}")
    if len(found) > 1:
        hint = f"name the one that is meant: application: {{file: {file}, name: {names[0]}}}"
        raise ConfigError(f"contains {len(found)} Applications: {', '.join(names)}", file=file, hint=hint)
    made = [one for one in manifests if one.value.get("kind") == "ApplicationSet"]
    if made:
        hint = "name the Application that it makes: application: {name: NAME, project: PROJECT}"
        raise made[0].error("is an ApplicationSet, not an Application", ("kind",), hint=hint)
    raise ConfigError("contains no manifest of kind Application", file=file, hint="name the manifest that Argo CD follows")


def application_of(manifest: Document) -> Application:
    """The source that an Argo CD Application manifest syncs from.

    Raises:
        ConfigError: it follows no branch and path of a Git repository that promoter could commit to.
    """
    spec = _section(manifest, manifest.value, "spec", ())
    if "sourceHydrator" in spec:
        raise manifest.error(
            "the source hydrator is not supported", ("spec", "sourceHydrator"), hint="use a plain source with a path"
        )
    source, place = _source(spec, manifest)
    metadata = _section(manifest, manifest.value, "metadata", ())
    return Application(
        name=_text(manifest, metadata, "name", ("metadata",)),
        project=_text(manifest, spec, "project", ("spec",), default="default"),
        namespace=_text(manifest, metadata, "namespace", ("metadata",), default="argocd"),
        repo_url=_text(manifest, source, "repoURL", place),
        path=_path(manifest, source, place),
        target_revision=_text(manifest, source, "targetRevision", place, default=HEAD).removeprefix("refs/heads/"),
        image_overrides=_images(manifest, source, place),
    )


def _source(spec: Mapping[str, Any], manifest: Document) -> tuple[Mapping[str, Any], Place]:
    """The one source that has a path: a multi-source Application may have Helm charts and value files as other sources.

    Argo CD ignores `source` if there are `sources` (ApplicationSpec.GetSource).
    """
    sources = spec.get("sources")
    if not sources:
        return _section(manifest, spec, "source", ("spec",)), ("spec", "source")
    if not isinstance(sources, list):
        raise manifest.error("is not a list", ("spec", "sources"), hint="write one source after each dash")
    paths = [(index, source) for index, source in enumerate(sources) if isinstance(source, dict) and source.get("path")]
    if len(paths) != 1:
        raise manifest.error(f"{len(paths)} sources have a path, expected 1", ("spec", "sources"), hint="split the Application")
    return paths[0][1], ("spec", "sources", paths[0][0])


def _path(manifest: Document, source: Mapping[str, Any], place: Place) -> str:
    if "path" not in source and "chart" in source:
        raise manifest.error("is a Helm chart", (*place, "chart"), hint="write the path of a Kustomize overlay")
    text = _text(manifest, source, "path", place)
    path = source_path(text)
    if path.startswith("/") or path.split("/")[0] == "..":
        raise manifest.error(f"{text!r} lies outside the repository", (*place, "path"), hint="write a path below its root")
    return path


def _images(manifest: Document, source: Mapping[str, Any], place: Place) -> tuple[str, ...]:
    """What the manifest itself puts in the place of the overlay's images."""
    images = _mapping(source.get("kustomize")).get("images") or []
    if not isinstance(images, list):
        raise manifest.error("is not a list", (*place, "kustomize", "images"), hint="write one image after each dash")
    return tuple(map(str, images))


def _section(manifest: Document, mapping: Mapping[str, Any], key: str, place: Place) -> Mapping[str, Any]:
    value = mapping.get(key)
    if value is None:
        raise manifest.error("is required", (*place, key), hint=f"add `{key}:` with what belongs to it")
    if not isinstance(value, dict):
        raise manifest.error("is not a mapping", (*place, key), hint=f"write keys below `{key}:`")
    return value


def _text(manifest: Document, mapping: Mapping[str, Any], key: str, place: Place, default: str = "") -> str:
    value = mapping.get(key)
    if default and value in (None, ""):
        return default
    if value is None or value == "":
        raise manifest.error("is required", (*place, key), hint=f"add `{_LINES.get(key, key + ':')}`")
    if not isinstance(value, str):
        raise manifest.error("is not text", (*place, key), hint="put it in quotes")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
