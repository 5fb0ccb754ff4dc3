"""A group of environments, promoted to in waves: in order, each proven before the next, and what becomes of them at a failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promoter import config
from promoter.commands.group import GroupOutcome
from promoter.commands.reconcile import Action
from promoter.commands.rollback import plan_rollback, rollback
from promoter.commands.waves import resolved
from promoter.errors import ExitCode
from promoter.gitops.process import Git
from promoter.kustomize.wave_file import State
from promoter.model_registry import ModelReference
from promoter.models import ForgeKind
from promoter.promotion.waves import Stage
from tests.support.argo_world import FAILS, STUCK
from tests.support.forge_repository import ForgeRepository
from tests.support.forge_server import forge_server
from tests.support.full import few
from tests.support.mlflow_server import MlflowServer
from tests.support.pull_requests import edit, settings, variables
from tests.support.regions import REGIONS, Regions, group, regions

HELD = 300
ALIAS = "  alias: champion\n  on-alias: promote\n"


@pytest.fixture
def three(tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[Regions]:
    with regions(tmp_path, mlflow_server, group()) as one:
        yield one


def test_each_wave_is_live_before_the_next_one_begins(three: Regions) -> None:
    outcome = three.promote("2")
    assert (outcome.exit_code, outcome.detail) == (ExitCode.DONE, "version 2 is live in every wave")
    assert [(one.environment, one.wave, one.exit_code) for one in outcome.environments] == [
        ("eu", 1, 0),
        ("us", 2, 0),
        ("ap", 3, 0),
    ]
    subjects = three.it.remote.log()
    assert [subject.split(" (")[0].rpartition(" ")[2] for subject in reversed(subjects[:-1])] == list(REGIONS)
    assert three.trailers("Promotion-Id") == {outcome.promotion}
    assert three.live() == ["2", "2", "2"]
    assert three.stage is Stage.DONE
    tip = three.it.remote.tip()
    assert three.promote("2").exit_code is ExitCode.DONE
    assert {one.action for one in three.reconcile().values()} == {Action.AGREES}
    assert three.it.remote.tip() == tip


def test_the_first_failure_stops_and_what_moved_is_held(three: Regions) -> None:
    three.it.behaviours["us 2"] = FAILS
    outcome = three.promote("2")
    assert outcome.exit_code is ExitCode.RESTORED
    assert "us: version 2 is aborted" in outcome.detail
    assert outcome.detail.endswith("version 2 stays in eu")
    assert three.live() == ["2", "1", "1"]
    assert three.states == [State.PROMOTED, State.FAILED, None]
    tip = three.it.remote.tip()
    assert {one.action for one in three.reconcile().values()} == {Action.AGREES}
    assert three.it.remote.tip() == tip
    assert three.trailers("Promotion-Id") == {outcome.promotion}


def test_the_first_failure_takes_back_what_moved(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    with regions(tmp_path, mlflow_server, group(policy="revert")) as three:
        three.it.behaviours["ap 2"] = FAILS
        outcome = three.promote("2")
        assert outcome.exit_code is ExitCode.RESTORED
        assert outcome.detail.endswith("reverted: us, eu")
        assert three.live() == ["1", "1", "1"]
        assert three.states == [State.REVERTED, State.REVERTED, State.FAILED]
        assert [subject.partition(" back")[0][-2:] for subject in three.it.remote.log()[:2]] == ["eu", "us"]
        assert "failed in another environment of production" in three.it.remote.message()
        assert three.trailers("Promotion-Id") == {outcome.promotion}
        tip = three.it.remote.tip()
        assert {one.action for one in three.reconcile().values()} == {Action.AGREES}
        assert three.it.remote.tip() == tip
        assert three.promote("3").exit_code is ExitCode.DONE
        assert three.live() == ["3", "3", "3"]


# -- killed, and finished from Git ------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here: nothing that handles errors sees it."""


