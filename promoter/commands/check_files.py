"""The part of `check` that reads files: placeholders, overlays that two environments share, what an overlay would render to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promoter import config
from promoter.argocd.answers import application_state
from promoter.argocd.state import ApplicationState
from promoter.config.yaml import plain_values
from promoter.kustomize import overlay
from promoter.kustomize.components import components, contradictions
from promoter.kustomize.release import parse_overlay
from promoter.kustomize.render import sources
from promoter.models import Environment, Release
from promoter.promotion.rendering import rendered_change

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients

# Names of the example that no real repository has; `example.com` and its like are reserved for documentation (RFC 2606).
_PLACEHOLDER = re.compile(r"\byour-org\b|\byour-gitops-repository\b|\b(?:[\w-]+\.)*example\.(?:com|org|net)\b|<commit>")
_SEARCHED = ("promoter.yaml", "environments", "overlays", "base", ".github/workflows", "azure-pipelines.yml")
_LARGEST = 1 << 20  # bytes of a file that is searched
_DIGEST = "sha256:" + "0" * 63 + "1"


@dataclass(frozen=True, slots=True)
class WorkTree:
    """The files of a checkout, as `kustomize.render.Tree`; links are not followed out of it."""

    root: Path

    @classmethod
    def around(cls, folder: Path) -> WorkTree:
        """The checkout that the folder is in; without one the folder itself."""
        return cls(next((place for place in (folder, *folder.parents) if (place / ".git").exists()), folder))

    def holds(self, directory: str) -> bool:
        return (self.root / directory).is_dir()

    def read(self, path: str) -> bytes | None:
        return self.export([path]).get(path)

    def export(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        return {path: file.read_bytes() for path, file in self._files(paths)}

    def _files(self, paths: Iterable[str]) -> Iterator[tuple[str, Path]]:
        root = self.root.resolve()
        for path in paths:
            start = self.root / path
            for file in sorted(start.rglob("*")) if start.is_dir() else [start]:
                if file.is_file() and file.resolve().is_relative_to(root) and ".git" not in file.relative_to(self.root).parts:
                    yield file.relative_to(self.root).as_posix(), file


@dataclass(frozen=True)
class Manifests:
    """The Applications in the manifests that the promoter.yaml in this folder names, read once."""

    root: Path

    def of(self, environment: Environment) -> ApplicationState | None:
        """The environment's Application, without a status; None if no manifest has it.

        Raises:
            ConfigError: a manifest is not YAML.
        """
        described = self._described.get(environment.application.name)
        return application_state(described, path=environment.application.path) if described else None

    @cached_property
    def _described(self) -> dict[str, dict[str, Any]]:
        names = config.named_files(self.root / config.FILE)
        documents = (one for name in names for one in plain_values((self.root / name).read_text(errors="replace"), name))
        applications = (one for one in documents if isinstance(one, dict) and one.get("kind") == "Application")
        return {str(one["metadata"].get("name")): one for one in applications if isinstance(one.get("metadata"), dict)}


def placeholders(tree: WorkTree, environments: Sequence[Environment]) -> Iterator[tuple[str, str, str]]:
    """Where, what and the fix, of each line that still has a name of the example; comments do not count."""
    overlays = [environment.application.path for environment in environments if environment.application.path]
    for path, content in sorted(tree.export({*_SEARCHED, *overlays}).items()):
        if len(content) > _LARGEST or b"\0" in content:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            if found := _PLACEHOLDER.search(re.sub(r"(^|\s)#.*", "", line)):
                yield f"{path}:{number}", f"{found[0]} is a placeholder of the example", "write your own value there"


def same_overlay(environments: Sequence[Environment]) -> Iterator[tuple[str, str, str]]:
    """Environments that would write the same files."""
    seen: dict[tuple[str, str, str], str] = {}
    for environment in environments:
        application = environment.application
        place = (application.repo_url, application.target_revision, overlay.release_path(environment))
        name = f"{environment.model.name} in {environment.name}"
        if application.repo_url and place in seen:
            problem = f"{seen[place]} and {name} have the same release file {place[2]}"
            yield application.path, problem, "give each an overlay of its own, or models with different release-file"
        seen.setdefault(place, name)


def contradicting(tree: WorkTree, environment: Environment) -> Iterator[tuple[str, str, str]]:
    """Components of the shipped base that make nonsense of each other, each by name."""
    directory = environment.application.path
    for problem, fix in contradictions(components(sources(tree, directory), directory)):
        yield directory, problem, fix


def rendering(clients: Clients, tree: WorkTree, environment: Environment, *, offline: bool) -> tuple[str, ...]:
    """Puts a release into the overlay, in memory, and looks for it in what is rendered; what is not wrong, but unknown.

    Raises:
        ConfigError: the overlay has no place for it.
        RefusedError: the overlay does not build, or no workload would run the release.
    """
    model = environment.model
    release = Release(model.name, "1", _DIGEST, model.repository, "v1-check", _DIGEST)
    files = parse_overlay(overlay.read_overlay(tree, environment)).write(model, release).files
    rendered = rendered_change(clients, tree, environment, files, release, offline=offline)
    return rendered.warnings if rendered and rendered.unknown else ()
