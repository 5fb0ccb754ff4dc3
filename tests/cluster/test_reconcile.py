"""reconcile never stands still: a newer version of the alias is the fix, whatever is wrong with the present one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.cluster import eventually
from tests.cluster.command import Run
from tests.cluster.environment import Environment
from tests.cluster.manifests import NAME
from tests.cluster.model_versions import CRASHING, GOOD, MODEL, NEWER, STABLE, UNHEALTHY
from tests.support.mlflow_server import MlflowServer
from tests.support.receivers import free_port

_LEFT_OVER = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: left-over\ndata: {}\n"

SetAlias = Callable[[str], None]


@pytest.fixture
def set_alias(environment: Environment, mlflow_versions: MlflowServer) -> SetAlias:
    """Sets the alias that the environment follows by itself."""
    environment.promoter.configure({"alias": "champion", "on-alias": "promote"})
    mlflow_versions.set_alias(MODEL, "champion", STABLE)
    return lambda version: mlflow_versions.set_alias(MODEL, "champion", version)


def assert_promoted(environment: Environment, run: Run, version: str) -> None:
    (done,) = run.outcome["environments"]
    assert (run.exit_code, done["action"]) == (0, "promoted"), str(run)
    assert f"Model-Version: {version}" in environment.repository.message(done["commit"])
    assert environment.serves(environment.overlay_digest())


def test_an_object_that_stays_out_of_sync(environment: Environment, set_alias: SetAlias) -> None:
    environment.patch_application({"spec": {"syncPolicy": {"automated": {"prune": False}}}})
    environment.add_to_overlay("Add an object", "- left-over.yaml\n", after="- release.yaml\n", **{"left-over": _LEFT_OVER})
    environment.refresh()
    eventually("it is applied", lambda: environment.cluster.get("configmap", "left-over", environment.name) is not None)
    environment.take_from_overlay("Take it out again", "- left-over.yaml\n", "left-over")
    environment.refresh()
    assert environment.reconcile().exit_code == 0
    set_alias(GOOD)
    assert_promoted(environment, environment.reconcile(), GOOD)


@pytest.mark.unreleased
def test_a_first_release_that_crashed(environment: Environment, set_alias: SetAlias) -> None:
    commit = environment.commit(CRASHING, ARGOCD_SERVER="")  # or it would ask for an Application that is not there yet
    environment.bootstrap()
    run = environment.watch(commit)
    assert (run.exit_code, run.verdict) == (11, ("failed", "progress deadline")), str(run)
    set_alias(GOOD)
    assert_promoted(environment, environment.reconcile(), GOOD)


def test_a_failed_release_that_nobody_restores(environment: Environment, set_alias: SetAlias) -> None:
    environment.promoter.configure({"on-failure": "hold"})
    run = environment.promote(UNHEALTHY)
    assert (run.exit_code, run.verdict) == (11, ("aborted", "analysis failed")), str(run)
    set_alias(GOOD)
    assert_promoted(environment, environment.reconcile(), GOOD)


def test_a_canary_that_is_under_way_is_waited_for(environment: Environment, set_alias: SetAlias) -> None:
    run = environment.promoting(GOOD)
    run.until("rolling")
    tip = environment.repository.tip()
    set_alias(NEWER)
    waited = environment.reconcile()
    (done,) = waited.outcome["environments"]
    assert (waited.exit_code, done["action"]) == (0, "on its way"), str(waited)
    assert environment.repository.tip() == tip
    environment.assert_live(run.finish())
    assert_promoted(environment, environment.reconcile(), NEWER)


def test_a_quarantined_alias_agrees(environment: Environment, set_alias: SetAlias) -> None:
    failed = environment.promote(UNHEALTHY)
    assert failed.exit_code == 10, str(failed)
    set_alias(UNHEALTHY)
    refused = environment.reconcile()
    assert environment.repository.tip() == failed.outcome["restored"], str(refused)
    assert environment.agreement() == (0, True)


def test_a_frozen_environment_is_left_alone_until_it_is_thawed(environment: Environment, set_alias: SetAlias) -> None:
    """By promote, reconcile and a receiver; then the receiver goes on by itself."""
    code, _ = environment.promoter.ask("freeze", NAME, "--reason", "the shop is full")
    assert code == 0
    frozen = environment.repository.tip()
    set_alias(GOOD)
    options = ("--insecure", "--port", str(free_port()), "--interval", "5")
    receiver = environment.promoter.start("webhook", "serve", *options)
    eventually("the receiver leaves it", lambda: _reconciled(receiver, "left alone"))
    left = environment.reconcile()
    (done,) = left.outcome["environments"]
    assert (left.exit_code, done["action"], "is frozen until it is thawed" in done["detail"]) == (0, "left alone", True), str(
        left
    )
    refused = environment.promote(GOOD)
    assert refused.exit_code == 20, str(refused)
    assert environment.repository.tip() == frozen
    assert environment.agreement() == (0, True)

    code, _ = environment.promoter.ask("thaw", NAME)
    assert code == 0
    eventually("the receiver goes on by itself", lambda: _reconciled(receiver, "promoted"), 300)
    assert environment.serves(environment.overlay_digest())
    assert f"Model-Version: {GOOD}" in environment.repository.message(environment.repository.tip())
    receiver.kill()


def _reconciled(run: Run, action: str) -> bool:
    assert run.process.poll() is None, str(run)
    return any((event["event"], event.get("action")) == ("reconciled", action) for event in list(run.events))
