"""A data scientist sets an alias in MLflow, whose webhook reaches a receiver; nobody touches anything after that."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import requests

from promoter.model_registry import Webhooks
from promoter.webhook.register import register
from tests.cluster.cluster import eventually
from tests.cluster.command import Run
from tests.cluster.environment import Environment
from tests.cluster.manifests import NAME
from tests.cluster.model_versions import GOOD, MODEL, STABLE, UNHEALTHY
from tests.support.mlflow_server import MlflowServer
from tests.support.receivers import free_port

_ALIAS, _SECRET = "champion", "a secret of these tests"


@dataclass
class Alias:
    """The alias that the environment follows, and the seconds since it was set at which each stage was reached."""

    environment: Environment
    server: MlflowServer
    run: Run
    since: float = field(default_factory=time.monotonic)

    def set(self, version: str) -> None:
        self.since = time.monotonic()
        self.server.set_alias(MODEL, _ALIAS, version)

    def reaches(self, stage: str, look: Callable[[], bool | str | None]) -> None:
        eventually(stage, look, 180, every=0.3)
        assert self.run.process.poll() is None, str(self.run)
        self.environment.stages[stage] = time.monotonic() - self.since


@pytest.fixture
def alias(environment: Environment, mlflow_versions: MlflowServer) -> Iterator[Alias]:
    """A receiver that only events wake, and MLflow's webhook on it."""
    folder, port = environment.promoter.folder, free_port()
    secret = folder / "secret"
    environment.promoter.configure({"alias": _ALIAS, "on-alias": "promote"})
    secret.write_text(_SECRET)
    mlflow_versions.set_alias(MODEL, _ALIAS, STABLE)
    options = ("--port", str(port), "--secret-file", str(secret), "--interval", "3600")
    run = environment.promoter.start("webhook", "serve", *options)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return requests.get(f"{url}/ready", timeout=5).ok
        except requests.exceptions.ConnectionError:
            return False

    eventually("the receiver is ready", ready)
    webhooks = Webhooks.from_environ(mlflow_versions.environ)
    registered = register(webhooks, f"promoter-{uuid.uuid4().hex[:8]}", f"{url}/mlflow", _SECRET)
    try:
        yield Alias(environment, mlflow_versions, run)
    finally:
        webhooks.delete(registered.webhook)


def test_an_alias_goes_live_by_itself(environment: Environment, alias: Alias) -> None:
    assert environment.before is not None
    before = environment.before
    alias.set(GOOD)
    alias.reaches("commit", lambda: environment.repository.tip() != before.commit)
    commit, digest = environment.repository.tip(), environment.overlay_digest()
    alias.reaches("synced", lambda: environment.synced_revision() == commit)
    alias.reaches("canary", lambda: environment.status().get("currentPodHash") != environment.status().get("stableRS"))
    alias.reaches("live", lambda: environment.is_live(digest))
    alias.reaches("proven live", lambda: _reconciled(alias.run, "promoted"))
    assert f"Model-Version: {GOOD}" in environment.repository.message(commit)
    assert environment.repository.commits(since=before.commit) == [f"Promote {MODEL} version {GOOD} to staging (was {STABLE})"]


def test_an_alias_of_an_unhealthy_version_goes_back_by_itself(environment: Environment, alias: Alias) -> None:
    assert environment.before is not None
    before = environment.before
    alias.set(UNHEALTHY)
    alias.reaches("commit", lambda: environment.repository.tip() != before.commit)
    commit = environment.repository.tip()
    alias.reaches("aborted", lambda: environment.status().get("abort") is True)
    alias.reaches("Git restored", lambda: environment.repository.tip() != commit)
    alias.reaches("stable again", lambda: environment.is_live(before.digest))
    alias.reaches("proven restored", lambda: _reconciled(alias.run, "restored"))
    assert "unhealthy" in environment.repository.message(environment.repository.tip()), "the message lacks the evidence"
    environment.assert_as_before()


def test_what_waits_for_the_end_of_a_freeze_goes_live_by_itself(environment: Environment, alias: Alias) -> None:
    """Nothing wakes the receiver then: it knows when the freeze ends."""
    end = datetime.now(UTC) + timedelta(seconds=60)
    code, _ = environment.promoter.ask(
        "freeze", NAME, "--until", end.isoformat(timespec="seconds"), "--reason", "the shop is full"
    )
    assert code == 0
    frozen = environment.repository.tip()
    alias.set(GOOD)
    alias.reaches("left alone", lambda: _reconciled(alias.run, "left alone"))
    alias.reaches("commit", lambda: environment.repository.tip() != frozen)
    assert datetime.now(UTC) >= end.replace(microsecond=0)
    alias.reaches("proven live", lambda: _reconciled(alias.run, "promoted"))


def _reconciled(run: Run, action: str) -> bool:
    return any((event["event"], event.get("action")) == ("reconciled", action) for event in list(run.events))
