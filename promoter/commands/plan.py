"""plan: reads everything, writes nothing, and returns the one value that `promote` then applies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from promoter.errors import RefusedError
from promoter.image.reference import checked_tag, image_tag
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import Files, overlay_paths, promotion_path, read_overlay, unified
from promoter.models import NO_LIMITS, Change, Container, Environment, Image, Model, ModelVersion, Release, Result, Ruling
from promoter.output import plain
from promoter.promotion import decisions
from promoter.promotion.gates import asking, override, table
from promoter.promotion.gates.facts import Facts
from promoter.promotion.gates.override import Overrides
from promoter.promotion.rendering import Rendered, asked, rendered_change
from promoter.promotion.steps import Steps

if TYPE_CHECKING:
    from promoter.gitops import Snapshot
    from promoter.kustomize.release import Edited, ParsedOverlay
    from promoter.kustomize.wave_file import Part
    from promoter.model_registry import ModelReference
    from promoter.promotion.clients import Clients
    from promoter.promotion.decisions import Decisions

UNBUILT = "(known once the image is built)"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a promotion would change, and what it was seen against.

    `image` is None when it has to be built first: then the digests of `after` are empty, and the only values filled in
    later. `rendered` is None if kustomize was not found; `workloads`, which will be watched, is empty then.
    `built`: the overlay was built here, and what it renders runs the release.
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
    workloads: tuple[str, ...] = ()
    built: bool = False
    gates: tuple[Ruling, ...] = ()
    _container: Container = field(default=NO_LIMITS, repr=False)
    _facts: Facts | None = field(default=None, repr=False, compare=False)
    _snapshot: Snapshot | None = field(default=None, repr=False, compare=False)
    _edited: Edited | None = field(default=None, repr=False, compare=False)
    _part: Part | None = field(default=None, repr=False)

    @property
    def render_warnings(self) -> tuple[str, ...]:
        """Those that no gate has."""
        return tuple(one for one in self.warnings if one not in _warnings(self.gates))

    @property
    def container(self) -> Container:
        """What the overlay's pods give the release's container, as far as it was rendered."""
        return self._container

    @property
    def part(self) -> Part | None:
        """The environment's part in a promotion of its group; None if it is promoted to alone."""
        return self._part

    @property
    def already_there(self) -> bool:
        return self.image is not None and not self.changes

    def require_allowed(
        self, snapshot: Snapshot, known: Decisions | None = None, before: Release | None = None
    ) -> tuple[Ruling, ...]:
        """The gates that depend on Git and MLflow, again, on another tip than the plan's: force and attendance are the plan's.

        Without `known`, the files of the overlay are the plan's.

        Raises:
            GatesError: a gate refuses the version now; it was quarantined since, or the environment frozen.
        """
        if self._facts is None:
            return ()
        facts = self._facts.on(snapshot, known or self._facts.known, before if known else self.before)
        rulings = asking.ask_again(facts)
        table.require(rulings, self.version, self.environment)
        return rulings

    def require_sync(self) -> None:
        """Argo CD would sync a commit of now by itself, as it would have when the plan was made.

        Raises:
            FrozenError: a sync window keeps it from that.
        """
        if self._facts is not None:
            table.require(asking.sync_window(self._facts), self.version, self.environment)

    def overridden(self, rulings: Sequence[Ruling]) -> str:
        """What the commit records of gates that were overridden."""
        return self._facts.overrides.recorded(rulings) if self._facts else ""

    def blobs(self, snapshot: Snapshot | None = None) -> dict[str, str | None]:
        """The ids of the overlay's files, at the plan's commit or at another; None for a file that is not there."""
        tree = snapshot or self._snapshot
        paths = (*overlay_paths(self.environment), promotion_path(self.environment))
        return {path: tree.blob_id(path) for path in paths} if tree else {}

    @property
    def policy(self) -> object:
        """What promoter.yaml and the Application's manifest say of the environment, in JSON's types."""
        gates = self._facts.clients.config.gates[self.environment.key].model_dump(mode="json") if self._facts else None
        return {"environment": plain(self.environment), "gates": gates}

    def edited(self, snapshot: Snapshot) -> Edited | None:
        """The planned edit, when it is the same on this snapshot: the image is known and the overlay's files are the same.

        Without a file of decisions the history decides, which is another one on every other commit.
        """
        if self.image is None or self._snapshot is None:
            return None
        planned, decisions = self._snapshot, promotion_path(self.environment)
        paths = () if snapshot.commit == planned.commit else (*overlay_paths(self.environment), decisions)
        if paths and planned.blob_id(decisions) is None:
            return None
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
    unattended: bool = False,
    tag: str = "",
    version: ModelVersion | None = None,
    overrides: Overrides = override.NONE,
    part: Part | None = None,
) -> Plan:
    """What promoting this model version to this environment would change; `force` lets a quarantined version pass.

    `unattended`: nobody named the version, so one that a person rolled back does not pass.

    `version` is what the reference was resolved to before; its alias may point to another one by now. `tag` names an image of
    the version, on another runtime than its own; without it an overlay that deploys one keeps it. `overrides` are gates that a
    person lets pass. `part` is the environment's part in a promotion of its group, which is recorded with the release.

    Raises:
        PromoterError: whatever forbids the promotion, each with its own class and hint.
    """
    reference = with_default_alias(reference, environment)
    repository = clients.repository(environment.application)
    version = _resolved(clients, reference, version, steps)
    snapshot = steps.run("overlay", repository.fetch, lambda tip: f"{_where(environment)} at {tip.commit[:10]}")
    files = read_overlay(snapshot, environment)
    overlay = kustomize.parse_overlay(files)
    before = overlay.deployed(environment.model)
    tag = checked_tag(tag) if tag else _rebuilt(before, environment, version)
    image = steps.run("image", lambda: _expected(clients, environment.model, version, tag), _image_detail)
    known = decisions.at(repository, snapshot.commit, files, environment)
    after = release_of(environment, version, image)
    facts = Facts(
        clients,
        version,
        snapshot,
        known,
        before,
        lambda: image,
        force=force,
        unattended=unattended,
        changes=before != after,
        overrides=overrides,
    )
    rulings = steps.run("gates", lambda: _asked(facts), _gates_detail)
    edited = promoted_files(overlay, known, _shown(after), clients.actor, part)
    render_it = partial(_rendered, clients, snapshot, environment, edited.files, _shown(after), before)
    rendered = steps.run("render", render_it, _build_detail, lambda change: change is None) if rendering else None
    return Plan(
        environment=environment,
        reference=reference,
        version=version,
        image=image,
        before=before,
        after=after,
        changes=edited.changes,
        diff=unified(Files.of(files), edited.files),
        rendered=rendered.diff if rendered else None,
        workloads=rendered.carriers.watched if rendered else (),
        commit=snapshot.commit,
        warnings=(*_warnings(rulings), *(rendered.warnings if rendered else ())),
        built=rendered is not None and not rendered.unknown,
        gates=rulings,
        _container=rendered.carriers.container if rendered else NO_LIMITS,
        _facts=facts,
        _snapshot=snapshot,
        _edited=edited,
        _part=part,
    )


