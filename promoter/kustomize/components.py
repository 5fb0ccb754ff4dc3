"""Which components of the shipped base an overlay has, in order, and which of them contradict each other."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promoter.config.yaml import plain_values
from promoter.errors import ConfigError
from promoter.kustomize.outside import KUSTOMIZATION_FILES

_FOLDER = "components"  # they lie in a folder of this name, wherever the base is
_ROUTES = ("istio", "gateway-api")
_NO_CANARY = "has no canary Service for a route to lead to"
_EXCLUDE: Mapping[tuple[str, str], str] = {
    **{("deployment", other): f"a Deployment {_NO_CANARY}" for other in _ROUTES},
    **{("blue-green", other): f"blue-green {_NO_CANARY}: it moves all clients at once" for other in _ROUTES},
    ("deployment", "blue-green"): "a Deployment has one strategy, the rolling update",
    ("deployment", "prometheus-analysis"): "a Deployment runs no analysis",
    _ROUTES: "one of them moves the traffic, not both",
}
_ORDERED: Mapping[tuple[str, str], str] = {  # the second looks for what the first has made
    ("blue-green", "prometheus-analysis"): "the analysis of the moved traffic is dropped",
    ("keda", "deployment"): "KEDA scales a Rollout that is not there",
}


def components(files: Mapping[str, bytes], directory: str) -> tuple[str, ...]:
    """Their names, in the order in which kustomize takes those of the kustomization in `directory` and of what it builds on.

    `files` are those that the overlay renders from, by path.
    """
    return tuple(_components(files, posixpath.normpath(directory), set()))


def contradictions(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with these together, and the fix."""
    for (one, other), why in _EXCLUDE.items():
        if one in names and other in names:
            yield f"components {one} and {other} contradict each other: {why}", f"remove {one} or {other}"
    for (first, second), why in _ORDERED.items():
        if first in names and second in names and names.index(second) < names.index(first):
            yield f"component {second} stands before {first}: {why}", f"list {first} before {second}"


def _components(files: Mapping[str, bytes], folder: str, seen: set[str]) -> Iterator[str]:
    if folder in seen:
        return
    seen.add(folder)
    values = _kustomization(files, folder)
    for key in ("resources", "bases", "components"):  # kustomize takes resources first
        for entry in values.get(key) or [] if isinstance(values.get(key), list) else []:
            target = posixpath.normpath(posixpath.join(folder, str(entry)))
            yield from _components(files, target, seen)
            if key == "components" and posixpath.basename(posixpath.dirname(target)) == _FOLDER:
                yield posixpath.basename(target)


def _kustomization(files: Mapping[str, bytes], folder: str) -> Mapping[str, Any]:
    for name in KUSTOMIZATION_FILES:
        if (content := files.get(posixpath.join(folder, name))) is not None:
            try:
                values = plain_values(content.decode(errors="replace"), name)
            except ConfigError:
                return {}  # the tool's own message is better
            first = values[0] if isinstance(values, list) and values else values
            return first if isinstance(first, dict) else {}
    return {}
