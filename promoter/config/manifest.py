"""Argo CD Application manifests: where an Application syncs from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from promoter.config.yaml import Document
from promoter.models import Application


def application_of(manifest: Document) -> Application:
    """The source that an Argo CD Application manifest syncs from.

    Raises:
        ConfigError: it follows no branch and path of a Git repository that promoter could commit to.
    """
    spec = manifest.value.get("spec")
    if not isinstance(spec, dict):
        raise manifest.error("spec is required", ())
    if "sourceHydrator" in spec:
        raise manifest.error(
            "the source hydrator is not supported", ("spec", "sourceHydrator"), hint="use a plain source with a path"
        )
    source, place = _source(spec, manifest)
    values = {key: _text(manifest, source, key, place) for key in ("repoURL", "path", "targetRevision")}
    branch = values["targetRevision"].removeprefix("refs/heads/")
    if branch == "HEAD":
        raise manifest.error("names no branch", (*place, "targetRevision"), hint="write the branch, for example main")
    path = PurePosixPath(values["path"])
    if path.is_absolute() or ".." in path.parts:
        raise manifest.error(
            f"{values['path']!r} lies outside the repository", (*place, "path"), hint="write a path below its root"
        )
    metadata = manifest.value.get("metadata") or {}
    return Application(
        name=_text(manifest, metadata, "name", ("metadata",)),
        project=str(spec.get("project") or "default"),
        namespace=str(metadata.get("namespace") or "argocd"),
        repo_url=values["repoURL"],
        path=str(path),
        target_revision=branch,
    )


def _source(spec: Mapping[str, Any], manifest: Document) -> tuple[Mapping[str, Any], tuple[str | int, ...]]:
    """The one source that has a path: a multi-source Application may have Helm charts and value files as other sources."""
    if isinstance(spec.get("source"), dict):
        return spec["source"], ("spec", "source")
    sources = spec.get("sources") or []
    paths = [(index, source) for index, source in enumerate(sources) if isinstance(source, dict) and source.get("path")]
    if len(paths) != 1:
        raise manifest.error(f"{len(paths)} sources have a path, expected 1", ("spec", "sources"), hint="split the Application")
    return paths[0][1], ("spec", "sources", paths[0][0])


def _text(manifest: Document, mapping: Mapping[str, Any], key: str, place: tuple[str | int, ...]) -> str:
    value = mapping.get(key)
    if not isinstance(value, str) or not value:
        raise manifest.error("is required, as text", (*place, key))
    return value