def killed_after(pushes: int, patch: pytest.MonkeyPatch) -> None:
    """The process ends with its n-th push to the remote, which arrives."""
    left, run = [pushes], Git.run

    def counting(git: Git, command: str, *arguments: Any, **options: Any) -> Any:
        result = run(git, command, *arguments, **options)
        if command == "push":
            left[0] -= 1
            if not left[0]:
                raise Killed
        return result

    patch.setattr(Git, "run", counting)


@pytest.mark.parametrize("pushes", few([1, 2, 3], "2"))
def test_a_run_that_is_killed_is_finished_by_reconcile(three: Regions, pushes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        killed_after(pushes, patch)
        with pytest.raises(Killed):
            three.promote("2")
    assert three.versions == ["2"] * pushes + ["1"] * (3 - pushes)
    three.it.settle()
    (begun,) = three.trailers("Promotion-Id")
    done = three.reconcile()
    assert three.live() == ["2", "2", "2"]
    assert {one.exit_code for one in done.values()} == {ExitCode.DONE}
    assert (three.trailers("Promotion-Id"), three.stage) == ({begun}, Stage.DONE)


@pytest.mark.parametrize("pushes", few([3, 4, 5], "4"))
def test_going_back_that_is_killed_is_finished_by_reconcile(
    tmp_path: Path, mlflow_server: MlflowServer, pushes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third push brings a release that fails, the fourth restores it, and the fifth takes back what moved before."""
    with regions(tmp_path, mlflow_server, group(policy="revert")) as three:
        three.it.behaviours["ap 2"] = FAILS
        with monkeypatch.context() as patch:
            killed_after(pushes, patch)
            with pytest.raises(Killed):
                three.promote("2")
        three.it.settle()
        three.reconcile()
        assert three.live() == ["1", "1", "1"]
        assert three.states == [State.REVERTED, State.REVERTED, State.FAILED]
        assert three.stage is Stage.FAILED


def test_a_wave_is_held_across_runs(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    """Reconcile does not wait itself: it reports until when, and goes on after that."""
    with regions(tmp_path, mlflow_server, group({"eu": HELD})) as three:
        outcome = three.promote("2", holds=False)
        assert (outcome.exit_code, outcome.waiting) == (ExitCode.DONE, True)
        assert "wave 1 is live, and held until" in outcome.detail
        three.it.settle()
        done = three.reconcile()["eu"]
        assert (done.action, done.until is not None) == (Action.ON_ITS_WAY, True)
        assert three.versions == ["2", "1", "1"]
        three.it.clock.wait(HELD, threading.Event())
        assert three.reconcile()["eu"].action is Action.PROMOTED
        assert three.live() == ["2", "2", "2"]


# -- held, and superseded ---------------------------------------------------------------------------------------------


def test_a_release_that_goes_bad_while_it_is_held_stops_the_waves(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    with regions(tmp_path, mlflow_server, group({"eu": HELD}, policy="revert")) as three:
        held: list[str] = []

        def goes_bad(text: str) -> None:
            held.append(text)
            three.it.behaviours["eu 2"] = STUCK

        waves = three.waves()
        waves.group.say = goes_bad
        outcome = waves.promote(resolved(waves.group, ModelReference(three.it.model, version="2")))
        assert held == ["wave 1 of production is live, and held for 5 min"]
        assert outcome.exit_code is ExitCode.RESTORED
        assert "was live and is not any more" in outcome.detail
        assert outcome.detail.endswith("reverted: eu")
        assert three.versions == ["1", "1", "1"]
        assert three.states == [State.REVERTED, None, None]


def test_a_newer_promotion_supersedes_between_waves(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    with regions(tmp_path, mlflow_server, group({"eu": HELD})) as three:
        newer: list[GroupOutcome] = []
        waves = three.waves()

        def second(text: str) -> None:
            if "held" in text and not newer:
                newer.append(three.promote("3"))

        waves.group.say = second
        older = waves.promote(resolved(waves.group, ModelReference(three.it.model, version="2")))
        assert (older.exit_code, newer[0].exit_code) == (ExitCode.SUPERSEDED, ExitCode.DONE)
        assert "the promotion of version 3 has begun; version 2 goes no further" in older.detail
        assert three.live() == ["3", "3", "3"]
        versions = [one.split("version ")[1][0] for one in three.it.remote.log() if "version" in one]
        assert versions == ["3", "3", "3", "2"]
        assert {one.action for one in three.reconcile().values()} == {Action.AGREES}


def test_inside_a_wave_a_newer_promotion_waits(three: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        killed_after(1, patch)
        with pytest.raises(Killed):
            three.promote("2")
    three.it.settle(4)
    outcome = three.promote("3")
    assert three.said[0] == "waits for the wave that is under way: eu"
    assert outcome.exit_code is ExitCode.DONE
    assert three.live() == ["3", "3", "3"]


# -- an alias ---------------------------------------------------------------------------------------------------------


def test_an_alias_that_moves_is_promoted_in_waves(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    with regions(tmp_path, mlflow_server, group(), ALIAS) as three:
        mlflow_server.set_alias(three.it.model, "champion", "2")
        three.it.behaviours["us 2"] = FAILS
        done = three.reconcile()
        assert (done["eu"].action, done["eu"].exit_code) == (Action.RESTORED, ExitCode.RESTORED)
        assert done["us"].detail == "champion is version 2, which comes in waves of production"
        assert three.live() == ["2", "1", "1"]
        tip = three.it.remote.tip()
        assert three.reconcile()["eu"].action is Action.AGREES
        assert three.it.remote.tip() == tip
        mlflow_server.set_alias(three.it.model, "champion", "3")
        assert three.reconcile()["eu"].action is Action.PROMOTED
        assert three.live() == ["3", "3", "3"]


def test_one_environment_alone_is_no_more_of_the_group_promotion(three: Regions) -> None:
    three.it.behaviours["us 2"] = FAILS
    three.promote("2")
    us = three.it.clients.environment("us")
    repository = three.it.clients.repository(us.application)
    eu = three.it.clients.environment("eu")
    rollback(repository, plan_rollback(repository, eu, None))
    three.it.settle()
    assert three.states == [State.LEFT, State.FAILED, None]
    assert three.live() == ["1", "1", "1"]
    tip = three.it.remote.tip()
    three.reconcile()
    assert three.it.remote.tip() == tip


# -- pull requests ----------------------------------------------------------------------------------------------------


def test_each_wave_waits_for_its_pull_requests(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    """With a squash, which drops trailers: the file decides. The next wave is proposed by reconcile, after the merge."""
    reviewed = "  write: pull-request\n"
    with (
        regions(tmp_path, mlflow_server, group(), reviewed) as three,
        forge_server(ForgeRepository(Path(three.it.remote.url))) as server,
    ):
        file = tmp_path / "promoter.yaml"
        edit(file, more=settings(server, ForgeKind.GITHUB))
        clients = three.it.clients
        three.it.clients = type(clients)(config.load(file), {**clients.environ, **variables(server)})
        outcome = three.promote("2")
        assert (outcome.exit_code, outcome.waiting) == (ExitCode.DONE, True)
        assert outcome.detail == "wave 1 waits for a merge: eu"
        for number, region in enumerate(REGIONS, 1):
            assert [one.state for one in server.pulls] == [*["merged"] * (number - 1), "open"]
            assert f"promoter/{region}/" in server.pulls[-1].branch
            server.repository.merge(server.repository.pull(number), "squash")
            three.it.clock.wait(1, threading.Event())  # the sandbox asks Git once a moment
            three.it.settle(60)
            done = three.reconcile()["eu"]
            assert done.action is (Action.PROPOSED if number < 3 else Action.AGREES), done.detail
        assert three.live() == ["2", "2", "2"]
        assert [one.part.promotion for one in three.waves().group.read()[0].members if one.part] == [outcome.promotion] * 3
