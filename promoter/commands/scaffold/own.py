"""A repository with overlays and a server of its own: promoter.yaml, and the lines that promoter needs in each overlay."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping

from promoter.commands.scaffold import template
from promoter.commands.scaffold.adoption import Adopted, adopt
from promoter.commands.scaffold.lines import inserted, single
from promoter.commands.scaffold.repository import configuration, environment_entry, models_entry
from promoter.commands.scaffold.wanted import Wanted
from promoter.config.manifest import application_of
from promoter.config.values import FILE
from promoter.config.yaml import documents
from promoter.errors import ConfigError, UsageError
from promoter.kustomize.promotion_file import FILE_NAME
from promoter.kustomize.render import Tree

_PROMOTION = f"overlays/production/{FILE_NAME}"


def own_repository(tree: Tree, manifests: Mapping[str, bytes], wanted: Wanted, existing: str) -> dict[str, bytes]:
    """New and changed files by path. `manifests` may have the Applications, `existing` is the promoter.yaml that is there.

    Raises:
        RefusedError, ConfigError, UsageError: as `adopt`; or no Application of an overlay is known.
    """
    found = {
        name: adopt(tree, wanted.own_overlay(name), wanted.model, container=wanted.container) for name in wanted.environments
    }
    names = {one.image_name for one in found.values()}
    if len(names) > 1:
        raise UsageError(
            f"the overlays' images have different names: {', '.join(sorted(names))}",
            hint="give them one name under `images:`, or adopt each with a promoter.yaml of its own",
        )
    files = {path: content for one in found.values() for path, content in one.files.items()}
    files |= {path: content for path, content in _decisions(wanted) if tree.read(path) is None}
    applications = _applications(manifests)
    environments = [
        line
        for name in wanted.environments
        for line in environment_entry(wanted, name, _application(applications, wanted.own_overlay(name)))
    ]
    return files | {FILE: _configuration(wanted, found, environments, existing).encode()}


def _decisions(wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    empty = dict(template.files())[_PROMOTION]
    for name in wanted.environments:
        yield posixpath.join(wanted.own_overlay(name), FILE_NAME), empty


def _configuration(wanted: Wanted, found: Mapping[str, Adopted], environments: list[str], existing: str) -> str:
    first = next(iter(found.values()))
    models = models_entry(wanted, json.dumps(first.image_name))
    if not existing:
        what = "your server: each model is put on it, at /opt/model (docs/images.md)"
        return configuration(wanted, models, environments, [f"  runtime: {json.dumps(first.container.image)} # {what}"])
    text = inserted(existing, FILE, "environments", environments)
    return text if wanted.model in single(existing, FILE).value["models"] else inserted(text, FILE, "models", models)


def _applications(manifests: Mapping[str, bytes]) -> dict[str, list[tuple[str, str]]]:
    """The file and name of each Application, by the path that it syncs from."""
    found: dict[str, list[tuple[str, str]]] = {}
    for file, content in manifests.items():
        try:
            for document in documents(content.decode(errors="replace"), file):
                if isinstance(document.value, dict) and document.value.get("kind") == "Application":
                    application = application_of(document)
                    found.setdefault(application.path, []).append((file, application.name))
        except ConfigError:
            continue  # a template, or an Application that syncs from no path
    return found


def _application(applications: Mapping[str, list[tuple[str, str]]], overlay: str) -> str:
    """What names the Application in promoter.yaml.

    Raises:
        UsageError: none, or several, sync from the overlay.
    """
    found = applications.get(overlay, [])
    if len(found) != 1:
        names = f"several Applications sync from {overlay}: {', '.join(name for _, name in found)}"
        raise UsageError(
            names if found else f"no manifest of an Application that syncs from {overlay} is in this repository",
            hint="save it there: argocd app get NAME -o yaml > environments/NAME.yaml" if not found else "keep one of them",
        )
    ((file, name),) = found
    return f"{{name: {json.dumps(name)}, file: {file}}}"
