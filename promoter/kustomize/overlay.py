"""The overlay of an environment in one commit: its two files, found through the Application's path."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from promoter.errors import ConfigError
from promoter.kustomize import release as kustomize
from promoter.kustomize.outside import KUSTOMIZATION_FILES
from promoter.kustomize.promotion_file import FILE_NAME
from promoter.kustomize.release import Overlay
from promoter.kustomize.render import Tree
from promoter.models import Environment, Release


@dataclass(frozen=True)
class Files:
    """A tree whose files are at hand: what one `export` of many overlays gave."""

    files: Mapping[str, bytes]

    @classmethod
    def of(cls, overlay: Overlay) -> Files:
        """The files of an overlay that was read before."""
        files = {overlay.kustomization_file: overlay.kustomization, overlay.release_file: overlay.release}
        return cls(files if overlay.promotion is None else {**files, overlay.promotion_file: overlay.promotion})

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def export(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        below = (self._below.get(path, ()) for path in paths)
        return {path: self.files[path] for found in below for path in found}

    @cached_property
    def _below(self) -> Mapping[str, Sequence[str]]:
        """The paths of files, by each path that they are at or below."""
        found: dict[str, list[str]] = {}
        for path in self.files:
            parts = path.split("/")
            for depth in range(len(parts)):
                found.setdefault("/".join(parts[: depth + 1]), []).append(path)
        return found


def read_overlay(tree: Tree, environment: Environment) -> Overlay:
    """The kustomization and the release file of the environment's overlay.

    Raises:
        ConfigError: one of them is not there.
    """
    application = environment.application
    where = f"{application.path} on {application.target_revision} of {application.repo_url}"
    files = tree.export([*overlay_paths(environment), promotion_path(environment)])  # in one request to the remote
    for name in KUSTOMIZATION_FILES:
        file = posixpath.normpath(posixpath.join(application.path, name))
        if (kustomization := files.get(file)) is not None:
            break
    else:
        raise ConfigError("kustomization.yaml is missing", file=application.path, hint=f"{where} must hold the overlay")
    release_file = release_path(environment)
    release = files.get(release_file)
    if release is None:
        hint = "copy release.yaml of the shipped overlays and name it under resources:"
        raise ConfigError("the file is missing", file=release_file, hint=hint)
    promotion_file = promotion_path(environment)
    return Overlay(application.path, file, kustomization, release_file, release, promotion_file, files.get(promotion_file))


def deployed(tree: Tree, environment: Environment) -> Release | None:
    """What Git deploys to the environment, at the commit of this tree; None before the first release.

    Raises:
        ConfigError: the overlay's files are missing, or are not YAML that promoter can edit.
    """
    return kustomize.deployed(read_overlay(tree, environment), environment.model)


def overlay_paths(environment: Environment) -> list[str]:
    """Every path at which the files that deploy the release may stand: what to ask the history for."""
    names = (environment.model.release_file, *KUSTOMIZATION_FILES)
    return [posixpath.normpath(posixpath.join(environment.application.path, name)) for name in names]


def release_path(environment: Environment) -> str:
    """The environment's release file, from the repository's root."""
    return posixpath.normpath(posixpath.join(environment.application.path, environment.model.release_file))


def promotion_path(environment: Environment) -> str:
    """The file of decisions about versions (`promotion_file`), next to the release file, from the repository's root."""
    return posixpath.join(posixpath.dirname(release_path(environment)), FILE_NAME)


def unified(tree: Tree, files: Mapping[str, bytes]) -> str:
    """What putting these files into the tree changes, as a unified diff."""
    text = ""
    for path, content in sorted(files.items()):
        text += file_diff(path, tree.read(path) or b"", content)
    return text


def file_diff(path: str, before: bytes, after: bytes) -> str:
    """How one file changes, as a unified diff."""
    old, new = (one.decode(errors="replace").splitlines(True) for one in (before, after))
    return "".join(_ended(line) for line in difflib.unified_diff(old, new, f"a/{path}", f"b/{path}"))


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
