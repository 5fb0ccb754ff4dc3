"""plan: reads everything, writes nothing, and returns the one value that `promote` then applies."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from promoter.argocd.errors import NotFoundError
from promoter.errors import RefusedError
from promoter.image.reference import checked_tag, image_tag
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import Files, overlay_paths, read_overlay, unified
from promoter.kustomize.render import build, sources, tool
from promoter.models import Change, Environment, Image, ModelVersion, Release
from promoter.promotion import gates, journal
from promoter.promotion.steps import Steps

if TYPE_CHECKING:
    from promoter.gitops import Repository, Snapshot
    from promoter.kustomize.release import Edited
    from promoter.model_registry import ModelReference
    from promoter.promotion.clients import Clients

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
    warnings: tuple[str, ...] = ()
    _snapshot: Snapshot | None = field(default=None, repr=False, compare=False)
    _edited: Edited | None = field(default=None, repr=False, compare=False)

    @property
    def already_there(self) -> bool:
        return self.image is not None and not self.changes

    def edited(self, snapshot: Snapshot) -> Edited | None:
        """The planned edit, when it is the same on this snapshot: the image is known and the overlay's files are the same."""
        if self.image is None or self._snapshot is None:
            return None
        planned = self._snapshot
        paths = () if snapshot.commit == planned.commit else overlay_paths(self.environment)
        same = all(snapshot.blob_id(path) == planned.blob_id(path) for path in paths)
        return self._edited if same else None


def plan(
    clients: Clients,
    environment: Environment,
    reference: ModelReference,
    steps: Steps,
    *,
    rendering: bool = True,
    force: bool = False,
    tag: str = "",
    version: ModelVersion | None = None,
) -> Plan:
    """What promoting this model version to this environment would change; `force` lets a quarantined version pass.

    `version` is what the reference was resolved to before; its alias may point to another one by now. `tag` names an image of
    the version, on another runtime than its own; without it an overlay that deploys one keeps it.

    Raises:
        PromoterError: whatever forbids the promotion, each with its own class and hint.
    """
    reference = with_default_alias(reference, environment)
    repository = clients.repository(environment.application)
    known = version
    version = steps.run(
        "model",
        lambda: known or clients.model_registry.resolve(reference),
        lambda found: f"{reference} is version {found.version}",
    )
    snapshot = steps.run("overlay", repository.fetch, lambda tip: f"{_where(environment)} at {tip.commit[:10]}")
    files = read_overlay(snapshot, environment)
    overlay = kustomize.parse_overlay(files)
    before = overlay.deployed(environment.model)
    tag = checked_tag(tag) if tag else _rebuilt(before, environment, version)
    image = steps.run("image", lambda: clients.publisher(environment.model).expect(version, tag), _image_detail)
    warned = steps.run(
        "gates",
        lambda: _gates(clients, repository, snapshot.commit, environment, version, force=force),
        lambda warnings: "; ".join(warnings) or "passed",
    )
    after = release_of(environment, version, image)
    edited = overlay.write(environment.model, _shown(after))
    rendered = None
    if rendering:
        render_it = partial(rendered_change, snapshot, environment, edited.files)
        rendered = steps.run("render", render_it, _build_detail, lambda text: text is None)
    return Plan(
        environment=environment,
        reference=reference,
        version=version,
        image=image,
        before=before,
        after=after,
        changes=edited.changes,
        diff=unified(Files.of(files), edited.files),
        rendered=rendered,
        commit=snapshot.commit,
        warnings=warned,
        _snapshot=snapshot,
        _edited=edited,
    )


def _gates(
    clients: Clients, repository: Repository, tip: str, environment: Environment, version: ModelVersion, *, force: bool
) -> tuple[str, ...]:
    """Refuses what must not be written; gives what only may go wrong. Without an Argo CD its part is left out."""
    commits = repository.history(overlay_paths(environment), limit=clients.config.git.history_limit, start=tip)
    gates.not_quarantined(journal.past(commits, version), version, environment, force=force)
    if not clients.argocd_server:
        return ()
    argocd = clients.argocd()
    try:
        application = argocd.application(environment.application)
    except NotFoundError:
        application = None
    gates.followed(application, environment)
    return gates.warnings(application, argocd.sync_windows(environment.application)) if application else ()


def _rebuilt(deployed: Release | None, environment: Environment, version: ModelVersion) -> str:
    """The tag that the overlay deploys where it is one of `promoter image --rebuild`, of this version; else ""."""
    if deployed is None or deployed.repository != environment.model.repository:
        return ""
    return deployed.tag if deployed.tag.startswith(f"{image_tag(version)}-") else ""


def _image_detail(image: Image | None) -> str:
    if image is None:
        return "not built yet"
    return image.reference + (f", in {image.copied_from} so far" if image.copied_from else "")


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


def with_default_alias(reference: ModelReference, environment: Environment) -> ModelReference:
    """The reference, where a bare name means the alias that the environment follows.

    Raises:
        RefusedError: it follows none.
    """
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


def rendered_change(snapshot: Snapshot, environment: Environment, files: Mapping[str, bytes]) -> str | None:
    """The difference this change makes to what Argo CD applies; "" when none, None when no tool is here."""
    directory = environment.application.path
    if tool() is None:
        return None
    now = sources(snapshot, directory)
    after = build({**now, **files}, directory) or ""
    try:
        before = build(now, directory) or ""
    except RefusedError:
        before = ""  # it did not build: everything it renders to now is new
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), "rendered now", "rendered then"))


def _build_detail(rendered: str | None) -> str:
    return "neither kustomize nor kubectl is here" if rendered is None else "builds"
