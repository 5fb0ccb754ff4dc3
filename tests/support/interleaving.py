"""Promoters, a reconcile and people on one small world, in an order that a schedule decides: every call to the outside is a step.

Git is in memory and linear, with compare-and-swap as its only lock, as on a server; everything above the seam is promoter's own.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, cast

import pytest

from promoter import config
from promoter.argocd.client import ArgoCD
from promoter.argocd.state import ContainerImage, RunningRelease
from promoter.commands.plan import plan
from promoter.commands.promote import promote
from promoter.commands.reconcile import Action, Reconciled, Reconciler
from promoter.commands.rollback import plan_rollback, rollback
from promoter.errors import ExitCode, PromoterError, UnreachableError
from promoter.gitops import Commit, Proposal, Pushed, Repository, Snapshot, tree
from promoter.image.publish import Publisher
from promoter.kustomize import freeze_file, promotion_file
from promoter.kustomize import overlay as overlays
from promoter.kustomize.entries import opened
from promoter.kustomize.freeze_file import Freeze
from promoter.kustomize.promotion_file import Decision, State
from promoter.model_registry import ModelReference, ModelRegistry
from promoter.model_registry.store import RegisteredVersion
from promoter.models import Application, Environment, Image, Model, ModelVersion, Release
from promoter.promotion import releases
from promoter.promotion.clients import Clients
from promoter.promotion.releases import Committed
from promoter.promotion.restore import plan_restore, restore
from promoter.promotion.steps import Steps
from promoter.promotion.survey import Survey
from promoter.verdict import Kind, Reason, Verdict
from tests.support import invariants
from tests.support.argo_world import MODEL, REPOSITORY, digest, overlay

T = TypeVar("T")
ALIAS = "champion"
_START = datetime(2026, 11, 26, 8, tzinfo=UTC)
_CONFIG = f"""\
models:
  {MODEL}: {{image: {REPOSITORY}, kustomize-image: fraud-detector}}
environments:
- {{name: staging, application: app.yaml, alias: {ALIAS}, on-alias: promote}}
record: {{registry: off}}
"""
_APPLICATION = """\
kind: Application
metadata: {name: fraud-staging, namespace: argocd}
spec:
  project: default
  source: {repoURL: https://git.example.com/x.git, path: overlays/staging, targetRevision: main}
"""


# -- whose turn it is -------------------------------------------------------------------------------------------------


class Schedule:
    """Runs actors in threads, one at a time. At each step `choose` picks who goes on, among those that have not ended."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self._choose, self._turn = choose, threading.Condition()
        self._waiting: dict[str, bool] = {}
        self._running = ""
        self.taken: list[str] = []

    def run(self, actors: Mapping[str, Callable[[], None]]) -> None:
        broken: list[BaseException] = []

        def act(name: str, work: Callable[[], None]) -> None:
            self._mine = name
            try:
                self._wait(name)
                work()
            except BaseException as error:  # it is the test's: raised again below
                broken.append(error)
            with self._turn:
                del self._waiting[name]
                self._running = ""
                self._turn.notify_all()

        threads = [threading.Thread(target=act, args=item, name=item[0], daemon=True) for item in actors.items()]
        for thread in threads:
            thread.start()
        with self._turn:
            self._turn.wait_for(lambda: len(self._waiting) == len(threads))
            while self._waiting:
                names = sorted(self._waiting)
                self._running = names[self._choose(len(names)) % len(names)]
                self.taken.append(self._running)
                self._waiting[self._running] = False
                self._turn.notify_all()
                self._turn.wait_for(lambda: not self._running)
        for error in broken:
            raise error

    def step(self) -> None:
        """The calling actor is about to ask something of the outside: somebody else may be first."""
        name = threading.current_thread().name
        if name not in self._waiting:
            return
        with self._turn:
            self._running = ""
        self._wait(name)

    def _wait(self, name: str) -> None:
        with self._turn:
            self._waiting[name] = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._running == name and not self._waiting[name])


# -- the world --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """One commit: its whole tree, and who made it."""

    commit: Commit
    files: Mapping[str, bytes]
    by: str


