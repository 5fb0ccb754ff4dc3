"""Promotions, rollbacks and restores by pull request: real Git, real MLflow, and both forges over HTTP."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promoter import __version__, config
from promoter.commands.freeze import Freezing, freeze
from promoter.commands.promote import Outcome, promote, proposing
from promoter.commands.reconcile import Action, Reconciled, Reconciler
from promoter.commands.reject import Rejection, plan_rejection, reject
from promoter.commands.rollback import plan_rollback, proposing_rollback
from promoter.errors import ExitCode, RefusedError, SupersededError
from promoter.hosting.forge import Forge
from promoter.models import ForgeKind
from promoter.promotion import releases
from promoter.promotion.clients import Clients
from promoter.promotion.ending import End, Ended, Opened
from promoter.promotion.follow import Follower
from promoter.promotion.pull_request import MergeWait, branch_of
from promoter.promotion.steps import Steps, silent
from tests.support.argo_world import FAILS, TIMING, World, world
from tests.support.forge_repository import METHODS, Check, ForgeRepository, Pull
from tests.support.forge_server import IDENTITY, TOKEN, Answer, ForgeServer, forge_server
from tests.support.mlflow_server import MlflowServer
from tests.support.pull_requests import KINDS, client, edit, outcome, settings, variables
from tests.support.write_path import KUSTOMIZATION, WritePath, path

__all__ = ["path"]

GITHUB = ForgeKind.GITHUB
POLICY = f"pull-request:\n  labels: [promotion]\n  reviewers: [{IDENTITY}]\n"


@dataclass
class Place:
    """A write path whose staging takes pull requests, and its forge; versions are registered when they are promoted."""

    path: WritePath
    server: ForgeServer
    kind: ForgeKind

    @property
    def clients(self) -> Clients:
        return self.path.clients(**variables(self.server))

    @property
    def forge(self) -> Forge:
        return client(self.server, self.kind)

    @property
    def branch(self) -> str:
        return branch_of(self.clients.config.environment("staging"))

    @property
    def pulls(self) -> list[Pull]:
        return self.server.pulls

    def promote(self, version: int, *, again: bool = True) -> Outcome:
        return promote(self.clients, self.path.plan(f"{self.path.model}:{version}"), Steps(), reopen=again)

    def open(self, version: int) -> Opened:
        opened = self.promote(version).pull_request
        assert opened is not None
        return opened

    def waiting(self, version: int, sleep: Callable[[float], None], say: Callable[[str], None] = lambda _: None) -> Ended:
        """Opens one and waits; `sleep` is what goes on meanwhile."""
        made = self.path.plan(f"{self.path.model}:{version}")
        result = promote(self.clients, made, Steps())
        assert result.pull_request is not None
        work = proposing(self.clients, made, result.image)
        clock = iter(range(0, 100_000, 600))
        return MergeWait(work, result.pull_request, say, sleep, lambda: float(next(clock))).run()

    def references(self, number: int) -> str:
        return self.forge.reference(number)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> ForgeKind:
    """GitHub unless something else is named: tests/test_forge.py shows that both do the same."""
    return ForgeKind(getattr(request, "param", GITHUB))


both = pytest.mark.parametrize("kind", KINDS, ids=str, indirect=True)


@pytest.fixture
def place(path: WritePath, kind: ForgeKind) -> Iterator[Place]:
    with forge_server(ForgeRepository(path.remote)) as server:
        policy = ("  alias: challenger\n", "  alias: challenger\n  write: pull-request\n")
        edit(path.config, policy, more=settings(server, kind) + POLICY)
        path.register()
        yield Place(path, server, kind)


# -- one pull request -------------------------------------------------------------------------------------------------


@both
def test_a_promotion_opens_one_and_leaves_the_branch_alone(place: Place) -> None:
    tip = place.path.tip
    result = place.promote(1)
    (pull,) = place.pulls
    opened = result.pull_request
    assert opened is not None
    assert (opened.number, opened.done, opened.branch, opened.supersedes) == (1, "opened", place.branch, None)
    assert place.branch == f"promoter/staging/{place.path.model}"
    assert (result.commit, place.path.tip) == (None, tip)
    assert opened.commit == place.server.repository.head(place.branch)
    assert place.path.git("log", "--format=%H", f"main..{place.branch}").split() == [opened.commit]
    assert (pull.title, pull.labels, pull.reviewers) == (
        f"Promote {place.path.model} version 1 to staging",
        ["promotion"],
        [IDENTITY],
    )
    assert place.path.trailers(opened.commit)["Model-Version"] == "1"
    assert pull.body.rstrip().endswith(f"Environment: staging\nPromoter-Version: {__version__}")
    assert len(pull.body) <= place.forge.longest_body
    assert TOKEN not in pull.body


@both
def test_again_changes_nothing(place: Place) -> None:
    first = place.open(1)
    before = (place.server.repository.branches(), place.pulls[0].body)
    again = place.open(1)
    assert (again.number, again.commit, again.done) == (1, first.commit, "unchanged")
    assert (place.server.repository.branches(), place.pulls[0].body) == before
    assert len(place.pulls) == 1


def test_unrelated_commits_do_not_touch_it(place: Place) -> None:
    """Its reviews stay: another head would dismiss them."""
    first = place.open(1)
    place.path.commit({"notes.txt": b"unrelated\n"})
    assert place.open(1).commit == first.commit


def test_a_change_of_the_overlay_brings_it_up_to_date(place: Place) -> None:
    first = place.open(1)
    theirs = place.path.read(KUSTOMIZATION) + b"# theirs\n"
    place.path.commit({KUSTOMIZATION: theirs})
    again = place.open(1)
    assert (again.number, again.done) == (1, "updated")
    assert again.commit != first.commit
    assert place.path.git("log", "--format=%H", f"main..{place.branch}").split() == [again.commit]
    assert place.path.git("show", f"{place.branch}:{KUSTOMIZATION}").endswith("# theirs\n")


def test_what_others_pushed_to_its_branch_does_not_stay(place: Place) -> None:
    place.open(1)
    place.path.git("update-ref", f"refs/heads/{place.branch}", "main")
    again = place.open(1)
    assert place.path.trailers(place.branch)["Model-Version"] == "1"
    assert (again.number, len(place.pulls)) == (1, 1)


@both
def test_another_version_gets_its_own_and_the_older_one_is_closed_with_a_link(place: Place) -> None:
    place.path.register()
    first, second = place.open(1), place.open(2)
    older, newer = place.pulls
    assert (second.number, second.done, second.supersedes) == (2, "opened", 1)
    assert (older.state, older.end, newer.state) == ("closed", first.commit, "open")
    assert older.comments == [f"Superseded by {place.references(2)}."]
    assert f"Supersedes {place.references(1)}." in newer.body
    assert place.open(2).done == "unchanged"
    assert len(older.comments) == 1


def test_one_that_a_person_closed_is_opened_again_by_a_person_only(place: Place) -> None:
    place.open(1)
    place.server.repository.close(place.pulls[0])
    with pytest.raises(RefusedError, match="was closed without being merged"):
        place.promote(1, again=False)
    assert len(place.pulls) == 1
    assert place.open(1).supersedes == 1
    assert place.pulls[1].state == "open"


def test_what_is_there_already_needs_none(place: Place) -> None:
    place.open(1)
    place.server.repository.merge(place.pulls[0], "squash")
    result = place.promote(1)
    assert (result.pull_request, result.commit) == (None, None)
    assert len(place.pulls) == 1


@both
def test_the_body_has_what_a_reviewer_needs(place: Place) -> None:
    place.open(1)
    place.server.repository.merge(place.pulls[0], "squash")
    place.path.register()
    place.open(2)
    body = place.pulls[1].body
    assert "version `1` → **version `2`**" in body
    assert "| `accuracy` | 0.9 | 0.9 | +0 |" in body
    assert f"promoter rollback staging --model {place.path.model} --to 1" in body
    assert "What happens on merge" in body
    assert "image size" in body
    assert "+  newTag: v2-" in body


# -- waiting for its end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "method", "message"),
    [
        *((kind, method, "COMMIT_MESSAGES") for kind in KINDS for method in METHODS),
        (GITHUB, "squash", "PR_BODY"),
    ],
    indirect=["kind"],
)
def test_merged_whichever_way_the_release_is_recognised(place: Place, method: str, message: str) -> None:
    place.server.repository.squash_message = message
    ended = place.waiting(1, lambda _: _merge(place, method))
    assert (ended.end, ended.merged) == (End.MERGED, place.path.tip)
    assert place.server.repository.branches() == ["main"]
    environment = place.clients.config.environment("staging")
    repository = place.clients.repository(environment.application)
    found = releases.merged(repository, environment, str(ended.merged), place.promote(1).release)
    assert found.release.version == "1"
    assert found.commit.trailers["Model-Version"] == "1"
    assert (found.commit.sha == ended.merged) is (method != "merge")


def test_merged_without_any_trailer_it_is_recognised_by_what_the_overlay_carries(place: Place) -> None:
    place.server.repository.squash_message = "BLANK"
    ended = place.waiting(1, lambda _: _merge(place, "squash"))
    environment = place.clients.config.environment("staging")
    found = releases.current(place.clients.repository(environment.application), environment)
    assert (found.commit.sha, found.release.version) == (ended.merged, "1")
    assert "Model-Version" not in found.commit.trailers


def _merge(place: Place, method: str) -> None:
    pull = place.pulls[-1]
    if pull.state == "open":
        place.server.repository.merge(pull, method)


@both
def test_closed_ends_with_22_and_leaves_nothing(place: Place) -> None:
    tip = place.path.tip
    ended = place.waiting(1, lambda _: place.server.repository.close(place.pulls[0]))
    assert (ended.end, ended.exit_code) == (End.CLOSED, ExitCode.CLOSED_UNMERGED)
    assert (place.server.repository.branches(), place.path.tip) == (["main"], tip)


def test_a_branch_that_somebody_pushed_to_is_left_alone(place: Place) -> None:
    def close_and_push(_: float) -> None:
        place.server.repository.close(place.pulls[0])
        place.path.git("update-ref", f"refs/heads/{place.branch}", "main")

    place.waiting(1, close_and_push)
    assert place.branch in place.server.repository.branches()


def test_required_checks_that_fail_are_named(place: Place) -> None:
    def fail(_: float) -> None:
        place.pulls[0].checks = [Check("policy-check", result="failure"), Check("optional", required=False)]

    ended = place.waiting(1, fail)
    assert (ended.end, ended.exit_code) == (End.CHECKS_FAILED, ExitCode.REFUSED)
    assert "policy-check" in ended.detail
    assert place.pulls[0].state == "open"


def test_nobody_merges_it(place: Place) -> None:
    ended = place.waiting(1, lambda _: None)
    assert (ended.end, ended.exit_code) == (End.TIMED_OUT, ExitCode.TIMED_OUT)
    assert place.pulls[0].state == "open"


def test_a_conflict_is_fixed_on_the_new_tip(place: Place) -> None:
    moved: list[str] = []

    def meanwhile(_: float) -> None:
        if not moved:
            theirs = place.path.read(KUSTOMIZATION).replace(
                b"- name: inference-service\n", b"- name: inference-service # theirs\n"
            )
            moved.append(place.path.commit({KUSTOMIZATION: theirs}))
        elif not place.server.repository.conflicts(place.pulls[0]):
            _merge(place, "merge")

    ended = place.waiting(1, meanwhile)
    assert ended.end is End.MERGED
    assert b"# theirs" in place.path.read(KUSTOMIZATION)


def test_a_conflict_with_another_release_supersedes_it(place: Place) -> None:
    def meanwhile(_: float) -> None:
        if len(place.pulls) == 1 and place.path.git("log", "-1", "--format=%s").strip() != "Somebody promoted":
            text = place.path.git("show", f"{place.branch}:{KUSTOMIZATION}").encode()
            version = place.path.git("show", f"{place.branch}:overlays/staging/release.yaml").encode()
            files = {
                KUSTOMIZATION: text.replace(b"v1-", b"v9-"),
                "overlays/staging/release.yaml": version.replace(b'"1"', b'"9"'),
            }
            place.path.commit(files, "Somebody promoted")

    with pytest.raises(SupersededError, match="changed since the plan"):
        place.waiting(1, meanwhile)


def test_no_answer_for_a_while_is_waited_through(place: Place) -> None:
    place.server.fault("POST", "/graphql", Answer(500, {"message": "down"}))
    heard: list[str] = []
    ended = place.waiting(1, lambda _: _merge(place, "squash"), heard.append)
    assert ended.end is End.MERGED
    assert "no answer at the moment" in heard[0]


def test_the_merge_queue_is_followed_to_the_commit_it_makes(place: Place) -> None:
    """The queue merges onto what came before it in the queue: only its own commit is on the branch in the end."""
    heard: list[str] = []

    def meanwhile(_: float) -> None:
        pull = place.pulls[0]
        if pull.queue is None:
            pull.queue = 2
        else:
            place.path.commit({"notes.txt": b"the one before in the queue\n"})
            _merge(place, "squash")

    ended = place.waiting(1, meanwhile, heard.append)
    assert (ended.end, ended.merged) == (End.MERGED, place.path.tip)
    assert any("in the merge queue, place 2" in words for words in heard)


def test_taken_out_of_the_merge_queue(place: Place) -> None:
    looks: list[int] = []

    def meanwhile(_: float) -> None:
        place.pulls[0].queue = None if looks else 1
        looks.append(1)

    ended = place.waiting(1, meanwhile)
    assert (ended.end, ended.exit_code) == (End.CHECKS_FAILED, ExitCode.REFUSED)
    assert "merge queue" in ended.detail


@pytest.mark.parametrize("method", METHODS)
def test_merged_by_itself_once_everything_has_passed(place: Place, method: str) -> None:
    edit(place.path.config, (POLICY, f"{POLICY}  auto-merge: {method}\n"))
    ended = place.waiting(1, lambda _: place.server.repository.ready(place.pulls[0]))
    assert (ended.end, ended.merged) == (End.MERGED, place.path.tip)
    trailers = place.path.trailers("main")
    assert trailers["Model-Version"] == "1"
    assert trailers["Promotion-Id"]


@both
def test_what_auto_merge_can_not_do_is_reported(place: Place) -> None:
    edit(place.path.config, (POLICY, f"{POLICY}  auto-merge: squash\n"))
    if place.kind is GITHUB:
        message = "Pull request Auto merge is not allowed for this repository"
        place.server.fault("POST", "/graphql", Answer(200, {"data": None, "errors": [{"message": message}]}))
    else:
        message = "TF401192: auto-complete is not possible"
        place.server.fault("PATCH", "/pullrequests/1", Answer(409, {"message": message}))
    (note,) = place.open(1).notes
    assert message in note


# -- killed -----------------------------------------------------------------------------------------------------------

_KILLED_WHILE = {
    "looking": ("GET", "/pulls", False),
    "opening": ("POST", "/pulls", False),
    "opened": ("POST", "/pulls", True),
    "labelling": ("POST", "/labels", True),
    "asking for reviews": ("POST", "/requested_reviewers", False),
}


@pytest.mark.parametrize("where", list(_KILLED_WHILE))
def test_killed_while_opening_the_rerun_ends_in_the_same_state(place: Place, where: str) -> None:
    """kill -9 in the middle of a request, before the forge carries it out or after."""
    path, server = place.path, place.server
    method, suffix, lost = _KILLED_WHILE[where]
    command = ("promote", f"{path.model}:1", "--to", "staging", "--no-render", "-o", "json")
    killed_by(place, *command, request=(method, suffix), lost=lost)
    rerun = path.run(*command, **variables(place.server))
    assert rerun.returncode == 0, rerun.stderr
    (pull,) = server.pulls
    opened = outcome(rerun.stdout)["pull_request"]
    assert (pull.state, pull.labels, pull.reviewers) == ("open", ["promotion"], [IDENTITY])
    assert (opened["number"], opened["commit"]) == (1, server.repository.head(pull.branch))
    assert server.repository.branches() == ["main", pull.branch]


def killed_by(place: Place, *command: str, request: tuple[str, str], lost: bool) -> None:
    """Runs promoter until it sends this request, which is carried out (`lost`) or is not."""
    environ = {**place.path.environ, **variables(place.server)}
    process = subprocess.Popen(place.path.command(*command), env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    hook: dict[str, Any] = {"after" if lost else "before": lambda: killed(process)}
    place.server.fault(*request, Answer(500, {"message": "nobody reads this"}), lost=lost, **hook)
    process.communicate()
    assert process.returncode == -9


@pytest.mark.parametrize(
    ("during", "lost"),
    [(("PATCH", "/pulls/1"), True), (("POST", "/pulls"), False), (("POST", "/comments"), False)],
    ids=["closing the older", "opening the newer", "linking"],
)
def test_killed_while_superseding(place: Place, during: tuple[str, str], lost: bool) -> None:
    place.open(1)
    place.path.register()
    killed_by(place, "promote", f"{place.path.model}:2", "--to", "staging", "--no-render", request=during, lost=lost)
    place.open(2)
    older, newer = place.pulls
    assert (older.state, newer.state, older.comments) == ("closed", "open", ["Superseded by #2."])
    assert "Supersedes #1." in newer.body


# -- as a command -----------------------------------------------------------------------------------------------------


def test_the_command_opens_and_returns_or_waits(place: Place) -> None:
    arguments = ("promote", f"{place.path.model}:1", "--to", "staging", "--no-render", "-o", "json")
    opened = place.path.run(*arguments, **variables(place.server))
    assert (opened.returncode, TOKEN in opened.stdout + opened.stderr) == (0, False), opened.stderr
    said = outcome(opened.stdout)
    assert (said["exit_code"], said["commit"], said["pull_request"]["number"]) == (0, None, 1)
    assert said["pull_request"]["url"].endswith("/1")
    place.server.meanwhile("POST", "/graphql", lambda: place.server.repository.merge(place.pulls[0], "squash"))
    waited = place.path.run(*arguments, "--wait", "--no-watch", **variables(place.server))
    assert (waited.returncode, outcome(waited.stdout)["merged"]) == (0, place.path.tip), waited.stderr


def test_the_command_ends_with_22_when_it_is_closed(place: Place) -> None:
    place.server.meanwhile("POST", "/graphql", lambda: place.server.repository.close(place.pulls[0]))
    arguments = ("promote", f"{place.path.model}:1", "--to", "staging", "--no-render", "-o", "json")
    waited = place.path.run(*arguments, "--wait", "--no-watch", **variables(place.server))
    assert (waited.returncode, outcome(waited.stdout)["exit_code"]) == (22, 22), waited.stderr
    assert place.server.repository.branches() == ["main"]


def killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_killed_while_waiting(place: Place) -> None:
    """The rerun takes up the same pull request, and ends as the first would have."""
    command = ("promote", f"{place.path.model}:1", "--to", "staging", "--no-render", "--wait", "--no-watch", "-o", "json")
    first = subprocess.Popen(
        place.path.command(*command), env={**place.path.environ, **variables(place.server)}, stdout=-1, stderr=-1
    )
    place.server.meanwhile("POST", "/graphql", lambda: killed(first))
    first.communicate()
    assert (first.returncode, place.pulls[0].state) == (-9, "open")
    place.server.meanwhile("POST", "/graphql", lambda: place.server.repository.merge(place.pulls[0], "rebase"))
    rerun = place.path.run(*command, **variables(place.server))
    assert (rerun.returncode, outcome(rerun.stdout)["merged"]) == (0, place.path.tip), rerun.stderr
    assert len(place.pulls) == 1


def test_without_a_token_it_reports_which_to_set(place: Place) -> None:
    edit(place.path.config, (POLICY, ""))
    done = place.path.run("promote", f"{place.path.model}:1", "--to", "staging", "--no-render")
    assert done.returncode == ExitCode.AUTH
    assert "set PROMOTER_GIT_TOKEN" in done.stderr


# -- rollback, restore and reconcile ----------------------------------------------------------------------------------

_REVIEWED = "  write: pull-request\n  on-failure: pull-request\n"


@dataclass
class Reviewed:
    """A world with an Argo CD, whose Git is written by pull requests alone; version 1 is live."""

    world: World
    server: ForgeServer

    def merge(self, number: int = 1) -> str:
        return self.server.repository.merge(self.server.repository.pull(number), "squash")

    def reconcile(self) -> Reconciled:
        it = self.world
        (done,) = Reconciler(it.clients, silent, timing=TIMING, clock=it.clock).run(it.clients.config.environments)
        return done


@pytest.fixture
def it(kind: ForgeKind, tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[Reviewed]:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    source = f"models:/{mlflow_server.log_model()}"
    for _ in range(3):
        mlflow_server.register(name, source)
    mlflow_server.set_alias(name, "champion", "1")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    lines = "  alias: champion\n  on-alias: promote\n" + _REVIEWED
    with (
        world(tmp_path, environ, model=name, lines=lines) as one,
        forge_server(ForgeRepository(Path(one.remote.url))) as server,
    ):
        file = tmp_path / "promoter.yaml"
        edit(file, more=settings(server, kind))
        one.clients = type(one.clients)(config.load(file), {**one.clients.environ, **variables(server)})
        yield Reviewed(one, server)


def test_a_rollback_opens_one(it: Reviewed) -> None:
    world = it.world
    world.follow(world.promote(2))
    repository = world.clients.repository(world.environment.application)
    planned = plan_rollback(repository, world.environment, None)
    work = proposing_rollback(repository, world.clients.forge(world.environment.application), planned)
    opened = work.run()
    assert opened is not None
    assert world.committed().release.version == "2"
    assert work.run() == dataclasses.replace(opened, done="unchanged")
    it.merge()
    restored = world.committed()
    assert (restored.release.version, restored.commit.trailers["Rolled-Back-Version"]) == ("1", "2")


def test_a_rejection_takes_the_place_of_the_versions_own(it: Reviewed, mlflow_server: MlflowServer) -> None:
    """The promotion can't be merged by mistake any more."""
    world = it.world
    environment = world.environment
    mlflow_server.set_alias(world.model, "champion", "2")
    assert it.reconcile().action is Action.PROPOSED
    wanted = Rejection(environment, "2", None, "labels are mixed up", "ada")
    done = reject(world.clients, plan_rejection(world.clients.repository(environment.application), wanted))
    assert (done.exit_code, done.commit) == (ExitCode.DONE, None)
    assert done.pull_request is not None
    assert [one.state for one in it.server.pulls] == ["closed", "open"]
    assert "labels are mixed up" in it.server.pulls[1].body
    it.merge(2)
    assert world.committed().release.version == "1"
    assert "state: rejected" in world.remote.show("overlays/staging/promotion.yaml")
    assert "is rejected in 'staging'" in it.reconcile().detail


