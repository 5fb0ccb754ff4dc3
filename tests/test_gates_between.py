"""What became of a version in staging decides in production: quarantined there, live there, or not yet."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from promoter import config
from promoter.commands.plan import Plan, plan
from promoter.commands.promote import promote
from promoter.errors import ExitCode, GatesError
from promoter.model_registry import ModelReference
from promoter.promotion import journal
from promoter.promotion.gates.golden import UNJUDGED
from promoter.promotion.gates.override import NONE, Overrides
from promoter.promotion.gates.override import of as override_of
from promoter.promotion.steps import Steps, silent
from tests.support.argo_world import FAILS, World, WorldClients, world
from tests.support.mlflow_server import MlflowServer, mlflow_server

__all__ = ["mlflow_server"]


@pytest.fixture
def two(tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[World]:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    source = f"models:/{mlflow_server.log_model()}"
    for _ in range(3):
        mlflow_server.register(name, source)
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, environments=("staging", "production")) as one:
        yield one


def gates(it: World, text: str) -> None:
    """Of production, which is the last environment in the file."""
    file = it.folder / "promoter.yaml"
    before = file.read_text().split("  gates:")[0].split("image:\n  runtime")[0]
    file.write_text(f"{before}  gates: {text}\nimage:\n  runtime: scratch\n  layout: oci:images\n")
    it.clients = WorldClients(config.load(file), it.clients.environ)


def planned(it: World, version: str, to: str, overrides: Overrides = NONE, *, force: bool = False) -> Plan:
    environment, reference = it.clients.environment(to), ModelReference(it.model, version=version)
    return plan(it.clients, environment, reference, Steps(silent), rendering=False, overrides=overrides, force=force)


def refusal(it: World, version: str) -> str:
    with pytest.raises(GatesError) as caught:
        planned(it, version, "production")
    assert caught.value.exit_code is ExitCode.REFUSED
    return caught.value.message


def test_a_version_that_is_quarantined_in_staging_is_refused_in_production(two: World) -> None:
    it = two
    it.behaviours["2"] = FAILS
    outcome = promote(it.clients, planned(it, "2", "staging"), Steps(silent))
    assert it.follow(it.committed(outcome.commit)).exit_code is ExitCode.RESTORED
    message = refusal(it, "2")
    assert message.startswith(
        f"{it.model}:2 is refused in 'production': earlier staging: {it.model}:2 is quarantined in 'staging'"
    )
    assert planned(it, "2", "production", force=True).after.version == "2"
    assert planned(it, "3", "production").after.version == "3"
    gates(it, "{earlier: false}")
    assert planned(it, "2", "production").after.version == "2"


def test_production_waits_until_this_very_image_is_live_in_staging(two: World) -> None:
    it = two
    gates(it, "{after: {environment: staging}}")
    tip = it.remote.tip()
    assert "after staging: its image is not built yet, so it was never live there" in refusal(it, "2")
    assert it.remote.tip() == tip
    assert not (it.folder / "images").exists()
    outcome = promote(it.clients, planned(it, "2", "staging"), Steps(silent))
    assert "after staging: it is deployed there, and not known to be live: " in refusal(it, "2")
    assert it.follow(it.committed(outcome.commit)).exit_code is ExitCode.DONE
    gates(it, "{after: {environment: staging, soak: 1000h}}")
    assert "and must be for 41 d 16 h" in refusal(it, "2")
    gates(it, "{after: {environment: staging}}")
    made = planned(it, "2", "production")
    assert [one.about for one in made.gates if one.gate == "after"] == ["staging"]
    assert promote(it.clients, made, Steps(silent)).commit == it.remote.tip()


def test_what_was_decided_in_staging_and_can_not_be_read_refuses_and_an_overlay_that_is_not_there_warns(two: World) -> None:
    it = two
    it.remote.commit({"overlays/staging/promotion.yaml": "versions: {"}, "Edit by hand")
    told = "earlier staging: what was decided there can't be read: overlays/staging/promotion.yaml:1: "
    assert told in refusal(it, "2")
    it.remote.commit({"overlays/staging/promotion.yaml": "versions:\n"}, "Correct it")
    assert planned(it, "2", "production").warnings == (UNJUDGED,)
    file = it.folder / "promoter.yaml"
    for manifest in it.folder.rglob("staging.yaml"):
        manifest.write_text(manifest.read_text().replace("overlays/staging", "overlays/none"))
    it.clients = WorldClients(config.load(file), it.clients.environ)
    assert "not known: overlays/none: kustomization.yaml is missing" in planned(it, "2", "production").warnings


def test_an_override_is_in_the_commit_and_only_for_whom_it_is_allowed(two: World) -> None:
    it = two
    gates(it, "{age: {at-least: 1000h}, tags: {status: approved}, override: {age: anyone}}")
    promote(it.clients, planned(it, "2", "staging"), Steps(silent))
    chosen = override_of(["age"], "staging has no traffic", "ada")
    with pytest.raises(GatesError) as caught:
        planned(it, "2", "production", chosen)
    assert caught.value.message == f"{it.model}:2 is refused in 'production': tags status: is not set, and must be 'approved'"
    gates(it, "{age: {at-least: 1000h}, override: {age: anyone}}")
    outcome = promote(it.clients, planned(it, "2", "production", chosen), Steps(silent))
    committed = it.committed(outcome.commit, "production")
    assert journal.of(committed.commit).overridden == "age at-least, by ada: staging has no traffic"
