"""promote: applies a plan: publishes the image and commits the release, or proposes the commit for review."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from promoter.commands.plan import promoted_files, promotion_id, release_of
from promoter.errors import PromoterError, SupersededError
from promoter.gitops import Proposal
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import read_overlay, release_path
from promoter.model_registry import ModelReference
from promoter.models import Change, Image, ModelVersion, Release, Result, Step, Write
from promoter.promotion import decisions, journal
from promoter.promotion.announce import Announcer
from promoter.promotion.decisions import Decisions
from promoter.promotion.ending import Opened
from promoter.promotion.freezes import not_frozen
from promoter.promotion.message import facts, metric_lines
from promoter.promotion.proposed import status_of
from promoter.promotion.pull_request import PullRequestOpener
from promoter.promotion.pull_request_body import Facts, promotion
from promoter.promotion.rendering import rendered_change
from promoter.promotion.smoke import can_smoke, smoke_test
from promoter.promotion.steps import Steps

if TYPE_CHECKING:
    from promoter.commands.plan import Plan
    from promoter.gitops import Pushed, Snapshot
    from promoter.hosting.forge import Forge, GatesStatus
    from promoter.kustomize.release import Edited
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a promotion ended: `commit` is None when the overlay deployed the release already, or gets it by `pull_request`."""

    environment: str
    release: Release
    image: Image
    changes: tuple[Change, ...]
    commit: str | None
    steps: tuple[Step, ...]
    pull_request: Opened | None = None


def promote(clients: Clients, plan: Plan, steps: Steps, *, reopen: bool = True, pinned: bool = False) -> Outcome:
    """Publishes the image of the plan's model version and commits its release on the tip of the environment's branch.

    With `write: pull-request` the commit is proposed for review instead: opened, or an open pull request brought up to date.
    `reopen`: also where a person closed the same pull request before. `pinned`: only on the overlay that the plan saw.

    Safe to repeat and to kill anywhere: the image is found by its content, the release by what the overlay deploys, the pull
    request by its branch.

    Raises:
        SupersededError: another release was committed since the plan, and ours may no longer be wanted.
        RefusedError: the branch does not accept a direct commit, or a person closed the pull request.
        UsageError: a template of the commit's message needs a ticket, and there is none.
    """
    environment, version = plan.environment, plan.version
    if clients.message is not None:
        clients.message.require_ticket()
    # before anything is published: a pull request that nobody could open needs no image
    forge = clients.forge(environment.application) if environment.write is Write.PULL_REQUEST else None
    image = steps.run(
        "publish",
        # MLflow is asked for only when a file is read: a published image may need none
        partial(
            clients.publisher(environment.model).ensure,
            version,
            lambda file: clients.model_registry.open(version, file),
            plan.after.tag,
            plan.image,
        ),
        _published,
        attrgetter("reused"),
    )
    if plan.changes and can_smoke(clients, environment.model, image):
        steps.run("smoke", lambda: smoke_test(clients, image, plan.container), str, lambda found: bool(found.skipped))
    release = release_of(environment, version, image)
    commit = _Commit(clients, plan, release, pinned=pinned)
    opened, pushed = None, None
    if forge is not None:
        work = _proposing(clients, forge, plan, image, commit, reopen=reopen).run
        opened = steps.run("propose", work, _opened_detail, lambda found: found is None)
        Announcer(clients, environment).proposed(release, opened, commit.before, commit.metrics)
    else:
        repository = clients.repository(environment.application)
        pushed = steps.run("commit", partial(repository.apply, commit), _commit_detail, lambda done: done.commit is None)
    made = pushed.commit if pushed else None
    return Outcome(
        environment=environment.name,
        release=release,
        image=image,
        changes=commit.changes if made or opened else (),
        commit=made.sha if made else None,
        steps=tuple(steps.done),
        pull_request=opened,
    )


