"""Reconciling alias, Git and cluster: what was left undone is done, once, whatever ran or broke before."""

from __future__ import annotations

import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from promoter import cli
from promoter.commands.reconcile import Action, Reconciled, Reconciler, exit_code
from promoter.commands.rollback import plan_rollback, rollback
from promoter.errors import AuthError, ExitCode, UnreachableError
from promoter.promotion.clients import Clients
from promoter.promotion.ending import Ending
from promoter.promotion.steps import silent
from promoter.promotion.survey import Survey
from promoter.verdict import Kind, Reason, Verdict
from promoter.webhook.work import DISPATCHED_AGAIN, Dispatcher
from tests.support.argo_world import FAILS, MISSING, STUCK, TIMING, World, before_it_was_registered, overlay, world
from tests.support.faults import DOWN, UNAUTHENTICATED, always, changed, refresh_dropped
from tests.support.mlflow_server import MlflowServer


def reconcile(it: World, *names: str) -> tuple[Reconciled, ...]:
    environments = [env for env in it.clients.config.environments if not names or env.name in names]
    return Reconciler(it.clients, silent, timing=TIMING, clock=it.clock).run(environments)


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


@pytest.fixture
def registered(tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[tuple[World, MlflowServer]]:
    with following(tmp_path, mlflow_server) as one:
        yield one, mlflow_server


@contextmanager
def following(tmp_path: Path, mlflow_server: MlflowServer, lines: str = "") -> Iterator[World]:
    """Version 1 is live; versions 1 to 3 are registered, and champion is 1. `lines` are more keys of the environment."""
    name = f"detector-{uuid.uuid4().hex[:8]}"
    source = f"models:/{mlflow_server.log_model()}"
    for _ in range(3):
        mlflow_server.register(name, source)
    mlflow_server.set_alias(name, "champion", "1")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, lines=f"  alias: champion\n  on-alias: promote\n{lines}") as one:
        yield one


class KilledError(Exception):
    """What a test ends a promoter with."""


def kill_when_aborted(verdict: Verdict) -> None:
    if verdict.kind is Kind.ABORTED:
        raise KilledError


# -- after an abort ---------------------------------------------------------------------------------------------------


def test_a_promoter_killed_between_abort_and_restore_is_made_good(it: World) -> None:
    it.behaviours["2"] = FAILS
    bad = it.promote(2)
    with pytest.raises(KilledError):
        it.follower(tell=kill_when_aborted).follow(bad)
    assert it.remote.tip() == bad.commit.sha
    (done,) = reconcile(it)
    assert (done.action, done.exit_code, done.commit) == (Action.RESTORED, ExitCode.RESTORED, it.remote.tip())
    assert it.remote.show("overlays/staging/release.yaml") == overlay(1)["overlays/staging/release.yaml"]
    it.argocd.asked.clear()
    (again,) = reconcile(it)
    assert (again.action, again.exit_code) == (Action.AGREES, ExitCode.DONE)
    assert it.argocd.count("list") == len(it.argocd.asked) == 1
    assert len(it.remote.log()) == 3


def test_what_is_on_its_way_is_left_to_it(it: World) -> None:
    bad = it.promote(2)
    it.settle(4)
    (done,) = reconcile(it)
    assert (done.action, done.exit_code) == (Action.ON_ITS_WAY, ExitCode.DONE)
    assert it.remote.tip() == bad.commit.sha


def test_a_release_that_argo_cd_does_not_look_at_is_not_in_agreement(it: World) -> None:
    """Its list shows the release before as Synced and Healthy, and does so for ever if it is annotated not to reconcile."""
    it.promote(2)
    with it.argocd.fault(refresh_dropped):
        (done,) = reconcile(it)
    assert (done.action, done.exit_code) == (Action.ON_ITS_WAY, ExitCode.DONE)
    assert "Argo CD has not looked at" in done.detail
    assert "(committed " in done.detail


def test_alongside_a_running_promote_nothing_happens_twice(it: World) -> None:
    it.behaviours["2"] = FAILS
    bad = it.promote(2)
    endings: list[Ending] = []
    promoting = threading.Thread(target=lambda: endings.append(it.follow(bad)))
    promoting.start()
    while promoting.is_alive():
        reconcile(it)
    promoting.join()
    assert endings[0].exit_code is ExitCode.RESTORED
    assert [subject.split()[0] for subject in it.remote.log()] == ["Restore", "Promote", "Begin"]


