"""Promotions by pull request: merged whichever way, the release becomes live as the commit that the merge made; closed, nothing is left.

The forge is the test's own server in front of the very repository that Argo CD reads; merges are made in it with git.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from promoter.models import ForgeKind
from tests.cluster.cluster import eventually
from tests.cluster.command import Run
from tests.cluster.environment import Environment
from tests.cluster.manifests import NAME
from tests.cluster.model_versions import GOOD, MODEL, UNHEALTHY
from tests.support.forge_repository import METHODS, ForgeRepository, Pull
from tests.support.forge_server import TOKEN, ForgeServer, forge_server
from tests.support.mlflow_server import MlflowServer
from tests.support.pull_requests import settings

ENVIRON = {"GITHUB_TOKEN": TOKEN}


@pytest.fixture
def forge(environment: Environment) -> Iterator[ForgeServer]:
    """The environment takes pull requests only, for restores as well."""
    file = environment.promoter.folder / "promoter.yaml"
    with forge_server(ForgeRepository(environment.repository.bare)) as server:
        config = yaml.safe_load(file.read_text() + settings(server, ForgeKind.GITHUB))
        config["environments"][0] |= {"write": "pull-request", "on-failure": "pull-request"}
        file.write_text(yaml.safe_dump(config))
        # a token of GitHub's goes to the server that stands next to it, and to no other
        environment.promoter.environ = {**environment.promoter.environ, "GITHUB_API_URL": server.url}
        yield server


def promoting(environment: Environment, version: str) -> Run:
    return environment.promoter.start("promote", f"{MODEL}:{version}", "--to", NAME, "--wait", **ENVIRON)


def opened(run: Run, forge: ForgeServer, number: int) -> Pull:
    """The pull request of this number, once promoter has reported that it opened it."""

    def look() -> Pull | None:
        assert run.process.poll() is None, str(run)
        said = any(f"opened {forge.url}" in str(event.get("text")) for event in list(run.events))
        return forge.pulls[number - 1] if said and len(forge.pulls) >= number else None

    return eventually(f"pull request {number} is open", look)


@pytest.mark.parametrize("method", METHODS)
def test_merged_and_live(environment: Environment, forge: ForgeServer, method: str) -> None:
    run = promoting(environment, GOOD)
    pull = opened(run, forge, 1)
    assert environment.before is not None
    assert environment.repository.tip() == environment.before.commit
    merged = forge.repository.merge(pull, method)
    run.finish()
    environment.assert_live(run)
    assert run.outcome["merged"] == merged == environment.repository.tip()
    assert (run.commit == merged) is (method != "merge")
    assert environment.synced_revision() == merged
    assert forge.repository.branches() == ["main"]


def test_watched_by_ci_on_the_merge(environment: Environment, forge: ForgeServer) -> None:
    run = environment.promoter.start("promote", f"{MODEL}:{GOOD}", "--to", NAME, **ENVIRON).finish()
    assert (run.exit_code, run.outcome["pull_request"]["number"]) == (0, 1), str(run)
    merged = forge.repository.merge(forge.pulls[0], "merge")
    watched = environment.watch(merged)
    environment.assert_live(watched)
    assert environment.synced_revision() == merged


def test_closed_leaves_nothing(environment: Environment, forge: ForgeServer) -> None:
    run = promoting(environment, GOOD)
    forge.repository.close(opened(run, forge, 1))
    run.finish()
    assert run.exit_code == 22, str(run)
    assert forge.repository.branches() == ["main"]
    environment.assert_as_before()


def test_one_that_stopped_passing_can_not_be_merged_and_merged_by_force_is_restored(
    environment: Environment, forge: ForgeServer, mlflow_versions: MlflowServer
) -> None:
    def tag(value: str) -> None:
        mlflow_versions.api("POST", "model-versions/set-tag", name=MODEL, version=GOOD, key="validation", value=value)

    def reconcile() -> None:
        run = environment.promoter.start("reconcile", NAME, **ENVIRON).finish()
        assert run.exit_code == 0, str(run)

    environment.promoter.configure({"gates": {"tags": {"validation": "approved"}}, "on-failure": "restore"})
    forge.requires_gates = True
    tag("approved")
    run = environment.promoter.start("promote", f"{MODEL}:{GOOD}", "--to", NAME, **ENVIRON).finish()
    assert (run.exit_code, run.outcome["pull_request"]["notes"]) == (0, []), str(run)
    (pull,) = forge.pulls
    assert (forge.gates(pull), forge.may_be_merged(pull)) == (("success", f"version {GOOD} may be deployed"), True)
    tag("withdrawn")
    reconcile()
    words = "tags validation: is 'withdrawn', and must be 'approved'"
    assert (forge.gates(pull), forge.may_be_merged(pull)) == (("failure", f"version {GOOD} is refused: {words}"), False)
    merged = forge.repository.merge(pull, "squash")
    watched = environment.watch(merged)
    assert watched.verdict == ("failed", "refused by a gate"), str(watched)
    assert watched.outcome["verdict"]["evidence"] == [words], str(watched)
    environment.assert_restored(watched)
    assert "Quarantined" not in environment.repository.message("main")


def test_aborted_and_restored_by_an_urgent_one(environment: Environment, forge: ForgeServer) -> None:
    run = promoting(environment, UNHEALTHY)
    forge.repository.merge(opened(run, forge, 1), "squash")
    eventually("the urgent pull request is open", lambda: len(forge.pulls) == 2 and bool(forge.pulls[1].labels))
    environment.assert_stable_serves()
    assert forge.pulls[1].labels == ["urgent"]
    forge.repository.merge(forge.pulls[1], "squash")
    run.finish()
    environment.assert_restored(run)
    assert f"Quarantined: {MODEL}:{UNHEALTHY}" in environment.repository.message("main")