def _resolved(clients: Clients, reference: ModelReference, known: ModelVersion | None, steps: Steps) -> ModelVersion:
    """The version that the reference means now, unless it is known already."""
    return steps.run(
        "model",
        lambda: known or clients.model_registry.resolve(reference),
        lambda found: f"{reference} is version {found.version}",
    )


def promoted_files(overlay: ParsedOverlay, known: Decisions, release: Release, actor: str, part: Part | None = None) -> Edited:
    """The files that change when the release is promoted: those that deploy it, and what stood against it in the decisions.

    `part` is recorded also where the release is there already.
    """
    edited = overlay.write(known.environment.model, release)
    if part is not None and (edited.files or not known.takes(part)):
        before = overlay.deployed(known.environment.model)
        part = replace(part, replaced=before.digest if before else "")
    elif not edited.files:
        return edited
    return replace(edited, files={**edited.files, **known.files(known.promoted(release, by=actor, part=part))})


def _asked(facts: Facts) -> tuple[Ruling, ...]:
    """What every gate decided, if none refuses. Raises as `table.require`, and as `asking.ask`."""
    rulings = asking.ask(facts)
    table.require(rulings, facts.version, facts.known.environment)
    return rulings


def _gates_detail(rulings: tuple[Ruling, ...]) -> str:
    return "; ".join(_warnings(rulings)) or "passed"


def _warnings(rulings: tuple[Ruling, ...]) -> tuple[str, ...]:
    return tuple(one.detail for one in rulings if one.result is Result.WARNED)


def _expected(clients: Clients, model: Model, version: ModelVersion, tag: str) -> Image | None:
    """The version's image; where there is none yet, its requirements are read now, and refused if no runtime can meet them."""
    image = clients.publisher(model).expect(version, tag)
    if image is None:
        clients.runtime(model, version, partial(clients.model_registry.open, version))
    return image


def _rebuilt(deployed: Release | None, environment: Environment, version: ModelVersion) -> str:
    """The tag that the overlay deploys if `promoter image --rebuild` made it for this version; else ""."""
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
    """The reference; a bare name means the alias that the environment follows.

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


def _rendered(
    clients: Clients,
    snapshot: Snapshot,
    environment: Environment,
    files: Mapping[str, bytes],
    after: Release,
    before: Release | None,
) -> Rendered | None:
    """As `rendered_change`; where nothing is built here, with what Argo CD renders of the tip."""
    found = rendered_change(clients, snapshot, environment, files, after)
    if found is None or not found.unknown:
        return found
    return replace(found, unknown=f"{found.unknown}; {asked(clients, environment, snapshot.commit, before)}")


def _build_detail(rendered: Rendered | None) -> str:
    if rendered is None:
        return "neither kustomize nor kubectl is here"
    if rendered.unknown:
        return f"not built here: {rendered.unknown}"
    return f"builds; watched: {', '.join(rendered.carriers.watched)}"