def test_on_failure_hold_is_left_alone_and_reported(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, lines="  on-failure: hold\n") as it:
        it.behaviours["2"] = FAILS
        bad = it.promote(2)
        it.settle()
        (done,) = reconcile(it)
        assert (done.action, done.exit_code) == (Action.LEFT, ExitCode.NOT_RESTORED)
        assert it.remote.tip() == bad.commit.sha


# -- many -------------------------------------------------------------------------------------------------------------


def test_five_hundred_applications_cost_one_list_and_the_details_of_the_one_that_differs(tmp_path: Path) -> None:
    names, hold = tuple(f"env-{number}" for number in range(500)), "  on-failure: hold\n"
    with world(tmp_path, os.environ, environments=names, lines=hold, step=0.5, by_name=True) as it:
        it.behaviours["2"] = MISSING
        it.remote.commit(overlay(2, "env-7"))
        it.sandbox.world.refresh("fraud-detector-env-7")
        it.clock.wait(3, threading.Event())
        done = reconcile(it)
        assert Counter(one.action for one in done) == {Action.AGREES: 499, Action.LEFT: 1}
        assert (done[7].exit_code, exit_code(done)) == (ExitCode.NOT_RESTORED, ExitCode.NOT_RESTORED)
        detailed = [one for one in it.argocd.asked if one.call not in ("list", "stream")]
        assert it.argocd.count("list") == 1
        assert {one.path.split("/")[4] for one in detailed} == {"fraud-detector-env-7"}
        assert len(detailed) < 40


def test_one_broken_environment_does_not_stop_the_others(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, environments=("staging", "broken", "production")) as it:
        it.behaviours["2"] = FAILS
        it.promote(2, "production")
        it.remote.commit({"overlays/broken/release.yaml": "- not a ConfigMap\n"})
        it.settle()
        staging, broken, production = reconcile(it)
        assert (staging.action, broken.action, production.action) == (Action.AGREES, Action.FAILED, Action.RESTORED)
        assert broken.exit_code is ExitCode.USAGE
        assert "overlays/broken/release.yaml" in broken.detail
        assert exit_code((staging, broken, production)) is ExitCode.USAGE


@pytest.mark.parametrize(("answer", "error"), [(DOWN, UnreachableError), (UNAUTHENTICATED, AuthError)])
def test_without_argo_cd_nothing_is_tried_environment_by_environment(it: World, answer: object, error: type[Exception]) -> None:
    with it.argocd.fault(always(answer)), pytest.raises(error):  # type: ignore[arg-type]
        reconcile(it)
    assert len(it.argocd.asked) == 1


def test_the_worst_decides_the_exit_code() -> None:
    def ended(*codes: ExitCode) -> ExitCode:
        return exit_code([Reconciled("staging", "m", Action.LEFT, "", code) for code in codes])

    assert ended() is ExitCode.DONE
    assert ended(ExitCode.REFUSED, ExitCode.SUPERSEDED) is ExitCode.DONE
    assert ended(ExitCode.DONE, ExitCode.RESTORED) is ExitCode.RESTORED
    assert ended(ExitCode.RESTORED, ExitCode.NEEDS_PERSON, ExitCode.REFUSED) is ExitCode.NEEDS_PERSON
    assert ended(ExitCode.NEEDS_PERSON, ExitCode.NOT_RESTORED) is ExitCode.NOT_RESTORED


# -- an alias that moved ----------------------------------------------------------------------------------------------


