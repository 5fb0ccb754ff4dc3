"""The gates of a pull request: its status follows them while it is open, and what was merged in spite of them is restored."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from promoter import config
from promoter.commands.plan import plan
from promoter.commands.promote import promote
from promoter.commands.reconcile import Action
from promoter.errors import ExitCode
from promoter.hosting.forge import GatesStatus
from promoter.model_registry import ModelReference
from promoter.models import OnFailure
from promoter.promotion.gates import override, table
from promoter.promotion.proposed import status_of
from promoter.promotion.steps import Steps, silent
from promoter.promotion.survey import Survey
from promoter.verdict import Kind, Reason
from tests.support.argo_world import FAILS, WorldClients, overlay
from tests.support.forge_server import Answer
from tests.support.mlflow_server import MlflowServer, mlflow_server
from tests.support.pull_requests import variables
from tests.test_pull_request import Reviewed, both, it, kind

__all__ = ["it", "kind", "mlflow_server"]

_APPROVED = "{tags: {status: approved}, override: {tags: anyone}}"
_STATES = {"success": True, "failure": False, "succeeded": True, "failed": False}


@dataclasses.dataclass
class Gated(Reviewed):
    """As `Reviewed`, where a version needs a tag; version 2 has it, and the alias points to it."""

    mlflow: MlflowServer

    def configure(self, old: str, new: str) -> None:
        world, file = self.world, self.world.folder / "promoter.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        world.clients = WorldClients(config.load(file), {**world.clients.environ, **variables(self.server)})

    def tag(self, value: str, version: str = "2") -> None:
        body = {"name": self.world.model, "version": version, "key": "status", "value": value}
        self.mlflow.api("POST", "model-versions/set-tag", **body)

    @property
    def shown(self) -> tuple[bool, str]:
        """The status of the newest pull request."""
        state, words = self.server.gates(self.server.pulls[-1]) or ("none", "")
        return _STATES[state], words

    def merge_by_force(self, method: str = "squash") -> str:
        return self.server.repository.merge(self.server.pulls[-1], method)


@pytest.fixture
def gated(it: Reviewed, mlflow_server: MlflowServer) -> Gated:
    made = Gated(it.world, it.server, mlflow_server)
    made.configure("  write: pull-request\n", f"  write: pull-request\n  gates: {_APPROVED}\n")
    made.server.requires_gates = True
    made.tag("approved")
    mlflow_server.set_alias(it.world.model, "champion", "2")
    return made


@both
def test_one_that_stops_passing_shows_it_and_passes_again(gated: Gated) -> None:
    assert gated.reconcile().action is Action.PROPOSED
    (pull,) = gated.server.pulls
    assert gated.shown == (True, "version 2 may be deployed")
    assert gated.server.may_be_merged(pull)
    gated.tag("pending")
    left = gated.reconcile()
    assert (left.action, left.exit_code) == (Action.LEFT, ExitCode.REFUSED)
    refused = "version 2 is refused: tags status: is 'pending', and must be 'approved'"
    assert gated.shown == (False, refused)
    assert not gated.server.may_be_merged(pull)
    gated.tag("approved")
    assert "unchanged" in gated.reconcile().detail
    assert gated.shown == (True, "version 2 may be deployed")


def test_of_one_whose_facts_are_not_known_nothing_passes(gated: Gated) -> None:
    gated.reconcile()
    gated.world.clients = WorldClients(
        gated.world.clients.config,
        {**gated.world.clients.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
    )
    gated.reconcile()
    passed, words = gated.shown
    assert (passed, words[:45]) == (False, "whether version 2 passes is not known: MLflow")


def test_a_status_that_can_not_be_set_keeps_nothing_from_being_proposed(gated: Gated) -> None:
    gated.server.fault("GET", "statuses", Answer(403, {"message": "Resource not accessible by integration"}), times=9)
    clients = gated.world.clients
    made = plan(
        clients, gated.world.environment, ModelReference(gated.world.model, version="2"), Steps(silent), rendering=False
    )
    opened = promote(clients, made, Steps(silent)).pull_request
    assert opened is not None
    assert opened.notes == (
        "could not set the status promoter/gates: GitHub: this token may not see commit statuses in org/repository: "
        "Resource not accessible by integration",
    )
    assert gated.reconcile().action is Action.PROPOSED


def test_it_is_looked_at_wherever_a_pull_request_may_be_open(gated: Gated) -> None:
    """What no alias brings, as a person's promotion, is seen by its branch."""
    gated.configure("on-alias: promote", "on-alias: ignore")
    clients = gated.world.clients
    assert Survey(clients).differing(clients.config.environments) == ()
    made = plan(
        clients, gated.world.environment, ModelReference(gated.world.model, version="2"), Steps(silent), rendering=False
    )
    promote(clients, made, Steps(silent))
    assert [one.name for one in Survey(clients).differing(clients.config.environments)] == ["staging"]
    gated.tag("pending")
    assert gated.reconcile().action is Action.LEFT
    assert gated.shown[0] is False


@pytest.mark.parametrize("method", ["squash", "merge"])
def test_merged_by_force_it_is_not_watched_but_restored(gated: Gated, method: str) -> None:
    gated.configure("on-failure: pull-request", "on-failure: restore")
    gated.reconcile()
    gated.tag("pending")
    gated.reconcile()
    world = gated.world
    world.behaviours["2"] = FAILS
    ending = world.follow(world.committed(gated.merge_by_force(method)))
    assert (ending.exit_code, ending.verdict.kind, ending.verdict.reason) == (ExitCode.RESTORED, Kind.FAILED, Reason.REFUSED)
    assert ending.verdict.evidence == ("tags status: is 'pending', and must be 'approved'",)
    assert world.told[0].reason is Reason.REFUSED
    now = world.committed()
    assert (now.release.version, now.restores) == ("1", True)
    trailers = now.commit.trailers
    assert (trailers["Rollout-Abort"], trailers["Failed-Version"], trailers.get("Quarantined")) == (
        "refused by a gate",
        "2",
        None,
    )
    assert "tags status: is 'pending', and must be 'approved'" in world.remote.message()
    assert gated.reconcile().detail.startswith(f"{world.model}:2 is refused in 'staging': tags status")