def proposing(clients: Clients, plan: Plan, image: Image, *, pinned: bool = False) -> PullRequestOpener:
    """What brings the plan's pull request up to date, each time it is run."""
    commit = _Commit(clients, plan, release_of(plan.environment, plan.version, image), pinned=pinned)
    return _proposing(clients, clients.forge(plan.environment.application), plan, image, commit, reopen=True)


def _proposing(clients: Clients, forge: Forge, plan: Plan, image: Image, commit: _Commit, *, reopen: bool) -> PullRequestOpener:
    repository = clients.repository(plan.environment.application)

    def describe(diff: str, room: int) -> str:
        return promotion(_facts(clients, plan, image, commit, diff), room)

    def gates() -> GatesStatus:
        return status_of(commit.rulings, plan.version.version)

    return PullRequestOpener(repository, forge, plan.environment, commit, describe, reopen=reopen, gates=gates)


def _facts(clients: Clients, plan: Plan, image: Image, commit: _Commit, diff: str) -> Facts:
    return Facts(
        environment=plan.environment,
        before=commit.before,
        after=release_of(plan.environment, plan.version, image),
        version=plan.version,
        live=_live(clients, commit.before),
        image_size=image.size,
        gates=plan.gates,
        built=plan.built,
        warnings=plan.render_warnings,
        diff=diff,
        rendered=plan.rendered if plan.image or not plan.rendered else commit.rendered(),
    )


def _live(clients: Clients, before: Release | None) -> ModelVersion | None:
    """MLflow's data on the deployed version; None if MLflow no longer has it."""
    if before is None or not before.version:
        return None
    try:
        return clients.model_registry.resolve(ModelReference(before.model, version=before.version))
    except PromoterError:
        return None