def test_a_freeze_takes_the_place_of_a_promotion_which_is_proposed_again_after_the_thaw(
    it: Reviewed, mlflow_server: MlflowServer
) -> None:
    world = it.world
    mlflow_server.set_alias(world.model, "champion", "2")
    assert it.reconcile().action is Action.PROPOSED
    done = freeze(world.clients, Freezing(world.environment, "ada", "the shop is full"))
    assert (done.exit_code, done.commit, done.pull_request is not None) == (ExitCode.DONE, None, True)
    assert [one.state for one in it.server.pulls] == ["closed", "open"]
    assert "the shop is full" in it.server.pulls[1].body
    it.merge(2)
    left = it.reconcile()
    assert (left.action, "is frozen until it is thawed by ada" in left.detail) == (Action.LEFT, True)
    freeze(world.clients, Freezing(world.environment, "ben", thaw=True))
    it.merge(3)
    assert it.reconcile().action is Action.PROPOSED
    assert [one.state for one in it.server.pulls] == ["closed", "merged", "merged", "open"]


@both
def test_a_restore_opens_an_urgent_one_once(it: Reviewed) -> None:
    world = it.world
    world.behaviours["2"] = FAILS
    bad = world.promote(2)
    ending = world.follow(bad)
    (pull,) = it.server.pulls
    assert (ending.exit_code, ending.restored) == (ExitCode.NOT_RESTORED, None)
    assert ending.pull_request is not None
    assert ending.pull_request.url in ending.note
    assert (pull.labels, pull.branch.endswith(".restore")) == (["urgent"], True)
    assert pull.title.startswith(f"Restore {world.model} version 1 in staging: version 2, analysis failed")
    assert "metric success-rate Failed" in pull.body
    assert world.remote.tip() == bad.commit.sha
    assert it.reconcile().action is Action.PROPOSED
    assert it.reconcile().exit_code is ExitCode.NOT_RESTORED
    assert len(it.server.pulls) == 1
    it.merge()
    now = world.committed()
    assert (now.release.version, now.restores) == ("1", True)
    assert now.commit.trailers["Quarantined"] == f"{world.model}:2"
    assert world.follow(now).exit_code is ExitCode.DONE


