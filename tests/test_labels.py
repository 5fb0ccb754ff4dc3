"""What a real MLflow shows of releases: tags and an alias after proof, through abort, restore and rollback, repaired from Git."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.commands.reconcile import Action, Reconciler
from promoter.commands.rollback import plan_rollback, rollback
from promoter.errors import ExitCode
from promoter.models import Labelling
from promoter.promotion.labels import Labels, alias, standings
from promoter.promotion.steps import silent
from tests.support.argo_world import FAILS, TIMING, World, WorldClients, world
from tests.support.histories import ENVIRONMENT
from tests.support.listener import listening
from tests.support.mlflow_server import MlflowServer


@pytest.fixture
def registered(tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[tuple[World, MlflowServer]]:
    """Version 1 is live, and versions 1 to 3 are registered."""
    name = f"detector-{uuid.uuid4().hex[:8]}"
    source = f"models:/{mlflow_server.log_model()}"
    for _ in range(3):
        mlflow_server.register(name, source)
    with world(tmp_path, {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}, model=name) as one:
        yield one, mlflow_server


def tags(it: World, server: MlflowServer, version: str) -> dict[str, str]:
    """Those of the environment, by the last part of their names."""
    found = server.api("GET", "model-versions/get", name=it.model, version=version)["model_version"].get("tags", [])
    prefix = "promoter.staging."
    return {tag["key"].removeprefix(prefix): tag["value"] for tag in found if tag["key"].startswith(prefix)}


def aliases(it: World, server: MlflowServer) -> dict[str, str]:
    found = server.api("GET", "registered-models/get", name=it.model)["registered_model"].get("aliases", [])
    return {one["alias"]: str(one["version"]) for one in found}


def deleted(it: World, server: MlflowServer) -> None:
    """Everything that promoter wrote."""
    for version in ("1", "2", "3"):
        for key in tags(it, server, version):
            server.api("DELETE", "model-versions/delete-tag", name=it.model, version=version, key=f"promoter.staging.{key}")
    for name in aliases(it, server):
        server.api("DELETE", "registered-models/alias", name=it.model, alias=name)


@contextmanager
def told_of(mlflow: str, folder: Path) -> Iterator[World]:
    with world(folder, {**os.environ, "MLFLOW_TRACKING_URI": mlflow}) as one:
        yield one


def with_labels(it: World, labels: Labelling) -> None:
    it.clients = WorldClients(replace(it.clients.config, labels=labels), it.clients.environ)


def test_through_promotion_abort_and_rollback_mlflow_shows_what_git_has(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    live = it.promote(2)
    assert it.follow(live).exit_code is ExitCode.DONE
    assert aliases(it, server) == {"live-staging": "2"}
    told = tags(it, server, "2")
    assert (told["status"], told["commit"], told["image"]) == ("live", live.commit.sha, live.release.image)
    assert told["since"] == f"{live.commit.when:%Y-%m-%dT%H:%M:%SZ}"
    assert tags(it, server, "1")["status"] == "replaced"

    it.behaviours["3"] = FAILS
    assert it.follow(it.promote(3)).exit_code is ExitCode.RESTORED
    assert aliases(it, server) == {"live-staging": "2"}
    assert (tags(it, server, "2")["status"], tags(it, server, "2")["commit"]) == ("live", it.remote.tip())
    aborted = tags(it, server, "3")
    assert aborted["status"] == "aborted"
    assert re.fullmatch(r"analysis failed: metric success-rate Failed, measured 0\.4.*", aborted["reason"])

    repository = it.clients.repository(it.environment.application)
    back = rollback(repository, plan_rollback(repository, it.environment, "1"))
    assert it.follower().follow(back, restoring=False).exit_code is ExitCode.DONE
    assert aliases(it, server) == {"live-staging": "1"}
    assert [tags(it, server, version)["status"] for version in ("1", "2", "3")] == ["live", "rolled-back", "aborted"]


def test_what_is_gone_in_mlflow_comes_back_from_git(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    it.follow(it.promote(2))
    before = [tags(it, server, version) for version in ("1", "2")]
    assert set(before[1]) >= {"status", "since", "commit", "image"}
    deleted(it, server)
    assert (tags(it, server, "2"), aliases(it, server)) == ({}, {})
    reconciler = Reconciler(it.clients, silent, timing=TIMING, clock=it.clock)
    assert [done.action for done in reconciler.run(it.clients.config.environments)] == [Action.AGREES]
    assert ([tags(it, server, version) for version in ("1", "2")], aliases(it, server)) == (before, {"live-staging": "2"})
    it.argocd.asked.clear()
    reconciler.run(it.clients.config.environments)
    assert len(it.argocd.asked) == it.argocd.count("list") == 1, "nothing is looked at when nothing is missing"


def test_nothing_is_live_before_it_is_proven(registered: tuple[World, MlflowServer]) -> None:
    it, server = registered
    it.promote(2)
    it.settle(4)
    Reconciler(it.clients, silent, timing=TIMING, clock=it.clock).run(it.clients.config.environments)
    assert (tags(it, server, "2"), aliases(it, server)) == ({}, {})
    labels = Labels(it.clients, it.environment)
    repository = it.clients.repository(it.environment.application)
    labels.show(repository, standings(repository, it.environment)[1].release)
    assert (tags(it, server, "2"), tags(it, server, "1")["status"]) == ({}, "replaced")


@pytest.mark.parametrize("labels", Labelling)
def test_what_is_written_is_chosen(registered: tuple[World, MlflowServer], labels: Labelling) -> None:
    it, server = registered
    with_labels(it, labels)
    assert it.follow(it.promote(2)).exit_code is ExitCode.DONE
    assert bool(tags(it, server, "2")) is (labels in (Labelling.TAGS, Labelling.BOTH))
    assert bool(aliases(it, server)) is (labels in (Labelling.ALIASES, Labelling.BOTH))


def test_an_mlflow_that_refuses_is_said_once_and_fails_nothing(tmp_path: Path) -> None:
    body = b'{"error_code": "PERMISSION_DENIED", "message": "not you"}'
    head = f"HTTP/1.1 403 x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with listening(answer=head.encode() + body) as mlflow, told_of(mlflow.url, tmp_path) as it:
        ending = it.follow(it.promote(2))
    assert (ending.exit_code, ending.note) == (ExitCode.DONE, "")
    said = [text for text in it.said if "MLflow does not show how versions stand in 'staging'" in text]
    assert (len(said), "not you" in said[0]) == (1, True)


def test_without_an_mlflow_nothing_is_said(tmp_path: Path) -> None:
    with world(tmp_path, os.environ) as it:
        assert it.follow(it.promote(2)).exit_code is ExitCode.DONE
    assert [text for text in it.said if "MLflow" in text] == []


@pytest.mark.parametrize(
    ("name", "expected"), [("staging", "live-staging"), ("eu_1", "live-eu_1"), ("eu.west", r"live-eu-west-[0-9a-f]{6}")]
)
def test_an_environment_has_an_alias_that_mlflow_takes(name: str, expected: str) -> None:
    assert re.fullmatch(expected, alias(replace(ENVIRONMENT, name=name)))
    assert alias(replace(ENVIRONMENT, name="eu.west")) != alias(replace(ENVIRONMENT, name="eu-west"))