class _Commit:
    """The edit, made again on every tip it is tried on; what it remembers is of the last try."""

    def __init__(self, clients: Clients, plan: Plan, release: Release, *, pinned: bool = False) -> None:
        self._clients, self._plan, self._release, self._pinned = clients, plan, release, pinned
        self.before: Release | None = plan.before
        self.changes: tuple[Change, ...] = ()
        self.rulings = plan.gates
        self.rendered: Callable[[], str | None] = lambda: plan.rendered
        self.metrics: list[str] = []
        self._known: dict[Release, Mapping[str, float]] = {}

    def __call__(self, snapshot: Snapshot) -> Proposal | None:
        environment = self._plan.environment
        edited = self._plan.edited(snapshot)
        if edited is not None:
            self.before = self._plan.before
            if edited.files and snapshot.commit != self._plan.commit:
                self.rulings = self._plan.require_allowed(snapshot)
        else:
            edited = self._edit(snapshot)
        deployed = self.before
        self.changes = edited.changes
        self.rendered = partial(self._render, snapshot, edited.files)
        if not edited.files:
            return None
        if self._pinned and self._plan.blobs(snapshot) != self._plan.blobs():
            raise self._superseded(deployed, snapshot.commit)
        if self._plan.rendered is not None and snapshot.commit != self._plan.commit:
            self.rendered()  # the base may have changed: what is committed must run the release
        if environment.freeze:  # a window may have opened since, while an image was built
            not_frozen(Decisions(environment, "", None, {}))
        if self._plan.image is None:  # so may a sync window of Argo CD
            self._plan.require_sync()
        if deployed != self._plan.before or (not self._by_name and snapshot.commit != self._plan.commit):
            self._still_wanted(deployed, snapshot.commit)
        self.metrics = metric_lines(self._metrics_of(deployed), self._plan.version.metrics)
        return Proposal(
            files=edited.files,
            subject=_subject(self._plan, deployed),
            body=_body(deployed, self._release, self._plan.version.run_id, self.metrics),
            trailers=self._entry(snapshot).trailers(),
            facts=facts(environment, self._release, deployed, run=self._plan.version.run_id or ""),
        )

    def _metrics_of(self, deployed: Release | None) -> Mapping[str, float]:
        """Those of the deployed version; none if MLflow has nothing of it, or doesn't answer: the commit goes on without."""
        if deployed is None or deployed.version in ("", self._release.version):
            return {}
        if deployed not in self._known:
            self._known[deployed] = {}
            with suppress(PromoterError):
                reference = ModelReference(deployed.model, version=deployed.version)
                self._known[deployed] = self._clients.model_registry.metrics(reference)
        return self._known[deployed]

    def _entry(self, snapshot: Snapshot) -> journal.Entry:
        environment, release = self._plan.environment, self._release
        part = self._plan.part
        made = part.promotion if part else promotion_id(environment, release, snapshot.blob_id(release_path(environment)) or "")
        passed = [one for one in self.rulings if one.result is Result.OVERRIDDEN]
        return journal.promotion(environment, release, made, overridden=self._plan.overridden(passed) if passed else "")

    def _render(self, snapshot: Snapshot, files: Mapping[str, bytes]) -> str | None:
        change = rendered_change(self._clients, snapshot, self._plan.environment, files, self._release)
        return change.diff if change else None

    @property
    def _by_name(self) -> bool:
        """The version was named, so no alias that moves in between makes another one wanted."""
        return not (self._plan.reference.alias or self._plan.reference.stage)

    def _edit(self, snapshot: Snapshot) -> Edited:
        """The edit of a tip that is not the plan's. What was decided there in the meantime counts.

        Raises: as `Plan.require_allowed`.
        """
        plan, repository = self._plan, self._clients.repository(self._plan.environment.application)
        files = read_overlay(snapshot, plan.environment)
        overlay = kustomize.parse_overlay(files)
        self.before = overlay.deployed(plan.environment.model)
        known = decisions.at(repository, snapshot.commit, files, plan.environment)
        if self.before != self._release:
            self.rulings = plan.require_allowed(snapshot, known, self.before)
        return promoted_files(overlay, known, self._release, self._clients.actor, plan.part)

    def _still_wanted(self, deployed: Release | None, commit: str) -> None:
        """Plan again: version numbers do not say which release is wanted, the alias does."""
        reference, version = self._plan.reference, self._plan.version
        alias = reference.alias or (f"stage/{reference.stage}" if reference.stage else None)
        now = self._clients.model_registry.at_alias(version.name, alias) if alias else None
        if now and (now.version, now.created) == (version.version, version.created):
            return
        raise self._superseded(deployed, commit)

    def _superseded(self, deployed: Release | None, commit: str) -> SupersededError:
        there = f"version {deployed.version} ({deployed.image})" if deployed else "no release"
        return SupersededError(
            f"environment {self._plan.environment.name!r} changed since the plan: {commit[:10]} deploys {there}",
            hint=f"nothing was written; run again if version {self._plan.version.version} is still wanted",
        )


def _subject(plan: Plan, deployed: Release | None) -> str:
    since = f" (was {deployed.version})" if deployed and deployed.version and deployed.version != plan.version.version else ""
    return f"Promote {plan.version.name} version {plan.version.version} to {plan.environment.name}{since}"


def _body(deployed: Release | None, release: Release, run_id: str | None, metrics: Iterable[str]) -> str:
    was = f"{deployed.image}" if deployed and deployed.tag else "nothing"
    run = [f"run: {run_id}"] if run_id else []
    return "\n".join([f"image: {was} -> {release.image}", *run, *metrics])


def _published(image: Image) -> str:
    return image.reference + (f", copied from {image.copied_from}" if image.copied_from else "")


def _commit_detail(pushed: Pushed) -> str:
    if pushed.commit is None:
        return "already there"
    tries = f", after {pushed.attempts} tries" if pushed.attempts > 1 else ""
    return f"{pushed.commit.sha[:10]} {pushed.commit.subject}{tries}"


def _opened_detail(opened: Opened | None) -> str:
    return f"{opened.done} {opened.url}" if opened else "already there"