@dataclass
class World:
    """A branch, what the alias means, and which versions the cluster aborts."""

    schedule: Schedule
    bad: frozenset[str]
    clients: SmallClients = field(init=False)
    alias: str = "1"
    line: list[Made] = field(default_factory=list)

    def __post_init__(self) -> None:
        files = {path: text.encode() for path, text in overlay(1).items()}
        self.add({**files, "overlays/staging/promotion.yaml": b"versions:\n"}, "Begin", "")

    @property
    def tip(self) -> Made:
        return self.line[-1]

    def at(self, sha: str) -> Made:
        return next(one for one in self.line if one.commit.sha == sha)

    def add(self, files: Mapping[str, bytes], subject: str, by: str, trailers: Mapping[str, str] | None = None) -> Commit:
        parents = (self.tip.commit.sha,) if self.line else ()
        tree_now = {**(self.tip.files if self.line else {}), **files}
        sha = hashlib.sha1(f"{len(self.line)} {subject} {by}".encode()).hexdigest()
        when = _START + timedelta(minutes=len(self.line))
        commit = Commit(sha, parents, subject, by, when, dict(trailers or {}))
        self.line.append(Made(commit, tree_now, by))
        return commit


class SmallGit:
    """`Repository` on a `World`, for one actor: each of its calls to the remote is a step."""

    def __init__(self, world: World) -> None:
        self._world = world

    def fetch(self) -> Snapshot:
        self._world.schedule.step()
        return Snapshot(self._world.tip.commit.sha, self)

    def at(self, commit: str) -> Snapshot:
        return Snapshot(commit, self)

    def worded(self, proposal: Proposal) -> Proposal:
        return proposal

    def apply(self, edit: Callable[[Snapshot], Proposal | None]) -> Pushed:
        attempts = 0
        while True:
            attempts += 1
            tip = self.fetch()
            proposal = edit(tip)
            if proposal is None or all(tip.read(path) == content for path, content in proposal.files.items()):
                return Pushed(None, tip.commit, attempts)
            self._world.schedule.step()
            if self._world.tip.commit.sha == tip.commit:
                by = threading.current_thread().name
                made = self._world.add(proposal.files, proposal.subject, by, dict(proposal.read_back))
                return Pushed(made, made.sha, attempts)

    def history(self, paths: Sequence[str], *, limit: int, start: str | None = None, full: bool = False) -> Iterator[Commit]:
        line = self._until(start or self.fetch().commit)
        touched = (now for before, now in zip([None, *line], line, strict=False) if _differ(before, now, paths))
        yield from [one.commit for one in touched][::-1][:limit]

    def search(self, pattern: str, start: str) -> list[Commit]:
        raise AssertionError("the file of decisions is there: nothing is searched")

    def parent(self, commit: str) -> str:
        return next(iter(self._world.at(commit).commit.parents), "")

    def moved_from(self, commit: str, path: str) -> str | None:
        return None

    def read_ahead(self, commits: Collection[str], paths: Sequence[str]) -> None: ...

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        return ancestor in [one.commit.sha for one in self._until(commit)]

    def entry(self, commit: str, path: str) -> tree.Entry | None:
        content = self._world.at(commit).files.get(path)
        return None if content is None else tree.Entry("100644", hashlib.sha1(content).hexdigest())

    def blob(self, commit: str, id: str) -> bytes:
        return next(one for one in self._world.at(commit).files.values() if hashlib.sha1(one).hexdigest() == id)

    def export(self, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        return {path: content for path, content in self._world.at(commit).files.items() if path in paths or _below(path, paths)}

    def _until(self, sha: str) -> list[Made]:
        return self._world.line[: self._world.line.index(self._world.at(sha)) + 1]


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def _differ(before: Made | None, now: Made, paths: Sequence[str]) -> bool:
    return any((before.files.get(path) if before else None) != now.files.get(path) for path in paths)


class SmallRegistry:
    """MLflow: one model of which every version exists, and one alias."""

    def __init__(self, world: World) -> None:
        self._world = world

    def at_alias(self, name: str, _alias: str) -> RegisteredVersion:
        self._world.schedule.step()
        return RegisteredVersion(name, self._world.alias, _START, "", "READY")

    def resolve(self, reference: ModelReference) -> ModelVersion:
        number = reference.version or self.at_alias(MODEL, ALIAS).version
        return ModelVersion(MODEL, number, _START, "mlflow-artifacts:/x", ())

    def metrics(self, _: ModelReference) -> dict[str, float]:
        return {}

    def set_tag(self, *_: str) -> None: ...


class SmallPublisher:
    """Images that have all been published before."""

    def expect(self, version: ModelVersion, _tag: str = "") -> Image:
        number = int(version.version)
        content = f"sha256:{number:064x}"
        return Image(REPOSITORY, f"v{number}-20261101T090000Z", digest(number), content, reused=True)

    def ensure(self, version: ModelVersion, _open: object, _tag: str = "", _known: Image | None = None) -> Image:
        return self.expect(version)


class NoArgoCD:
    """Not reached: what asks it for more than evidence is not part of this world."""

    def application(self, _: object) -> None:
        raise UnreachableError("there is no Argo CD here")


@dataclass(frozen=True)
class SmallClients(Clients):
    world: World = field(kw_only=True)

    @property
    def argocd_server(self) -> str | None:
        return None

    @property
    def model_registry(self) -> ModelRegistry:
        return cast("ModelRegistry", SmallRegistry(self.world))

    def repository(self, application: Application) -> Repository:
        return cast("Repository", SmallGit(self.world))

    def publisher(self, model: Model) -> Publisher:
        return cast("Publisher", SmallPublisher())


def without_rendering() -> pytest.MonkeyPatch:
    """No tool that renders is found: it would take a second each time. The caller undoes it."""
    patch = pytest.MonkeyPatch()
    patch.setattr("promoter.promotion.rendering.tool", lambda: None)
    return patch


def world(folder: Path, choose: Callable[[int], int], bad: Collection[str]) -> World:
    file = folder / "promoter.yaml"
    if not file.exists():
        (folder / "app.yaml").write_text(_APPLICATION)
        file.write_text(_CONFIG)
    made = World(Schedule(choose), frozenset(bad))
    made.clients = SmallClients(config.load(file), {}, world=made)
    return made


# -- who acts ---------------------------------------------------------------------------------------------------------


class SmallReconciler(Reconciler):
    """reconcile without a cluster to watch: what it promoted goes live or is aborted as the world has it."""

    def _follow(
        self, environment: Environment, committed: Committed, *, found: bool = False, made: object = None
    ) -> Reconciled:
        ended(cast("SmallClients", self.clients), environment, committed)
        return Reconciled(environment.name, MODEL, Action.PROMOTED, "", ExitCode.DONE)


def ended(clients: SmallClients, environment: Environment, committed: Committed) -> None:
    """What the follower does at the end of a release: nothing when it is live, a restore when it was aborted."""
    git = clients.repository(environment.application)
    if committed.release.version not in clients.world.bad or committed.restores:
        return
    stable = stable_before(clients.world, environment, committed)
    running = RunningRelease(ContainerImage(stable.repository, stable.tag, stable.digest), stable.version)
    verdict = Verdict(Kind.ABORTED, "analysis failed", reason=Reason.ANALYSIS_FAILED, stable=running)
    argocd = cast("ArgoCD", NoArgoCD())
    restore(git, argocd, plan_restore(argocd, git, environment, committed, verdict))


def stable_before(world: World, environment: Environment, committed: Committed) -> Release:
    """The newest release below the commit that the cluster did not abort."""
    below = world.line[: world.line.index(world.at(committed.commit.sha))]
    found = (deployed(world, one, environment) for one in reversed(below))
    return next(one for one in found if one.version not in world.bad)


def deployed(world: World, made: Made, environment: Environment) -> Release:
    found = overlays.deployed(Snapshot(made.commit.sha, SmallGit(world)), environment)
    assert found is not None
    return found


def promoter(world: World, reference: str, *, unattended: bool = False) -> Callable[[], None]:
    def act() -> None:
        clients, environment = world.clients, world.clients.config.environments[0]
        made = plan(clients, environment, ModelReference.parse(reference), Steps(), rendering=False, unattended=unattended)
        outcome = promote(clients, made, Steps())
        committed = releases.current(clients.repository(environment.application), environment, outcome.commit)
        ended(clients, environment, committed)

    return _allowed_to_be_refused(act)


def reconcile(world: World) -> Callable[[], None]:
    def act() -> None:
        clients = world.clients
        survey = Survey(clients, with_argocd=False)
        SmallReconciler(clients, lambda _: None, survey=survey).run(clients.config.environments)

    return _allowed_to_be_refused(act)


def person_rolls_back(world: World) -> Callable[[], None]:
    def act() -> None:
        environment = world.clients.config.environments[0]
        git = world.clients.repository(environment.application)
        rollback(git, plan_rollback(git, environment, None, by="ada"))

    return _allowed_to_be_refused(act)


def person_rejects(world: World, version: str) -> Callable[[], None]:
    """An edit of promotion.yaml in a work tree, pushed when nobody was faster."""

    def act() -> None:
        environment = world.clients.config.environments[0]
        git, path = world.clients.repository(environment.application), overlays.promotion_path(environment)

        def edit(tip: Snapshot) -> Proposal:
            entry = Decision(version, State.REJECTED, "no", _START, "ada")
            return Proposal({path: promotion_file.write(path, tip.read(path), environment, [entry])}, f"Reject {version}")

        git.apply(edit)

    return act


def person_freezes(world: World, state: freeze_file.State = freeze_file.State.FROZEN) -> Callable[[], None]:
    """An edit as that of `person_rejects`."""

    def act() -> None:
        environment = world.clients.config.environments[0]
        git, path = world.clients.repository(environment.application), overlays.promotion_path(environment)

        def edit(tip: Snapshot) -> Proposal:
            entry = Freeze(state, "no", _START, by="ada")
            return Proposal({path: freeze_file.write(path, tip.read(path), environment, [entry])}, f"Write {state}")

        git.apply(edit)

    return act


def person_commits(world: World, name: str) -> Callable[[], None]:
    def act() -> None:
        world.clients.repository(world.clients.config.environments[0].application).apply(
            lambda _: Proposal({f"apps/{name}": name.encode()}, f"Add {name}")
        )

    return act


def alias_moves(world: World, version: str) -> Callable[[], None]:
    def act() -> None:
        world.schedule.step()
        world.alias = version

    return act


def _allowed_to_be_refused(act: Callable[[], None]) -> Callable[[], None]:
    """A refusal writes nothing, and is an end like any other."""

    def run() -> None:
        try:
            act()
        except PromoterError:
            return

    return run


# -- what must hold ---------------------------------------------------------------------------------------------------


def decisions_at(world: World, made: Made, environment: Environment) -> Mapping[str, Decision]:
    path = overlays.promotion_path(environment)
    return {one.version: one for one in promotion_file.read(path, made.files[path], environment).values()}


def is_frozen(world: World, made: Made, environment: Environment) -> bool:
    path = overlays.promotion_path(environment)
    return any(one.stands(_START) for one in freeze_file.of(opened(path, made.files[path]), environment))


def violations(world: World) -> Iterator[str]:
    """Every sentence that the line of commits contradicts."""
    environment = world.clients.config.environments[0]
    links = [_link(world, made, environment) for made in world.line]
    yield from invariants.violations(itertools.pairwise(links), world.bad)


def _link(world: World, made: Made, environment: Environment) -> invariants.Link:
    theirs = [path for path in made.files if path.startswith("apps/")]
    return invariants.Link(
        made.commit.sha,
        made.commit.subject,
        made.by,
        deployed(world, made, environment),
        decisions_at(world, made, environment),
        theirs,
        attended=not made.by.startswith("reconcile"),
        frozen=is_frozen(world, made, environment),
    )
