"""plan: reads everything, writes nothing, and returns the one value that `promote` then applies."""

from __future__ import annotations

import difflib
import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from promoter import kustomize
from promoter.errors import ConfigError, RefusedError
from promoter.image.reference import image_tag
from promoter.models import Change, Environment, Image, ModelVersion, Release
from promoter.render import KUSTOMIZATION_FILES, Tree, render
from promoter.steps import Steps

if TYPE_CHECKING:
    from promoter.clients import Clients
    from promoter.gitops import Snapshot
    from promoter.model_registry import ModelReference

UNBUILT = "(known once the image is built)"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a promotion would change, and what it was seen against.

    `image` is None when it has to be built first: then the digests of `after` are empty, and the only values filled in
    later. `rendered` is None where no kustomize was at hand.
    """

    environment: Environment
    reference: ModelReference
    version: ModelVersion
    image: Image | None
    before: Release | None
    after: Release
    changes: tuple[Change, ...]
    diff: str
    rendered: str | None
    commit: str

    @property
    def already_there(self) -> bool:
        return self.image is not None and not self.changes


def plan(
    clients: Clients, environment: Environment, reference: ModelReference, steps: Steps, *, rendering: bool = True
) -> Plan:
    """What promoting this model version to this environment would change.

    Raises:
        PromoterError: whatever forbids the promotion, each with its own class and hint.
    """
    reference = _wanted(reference, environment)
    version = steps.run(
        "model", lambda: clients.model_registry.resolve(reference), lambda found: f"{reference} is version {found.version}"
    )
    image = steps.run(
        "image",
        lambda: clients.publisher(environment.model).find(version),
        lambda found: found.reference if found else "not built yet",
    )
    snapshot = steps.run(
        "overlay", clients.repository(environment.application).fetch, lambda tip: f"{_where(environment)} at {tip.commit[:10]}"
    )
    after = release_of(environment, version, image)
    overlay = read_overlay(snapshot, environment)
    edited = kustomize.write_release(overlay, environment.model, _shown(after))
    rendered = (
        steps.run("render", lambda: _rendered(snapshot, environment, edited.files), _build_detail, lambda text: text is None)
        if rendering
        else None
    )
    return Plan(
        environment=environment,
        reference=reference,
        version=version,
        image=image,
        before=kustomize.carried(overlay, environment.model),
        after=after,
        changes=edited.changes,
        diff=_unified(snapshot, edited.files),
        rendered=rendered,
        commit=snapshot.commit,
    )


def read_overlay(tree: Tree, environment: Environment) -> kustomize.Overlay:
    """The two files of the environment's overlay.

    Raises:
        ConfigError: one of them is not there.
    """
    directory = environment.application.path
    for name in KUSTOMIZATION_FILES:
        file = posixpath.normpath(posixpath.join(directory, name))
        if (kustomization := tree.read(file)) is not None:
            break
    else:
        raise ConfigError("there is no kustomization.yaml", file=directory, hint=f"{_where(environment)} must hold the overlay")
    release_file = posixpath.normpath(posixpath.join(directory, environment.model.release_file))
    release = tree.read(release_file)
    if release is None:
        raise ConfigError(
            "there is no such file",
            file=release_file,
            hint="copy release.yaml of the shipped overlays and name it under resources:",
        )
    return kustomize.Overlay(directory, file, kustomization, release_file, release)


def release_of(environment: Environment, version: ModelVersion, image: Image | None) -> Release:
    """The release an overlay is to carry; its digests are empty while the image is not built."""
    return Release(
        model=version.name,
        version=version.version,
        model_digest=image.content_digest if image else "",
        repository=environment.model.repository,
        tag=image.tag if image else image_tag(version),
        digest=image.digest if image else "",
    )


def promotion_id(environment: Environment, release: Release, replaced: str) -> str:
    """The same for every run of the same promotion: environment, release, and the blob of the release file it replaces."""
    parts = (environment.name, release.model, release.version, release.model_digest, release.image, replaced)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _wanted(reference: ModelReference, environment: Environment) -> ModelReference:
    """A bare name means the alias that the environment follows."""
    if reference.version or reference.alias or reference.stage:
        return reference
    if environment.alias is None:
        raise RefusedError(
            f"{str(reference)!r} names no version, and environment {environment.name!r} follows no alias",
            hint=f"write {reference.name}@ALIAS or {reference.name}:VERSION, or give the environment an alias",
        )
    if environment.alias.startswith("stage/"):
        return replace(reference, stage=environment.alias.removeprefix("stage/"))
    return replace(reference, alias=environment.alias)


def _shown(release: Release) -> Release:
    return replace(release, model_digest=release.model_digest or UNBUILT, digest=release.digest or UNBUILT)


def _where(environment: Environment) -> str:
    application = environment.application
    return f"{application.path} on {application.target_revision} of {application.repo_url}"


def _rendered(snapshot: Snapshot, environment: Environment, files: Mapping[str, bytes]) -> str | None:
    """The difference this change makes to what Argo CD applies; "" when none, None when no tool is here."""
    directory = environment.application.path
    after = render(snapshot, directory, files)
    if after is None:
        return None
    try:
        before = render(snapshot, directory, {}) or ""
    except RefusedError:
        before = ""  # it did not build: everything it renders to now is new
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), "rendered now", "rendered then"))


def _build_detail(rendered: str | None) -> str:
    return "neither kustomize nor kubectl is here" if rendered is None else "builds"


def _unified(snapshot: Snapshot, files: Mapping[str, bytes]) -> str:
    text = ""
    for path, content in sorted(files.items()):
        old = (snapshot.read(path) or b"").decode().splitlines(True)
        text += "".join(
            _ended(line) for line in difflib.unified_diff(old, content.decode().splitlines(True), f"a/{path}", f"b/{path}")
        )
    return text


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
