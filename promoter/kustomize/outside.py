"""What an overlay would fetch from a network, or read from outside its repository: named before anything is built. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from promoter.config.yaml import plain_values
from promoter.errors import ConfigError, RefusedError

KUSTOMIZATION_FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")

# Fields whose strings kustomize loads, in lower case: it reads keys in any case.
_LISTS = frozenset(
    {"resources", "bases", "components", "crds", "configurations", "transformers", "generators", "validators"}
    | {"patchesstrategicmerge", "files", "envs", "env", "path", "valuesfile", "additionalvaluesfiles", "charthome"}
)
_DATA = frozenset(
    {"commonlabels", "commonannotations", "labels", "patch", "literals", "options", "source", "target", "targets", "vars"}
    | {"fieldspecs", "jsonop"}
)
# As kustomize takes a text for a repository (api/internal/git/repospec.go), and for a file that it gets by HTTP.
_REMOTE = re.compile(r"(?i)(git::|[a-z][a-z0-9+.-]*://|[a-z0-9_.-]+@[^/]+[:/]|gh:|(www\.)?github\.com[/:])")
_BUILTIN = b"builtin"


def require_inside(files: Mapping[str, bytes], *, network: bool) -> None:
    """Refuses files of a repository that name what is outside of it; with a `network`, what is fetched may be.

    Raises:
        RefusedError: with the file, the text in it, and what to do.
    """
    for path, content in files.items():
        if posixpath.basename(path) not in KUSTOMIZATION_FILES and _BUILTIN not in content:
            continue
        for text in _loaded(path, content):
            _require_here(path, text, network=network)


def charts(files: Mapping[str, bytes]) -> Iterator[str]:
    """Helm charts that are not in the repository, by name."""
    for path, content in files.items():
        if posixpath.basename(path) not in KUSTOMIZATION_FILES and b"HelmChartInflationGenerator" not in content:
            continue
        folder = posixpath.dirname(path)
        for document in _documents(path, content):
            lower = {str(key).lower(): value for key, value in document.items()}
            home = _lower(lower.get("helmglobals")).get("charthome") or lower.get("charthome") or "charts"
            listed = [*_list(lower.get("helmcharts")), *_list(lower.get("helmchartinflationgenerator"))]
            if lower.get("kind") == "HelmChartInflationGenerator":
                listed.append(document)
            for chart in map(_lower, listed):
                name = str(chart.get("name") or chart.get("chartname") or "")
                if posixpath.normpath(posixpath.join(folder, str(home), name, "Chart.yaml")) not in files:
                    yield name or "without a name"


def _require_here(path: str, text: str, *, network: bool) -> None:
    for part in (text, text.partition("=")[2]):  # generators write KEY=PATH, too
        if _REMOTE.match(part):
            if network:
                return
            raise RefusedError(
                f"{path} fetches {part}: an overlay is built without a network",
                hint="copy it into the repository, or set in promoter.yaml: render: {network: true}",
            )
        if part.startswith("/") or posixpath.normpath(posixpath.join(posixpath.dirname(path), part)).split("/")[0] == "..":
            raise RefusedError(
                f"{path} reads {part}, which is outside the repository", hint="copy it into the repository, and name it there"
            )


def _loaded(path: str, content: bytes) -> Iterator[str]:
    for document in _documents(path, content):
        if document.get("apiVersion") == "builtin" or posixpath.basename(path) in KUSTOMIZATION_FILES:
            yield from _paths(document)


def _paths(mapping: Mapping[Any, Any]) -> Iterator[str]:
    """Strings of one line under keys whose values kustomize loads, however deep."""
    for key, value in mapping.items():
        name = str(key).lower()
        if name in _DATA:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping):
                yield from _paths(one)
            elif isinstance(one, str) and name in _LISTS and "\n" not in one.strip():
                yield one.strip()


def _documents(path: str, content: bytes) -> list[Mapping[Any, Any]]:
    try:
        return [one for one in plain_values(content.decode(errors="replace"), path) if isinstance(one, Mapping)]
    except ConfigError:
        return []  # kustomize refuses it in its own words


def _lower(value: Any) -> Mapping[str, Any]:
    return {str(key).lower(): one for key, one in value.items()} if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
