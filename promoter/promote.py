"""promote: does exactly what a plan says: publishes the image and commits the release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter import kustomize
from promoter.errors import RefusedError, SupersededError
from promoter.gitops import Proposal
from promoter.models import Change, Image, Release, Step, Write
from promoter.overlay import read_overlay
from promoter.plan import promotion_id, release_of
from promoter.steps import Steps

if TYPE_CHECKING:
    from promoter.clients import Clients
    from promoter.gitops import Pushed, Snapshot
    from promoter.plan import Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a promotion ended: `commit` is None when the overlay carried the release already."""

    environment: str
    release: Release
    image: Image
    changes: tuple[Change, ...]
    commit: str | None
    steps: tuple[Step, ...]


def promote(clients: Clients, plan: Plan, steps: Steps) -> Outcome:
    """Publishes the image of the plan's model version and commits its release on the tip of the environment's branch.

    Safe to repeat and to kill anywhere: the image is found by its content, the release by what the overlay carries.

    Raises:
        SupersededError: another release was committed since the plan, and it is not known that ours is still wanted.
        RefusedError: the branch or the environment's policy does not take a direct commit.
    """
    if plan.environment.write is not Write.PUSH:
        raise RefusedError(
            f"environment {plan.environment.name!r} takes pull requests only (write: pull-request)",
            hint="pull requests are not supported yet: set write: push, or commit the plan's diff by hand",
        )
    environment = plan.environment
    version = plan.version
    image = steps.run(
        "publish",
        lambda: clients.publisher(environment.model).ensure(version, lambda file: clients.model_registry.open(version, file)),
        _published,
        lambda found: found.reused,
    )
    release = release_of(environment, version, image)
    commit = _Commit(clients, plan, release)
    pushed = steps.run(
        "commit", lambda: clients.repository(environment.application).apply(commit), _told, lambda done: done.commit is None
    )
    return Outcome(
        environment=environment.name,
        release=release,
        image=image,
        changes=commit.changes if pushed.commit else (),
        commit=pushed.commit.sha if pushed.commit else None,
        steps=tuple(steps.done),
    )


class _Commit:
    """The edit, made anew on every tip it is tried on; `changes` are those of the last try."""

    def __init__(self, clients: Clients, plan: Plan, release: Release) -> None:
        self._clients, self._plan, self._release = clients, plan, release
        self.changes: tuple[Change, ...] = ()

    def __call__(self, snapshot: Snapshot) -> Proposal | None:
        environment = self._plan.environment
        overlay = read_overlay(snapshot, environment)
        edited = kustomize.write_release(overlay, environment.model, self._release)
        self.changes = edited.changes
        if not edited.files:
            return None
        carried = kustomize.carried(overlay, environment.model)
        if carried != self._plan.before:
            self._still_wanted(carried, snapshot.commit)
        return Proposal(
            files=edited.files,
            subject=_subject(self._plan, carried),
            body=_body(carried, self._release, self._plan),
            trailers=_trailers(self._plan, self._release, snapshot.blob_id(overlay.release_file) or ""),
        )

    def _still_wanted(self, carried: Release | None, commit: str) -> None:
        """Plan again: version numbers do not say which release is wanted, the alias does."""
        reference, version = self._plan.reference, self._plan.version
        alias = reference.alias or (f"stage/{reference.stage}" if reference.stage else None)
        if alias and self._clients.model_registry.version_of(version.name, alias) == version.version:
            return
        now = f"version {carried.version} ({carried.image})" if carried else "no release"
        raise SupersededError(
            f"environment {self._plan.environment.name!r} changed since the plan: {commit[:10]} carries {now}",
            hint=f"nothing was written; run again if version {version.version} is still wanted",
        )


def _subject(plan: Plan, carried: Release | None) -> str:
    since = f" (was {carried.version})" if carried and carried.version and carried.version != plan.version.version else ""
    return f"Promote {plan.version.name} version {plan.version.version} to {plan.environment.name}{since}"


def _body(carried: Release | None, release: Release, plan: Plan) -> str:
    was = f"{carried.image}" if carried and carried.tag else "nothing"
    lines = [f"image: {was} -> {release.image}"]
    if plan.version.run_id:
        lines.append(f"run: {plan.version.run_id}")
    lines += [f"{name}: {value:g}" for name, value in sorted(plan.version.metrics.items())[:12]]
    return "\n".join(lines)


def _trailers(plan: Plan, release: Release, replaced: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Promotion-Id", promotion_id(plan.environment, release, replaced)),
        ("Model", release.model),
        ("Model-Version", release.version),
        ("Model-Digest", release.model_digest),
        ("Image", release.image),
        ("Environment", plan.environment.name),
    )


def _published(image: Image) -> str:
    return image.reference + (f", copied from {image.copied_from}" if image.copied_from else "")


def _told(pushed: Pushed) -> str:
    if pushed.commit is None:
        return "already there"
    tries = f", after {pushed.attempts} tries" if pushed.attempts > 1 else ""
    return f"{pushed.commit.sha[:10]} {pushed.commit.subject}{tries}"