@pytest.mark.parametrize(
    ("policy", "code"), [(OnFailure.PULL_REQUEST, ExitCode.NOT_RESTORED), (OnFailure.HOLD, ExitCode.NOT_RESTORED)]
)
def test_restored_by_policy(gated: Gated, policy: OnFailure, code: ExitCode) -> None:
    gated.configure("on-failure: pull-request", f"on-failure: {policy}")
    gated.reconcile()
    gated.tag("pending")
    merged = gated.merge_by_force()
    done = gated.reconcile()
    assert (done.exit_code, gated.world.remote.tip()) == (code, merged)
    urgent = [one.labels for one in gated.server.pulls[1:]]
    assert urgent == ([["urgent"]] if policy is OnFailure.PULL_REQUEST else [])
    assert "refused by a gate" in (gated.server.pulls[1].title if urgent else str(gated.world.said) + done.detail) or not urgent


def test_what_is_live_is_left(gated: Gated) -> None:
    gated.reconcile()
    committed = gated.world.committed(gated.merge_by_force())
    assert gated.world.follow(committed).exit_code is ExitCode.DONE
    gated.tag("pending")
    assert gated.world.follow(committed).exit_code is ExitCode.DONE
    assert gated.world.said[-1] == "gates refuse version 2, which is live: tags status: is 'pending', and must be 'approved'"
    assert gated.reconcile().action is Action.AGREES


def test_an_override_holds_at_the_merge_and_in_the_status(gated: Gated) -> None:
    gated.tag("pending")
    world, clients = gated.world, gated.world.clients
    chosen = override.of(["tags"], "the registry is read-only today", "ada")
    reference = ModelReference(world.model, version="2")
    made = plan(clients, world.environment, reference, Steps(silent), rendering=False, overrides=chosen)
    promote(clients, made, Steps(silent))
    gated.configure("on-alias: promote", "on-alias: ignore")
    gated.reconcile()
    assert gated.shown == (True, "version 2 may be deployed; overridden: tags status")
    assert world.follow(world.committed(gated.merge_by_force())).exit_code is ExitCode.DONE


def test_a_release_by_hand_is_asked_about_and_going_back_by_hand_is_not(gated: Gated) -> None:
    world = gated.world
    gated.configure("on-failure: pull-request", "on-failure: restore")
    by_hand = world.committed(world.remote.commit(overlay(3, model=world.model), "Try version 3"))
    assert world.follow(by_hand).verdict.reason is Reason.REFUSED
    world.follow(world.promote(2))
    back = world.committed(world.remote.commit(overlay(1, model=world.model), "Go back to version 1"))
    assert world.follow(back).exit_code is ExitCode.DONE


def test_what_can_not_be_asked_at_a_merge_refuses_nothing_and_is_reported(gated: Gated) -> None:
    gated.reconcile()
    gated.tag("pending")
    committed = gated.world.committed(gated.merge_by_force())
    environ = {key: value for key, value in gated.world.clients.environ.items() if key != "MLFLOW_TRACKING_URI"}
    gated.world.clients = WorldClients(gated.world.clients.config, environ)
    assert gated.world.follow(committed).exit_code is ExitCode.DONE
    assert gated.world.said[0] == "gates can't be asked again about what was merged: MLflow is not configured"


@pytest.mark.parametrize("days", [0, 3])
def test_a_freeze_counts_if_it_stood_at_the_time_of_the_merge(gated: Gated, days: int) -> None:
    """A window that opens during a canary does not end it; also where a merge commit is younger than what it merges."""
    gated.configure("on-failure: pull-request", "on-failure: restore")
    gated.reconcile()
    now = datetime.now(UTC)
    first, last = (f"{now + timedelta(days=shift):%Y-%m-%d}" for shift in (-1, 1))
    window = f"{{name: holidays, zone: UTC, first: {first}, last: {last}}}"
    gated.configure("  write: pull-request\n", f"  write: pull-request\n  freeze: [{window}]\n")
    gated.server.repository.date = f"{now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    ending = gated.world.follow(gated.world.committed(gated.merge_by_force("merge")))
    assert ending.exit_code is (ExitCode.DONE if days else ExitCode.RESTORED)
    assert ("is frozen" in str(ending.verdict.evidence)) is not bool(days)


# -- in words ---------------------------------------------------------------------------------------------------------


def test_the_status_in_words() -> None:
    passed, refused = table.passed("size", "", "3 KiB"), table.refused("tags", "risk", "is not set, and must be 'low'")
    assert status_of([passed], "7") == GatesStatus(True, "version 7 may be deployed")
    assert status_of([passed, refused], "7") == GatesStatus(
        False, "version 7 is refused: tags risk: is not set, and must be 'low'"
    )


@pytest.mark.parametrize("by", ["ada", "Ada Lovelace", ""])
def test_an_override_is_read_back_from_the_commit(by: str) -> None:
    chosen = override.of(["metrics", "tags"], "the test set: it is broken", by)
    rulings = chosen.applied(
        [
            table.refused("metrics", "val/f1", "is 0.7"),
            table.refused("tags", "risk", "is not set"),
            table.passed("size", "", "1 B"),
        ]
    )
    assert override.recorded_in(chosen.recorded(rulings)) == chosen
    assert override.recorded_in("Merge it") == override.recorded_in("") == override.NONE