def test_a_restore_that_is_waited_for(it: Reviewed) -> None:
    world = it.world
    world.behaviours["2"] = FAILS
    bad = world.promote(2)
    world.clock.after(60, it.merge)
    follower: Follower = dataclasses.replace(world.follower(), waits=True)
    ending = follower.follow(bad)
    assert (ending.exit_code, ending.restored) == (ExitCode.RESTORED, world.remote.tip())


def test_a_restore_that_a_person_refused_is_not_asked_for_again(it: Reviewed) -> None:
    world = it.world
    world.behaviours["2"] = FAILS
    world.follow(world.promote(2))
    it.server.repository.close(it.server.pulls[0])
    done = it.reconcile()
    assert (done.action, done.exit_code) == (Action.LEFT, ExitCode.NOT_RESTORED)
    assert "was closed without being merged" in done.detail
    assert len(it.server.pulls) == 1


def test_a_restore_closes_nothing_that_people_are_reviewing(it: Reviewed) -> None:
    world = it.world
    world.behaviours["2"] = FAILS
    world.follow(world.promote(2))
    promotion, _ = it.server.repository.open(Pull(2, branch_of(world.environment), "main", "Promote 3", "")), it.reconcile()
    assert [one.state for one in it.server.pulls] == ["open", "open"]
    assert promotion.title == "Promote 3"