def test_an_alias_that_moved_is_promoted_and_then_agrees(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    assert reconcile(it)[0].action is Action.AGREES
    server.set_alias(it.model, "champion", "2")
    (done,) = reconcile(it)
    assert (done.action, done.exit_code) == (Action.PROMOTED, ExitCode.DONE)
    assert it.committed().release.version == "2"
    assert reconcile(it)[0].action is Action.AGREES
    assert len(it.remote.log()) == 2


def test_a_model_registered_again_under_its_name_is_not_taken_for_the_old_one(registered: tuple[World, MlflowServer]) -> None:
    it, _ = registered
    it.remote.commit(before_it_was_registered(model=it.model))
    dispatch = Dispatcher(Pipeline(), clock=lambda: 0.0)
    done = without_argocd(it, dispatch)
    assert (done.action, done.detail) == (Action.DISPATCHED, "champion is version 1: elsewhere")


def test_a_version_that_failed_its_analysis_is_not_promoted_again(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    it.behaviours["2"] = FAILS
    server.set_alias(it.model, "champion", "2")
    assert reconcile(it)[0].action is Action.RESTORED
    tip = it.remote.tip()
    found = server.api("GET", "model-versions/get", name=it.model, version="2")["model_version"]["tags"]
    told = {tag["key"]: tag["value"] for tag in found}
    assert (told["promoter.quarantined.staging"], told["promoter.staging.status"]) == (tip, "aborted")
    (again,) = reconcile(it)
    assert (again.action, exit_code([again])) == (Action.LEFT, ExitCode.DONE)
    assert "is quarantined" in again.detail
    assert it.remote.tip() == tip
    server.set_alias(it.model, "champion", "3")
    assert reconcile(it)[0].action is Action.PROMOTED


@pytest.mark.parametrize("moved_on", [False, True])
def test_the_alias_is_moved_back_if_it_still_names_the_bad_version(
    tmp_path: Path, mlflow_server: MlflowServer, moved_on: bool
) -> None:
    with following(tmp_path, mlflow_server, "  on-failure-alias: move-back\n") as it:
        it.behaviours["3"] = FAILS
        mlflow_server.set_alias(it.model, "champion", "2")
        assert reconcile(it)[0].action is Action.PROMOTED
        mlflow_server.set_alias(it.model, "champion", "3")
        if moved_on:
            it.clock.after(5, lambda: mlflow_server.set_alias(it.model, "champion", "1"))
        assert reconcile(it)[0].action is Action.RESTORED
        assert it.clients.model_registry.version_of(it.model, "champion") == ("1" if moved_on else "2")


def test_what_is_not_the_models_fault_is_tried_three_times(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    it.behaviours["2"] = MISSING
    server.set_alias(it.model, "champion", "2")
    actions = [reconcile(it)[0] for _ in range(4)]
    assert [one.action for one in actions] == [Action.RESTORED] * 3 + [Action.LEFT]
    assert "failed 3 times" in actions[-1].detail
    assert it.committed().commit.trailers["Rollout-Abort"] == Reason.IMAGE


def test_what_a_person_rolled_back_is_not_brought_again(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    server.set_alias(it.model, "champion", "2")
    reconcile(it)
    repository = it.clients.repository(it.environment.application)
    rollback(repository, plan_rollback(repository, it.environment, None))
    it.settle()
    (done,) = reconcile(it)
    assert (done.action, exit_code([done])) == (Action.LEFT, ExitCode.DONE)
    assert "back from version 2" in done.detail
    server.set_alias(it.model, "champion", "3")
    assert reconcile(it)[0].action is Action.PROMOTED


def out_of_sync(application: dict[str, Any]) -> None:
    """One more object of the Application, which Argo CD never syncs."""
    application["status"]["sync"]["status"] = "OutOfSync"
    other = {"kind": "ConfigMap", "namespace": "staging", "name": "left-over", "version": "v1", "status": "OutOfSync"}
    application["status"].setdefault("resources", []).append(other)


def test_what_else_is_out_of_sync_keeps_no_alias_from_being_promoted(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    it.settle()
    server.set_alias(it.model, "champion", "2")
    with it.argocd.fault(changed(out_of_sync)):
        (done,) = reconcile(it)
    assert (done.action, done.exit_code, done.detail) == (Action.PROMOTED, ExitCode.DONE, "version 2 is live")


def test_the_fix_of_a_release_that_is_held_is_promoted(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    for _ in range(3):
        mlflow_server.register(name, f"models:/{mlflow_server.log_model()}")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    lines = "  alias: champion\n  on-alias: promote\n  on-failure: hold\n"
    with world(tmp_path, environ, model=name, lines=lines) as it:
        it.behaviours["2"] = FAILS
        it.promote(2)
        it.settle()
        mlflow_server.set_alias(name, "champion", "2")
        assert reconcile(it)[0].action is Action.LEFT, "the alias means the version that failed"
        mlflow_server.set_alias(name, "champion", "3")
        (done,) = reconcile(it)
        assert (done.action, done.detail) == (Action.PROMOTED, "version 3 is live")


def test_a_release_on_its_way_is_not_on_its_way_for_ever(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
    it.behaviours["2"] = STUCK
    it.promote(2)
    it.settle(4)
    (done,) = reconcile(it)
    assert (done.action, done.exit_code) == (Action.LEFT, ExitCode.TIMED_OUT)
    assert "(committed " in done.detail


def test_the_version_that_was_judged_is_promoted(registered: tuple[World, MlflowServer]) -> None:
    """The alias moves on after the survey: the newer version has not passed the gates of this run, so the next run promotes it."""
    it, server = registered
    environments = it.clients.config.environments
    server.set_alias(it.model, "champion", "2")
    survey = Survey(it.clients)
    assert survey.differing(environments) == environments
    server.set_alias(it.model, "champion", "3")
    (done,) = Reconciler(it.clients, silent, timing=TIMING, clock=it.clock, survey=survey).run(environments)
    assert (done.action, done.detail) == (Action.PROMOTED, "version 2 is live")
    (next_run,) = reconcile(it)
    assert next_run.detail == "version 3 is live"


def test_on_alias_ignore_only_reports_it(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    mlflow_server.register(name, f"models:/{mlflow_server.log_model()}", alias="champion")
    mlflow_server.register(name, f"models:/{mlflow_server.log_model()}", alias="champion")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, lines="  alias: champion\n") as it:
        (done,) = reconcile(it)
        assert (done.action, done.exit_code) == (Action.LEFT, ExitCode.DONE)
        assert done.detail == "champion is version 2; on-alias: ignore"
        assert it.remote.log() == ["Begin"]


# -- where somebody else does it ---------------------------------------------------------------------------------------


class Pipeline:
    """Remembers what it was to run."""

    where = "elsewhere"

    def __init__(self) -> None:
        self.dispatched: list[tuple[str, str]] = []

    def dispatch(self, model: str, environment: str) -> None:
        self.dispatched.append((model, environment))


def without_argocd(it: World, dispatch: Dispatcher) -> Reconciled:
    """As a receiver that knows MLflow and Git alone."""
    environ = {key: value for key, value in it.clients.environ.items() if not key.startswith("ARGOCD_")}
    clients = Clients(it.clients.config, environ)
    assert Survey(clients, with_argocd=False).differing(clients.config.environments) == clients.config.environments
    (done,) = Reconciler(clients, silent, dispatch=dispatch).run(clients.config.environments)
    return done


def test_an_alias_that_moved_is_dispatched_once(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    now, pipeline = [0.0], Pipeline()
    dispatch = Dispatcher(pipeline, clock=lambda: now[0])
    assert Survey(it.clients).differing(it.clients.config.environments) == ()
    server.set_alias(it.model, "champion", "2")
    done = without_argocd(it, dispatch)
    assert (done.action, done.detail) == (Action.DISPATCHED, "champion is version 2: elsewhere")
    assert without_argocd(it, dispatch).action is Action.ON_ITS_WAY
    server.set_alias(it.model, "champion", "3")
    assert without_argocd(it, dispatch).action is Action.DISPATCHED
    now[0] += DISPATCHED_AGAIN
    assert without_argocd(it, dispatch).action is Action.DISPATCHED
    assert pipeline.dispatched == [(it.model, "staging")] * 3
    assert it.remote.log() == ["Begin"]


def test_an_abort_that_nobody_watched_is_dispatched_and_a_quarantined_version_is_not(
    registered: tuple[World, MlflowServer],
) -> None:
    it, server = registered
    it.behaviours["2"] = FAILS
    server.set_alias(it.model, "champion", "2")
    bad = it.promote(2)
    it.settle()
    pipeline = Pipeline()
    reconciler = Reconciler(it.clients, silent, dispatch=Dispatcher(pipeline))
    (done,) = reconciler.run(it.clients.config.environments)
    assert (done.action, done.detail) == (Action.DISPATCHED, f"aborted at {bad.commit.sha}: elsewhere")
    assert it.remote.tip() == bad.commit.sha
    assert reconcile(it)[0].action is Action.RESTORED
    left = without_argocd(it, Dispatcher(pipeline))
    assert left.action is Action.LEFT
    assert "is quarantined" in left.detail
    assert len(pipeline.dispatched) == 1


# -- Applications without a manifest ----------------------------------------------------------------------------------


def test_an_application_of_an_application_set_is_placed_by_the_list(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, environments=("staging", "production"), by_name=True) as it:
        it.behaviours["2"] = FAILS
        assert [one.action for one in reconcile(it)] == [Action.AGREES, Action.AGREES]
        assert it.argocd.count("list") == len(it.argocd.asked) == 1
        it.promote(2, "production")
        it.settle()
        assert [one.action for one in reconcile(it)] == [Action.AGREES, Action.RESTORED]


# -- the command ------------------------------------------------------------------------------------------------------


def test_reconcile_on_the_command_line(it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ARGOCD_SERVER", "ARGOCD_AUTH_TOKEN"):
        monkeypatch.setenv(name, it.clients.environ[name])
    monkeypatch.setattr("sys.argv", ["promoter", "reconcile", "-c", str(it.folder / "promoter.yaml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == "staging fraud-detector  agrees: version 1\n"