def test_reconcile_opens_one_for_an_alias_that_moved_once(it: Reviewed, mlflow_server: MlflowServer) -> None:
    mlflow_server.set_alias(it.world.model, "champion", "2")
    first = it.reconcile()
    assert (first.action, first.exit_code) == (Action.PROPOSED, ExitCode.DONE)
    head = it.server.repository.head(it.server.pulls[0].branch)
    assert "unchanged" in it.reconcile().detail
    assert (len(it.server.pulls), it.server.repository.head(it.server.pulls[0].branch)) == (1, head)
    mlflow_server.set_alias(it.world.model, "champion", "3")
    it.reconcile()
    assert [one.state for one in it.server.pulls] == ["closed", "open"]
    it.server.repository.close(it.server.pulls[1])
    refused = it.reconcile()
    assert (refused.action, len(it.server.pulls)) == (Action.LEFT, 2)
    assert "was closed without being merged" in refused.detail
    mlflow_server.set_alias(it.world.model, "champion", "2")
    it.reconcile()
    it.merge(3)
    assert it.reconcile().action in (Action.ON_ITS_WAY, Action.AGREES)
    assert it.world.committed().release.version == "2"


def test_the_release_that_was_merged_is_watched_to_its_end(it: Reviewed, mlflow_server: MlflowServer) -> None:
    """What `promoter watch` does when CI runs it on the merge."""
    mlflow_server.set_alias(it.world.model, "champion", "2")
    it.reconcile()
    merged = it.server.repository.merge(it.server.pulls[0], "merge")
    ending = it.world.follow(it.world.committed(merged))
    assert (ending.exit_code, ending.release.version) == (ExitCode.DONE, "2")
