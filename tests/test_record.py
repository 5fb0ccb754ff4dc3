"""The record of a promotion, next to its image in a real registry: what it has, that it is written once, and that nothing waits."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from promoter.cli.history_text import account_text
from promoter.commands.history import account, histories, past
from promoter.commands.reconcile import Action, Reconciled, Reconciler
from promoter.commands.rollback import plan_rollback, rollback
from promoter.errors import AuthError, ExitCode
from promoter.image.oci import INDEX
from promoter.models import Result, Ruling, Status, Step
from promoter.promotion import record
from promoter.promotion.record import Made
from promoter.promotion.steps import silent
from tests.support.argo_world import FAILS, TIMING
from tests.support.fake_registry import FakeRegistry, fake_registry
from tests.support.faults import Answer, always
from tests.support.recorded import SCHEMA, Recorded, recorded
from tests.support.registry_server import RegistryServer, registry_server

__all__ = ["registry_server"]


@pytest.fixture
def it(tmp_path: Path, registry_server: RegistryServer) -> Iterator[Recorded]:
    with recorded(tmp_path, registry_server.host, os.environ) as made:
        yield made


@pytest.fixture
def listing(tmp_path: Path) -> Iterator[tuple[Recorded, FakeRegistry]]:
    """A registry that lists referrers itself, an artifact a page, and that counts what it is asked."""
    with (
        fake_registry(FakeRegistry(lists=True)) as registry,
        recorded(tmp_path, registry.host, os.environ, namespace="team") as made,
    ):
        yield made, registry


def reconcile(it: Recorded) -> Reconciled:
    (done,) = Reconciler(it.it.clients, silent, timing=TIMING, clock=it.it.clock).run(it.it.clients.config.environments)
    return done


def check_form(statement: dict[str, Any]) -> None:
    wrong = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(statement)
    assert [error.message for error in wrong] == []


def test_a_promotion_that_is_live_has_its_record(it: Recorded) -> None:
    committed = it.promote(2, Requested_By="ann", Reason="the new labels")
    ruling = Ruling("metrics", "accuracy", Result.PASSED, "accuracy is 0.9, at least 0.8")
    follower = it.it.follower()
    follower.made = Made((ruling,), (Step("publish", Status.SUCCEEDED, "registry", 1.23456),))
    assert follower.follow(committed).exit_code is ExitCode.DONE
    (statement,) = it.statements(2)
    check_form(statement)
    assert statement["subject"] == [{"name": it.name, "digest": {"sha256": it.images[2].removeprefix("sha256:")}}]
    found = statement["predicate"]
    assert found["model"] == {"name": "fraud-detector", "version": "2", "digest": f"sha256:{2:064x}", "run": "run-2"}
    assert (found["environment"], found["git"]["commit"]) == ("staging", committed.commit.sha)
    assert found["cluster"] == {"application": it.it.name(), "revision": committed.commit.sha}
    people = found["people"]
    assert (people["requestedBy"], people["reason"], people["approvers"]) == ("ann", "the new labels", None)
    assert found["gates"] == [
        {"gate": "metrics", "about": "accuracy", "result": "passed", "detail": "accuracy is 0.9, at least 0.8"}
    ]
    assert found["steps"] == [{"name": "publish", "status": "succeeded", "detail": "registry", "seconds": 1.235}]
    (run,) = found["analysis"]
    (metric,) = run["metrics"]
    assert (metric["name"], metric["phase"]) == ("success-rate", "Successful")
    assert metric["limits"] == {
        "successCondition": "result >= 0.95",
        "failureCondition": "result < 0.95",
        "failureLimit": "1",
        "count": "3",
    }
    assert len(metric["measurements"]) == 3
    assert [stage["kind"] for stage in found["stages"]][-1] == "live"
    assert {"rolling"} < {stage["kind"] for stage in found["stages"]}
    assert (found["verdict"]["kind"], found["verdict"]["exitCode"]) == ("live", 0)
    assert found["verdict"]["at"] == found["stages"][-1]["at"]


def test_the_same_record_is_the_same_bytes_and_is_attached_once(it: Recorded) -> None:
    committed = it.promote(2)
    ending = it.it.follow(committed)
    close = record.of_ending(ending, ())
    one = record.Record(it.it.environment, committed, close, run="run-2")
    assert one.statement() == replace(one).statement()
    before = it.stored(2)
    assert it.it.follow(committed).exit_code is ExitCode.DONE
    assert (len(before), it.stored(2)) == (1, before)


def test_an_abort_and_the_restore_have_theirs(it: Recorded) -> None:
    it.it.follow(it.promote(2))
    it.it.behaviours["3"] = FAILS
    bad = it.promote(3)
    assert it.it.follow(bad).exit_code is ExitCode.RESTORED
    (aborted,) = it.predicates(3)
    assert (aborted["verdict"]["kind"], aborted["verdict"]["reason"]) == ("aborted", "analysis failed")
    assert aborted["restored"] == {"commit": it.it.remote.tip(), "version": "2"}
    (metric,) = aborted["analysis"][0]["metrics"]
    assert (metric["phase"], metric["measurements"][-1]) == ("Failed", "0.4")
    _, restore = it.predicates(2)
    assert (restore["git"]["act"], restore["git"]["commit"]) == ("restore", it.it.remote.tip())
    assert (restore["verdict"]["kind"], restore["restored"]) == ("live", None)
    for version in (2, 3):
        for statement in it.statements(version):
            check_form(statement)


def test_a_watch_that_breaks_off_is_recorded_and_what_came_of_it_later_too(it: Recorded) -> None:
    committed = it.promote(2)
    refused = Answer(403, b'{"message": "permission denied", "code": 7}')
    with it.it.argocd.fault(always(refused)), pytest.raises(AuthError):
        it.it.follow(committed)
    (first,) = it.predicates(2)
    assert (first["verdict"]["kind"], first["verdict"]["exitCode"]) == (record.NOT_WATCHED, None)
    it.it.settle(60)
    assert reconcile(it).action is Action.AGREES
    assert it.kinds(2) == [record.NOT_WATCHED, "live"]


def test_a_registry_that_refuses_changes_no_verdict_and_reconcile_adds_it(listing: tuple[Recorded, FakeRegistry]) -> None:
    it, registry = listing
    committed = it.promote(2)
    registry.fail("PUT /v2/team/model/manifests/sha256", 403, code="DENIED", times=1)
    ending = it.it.follow(committed)
    assert (ending.exit_code, ending.note) == (ExitCode.DONE, "")
    told = [text for text in it.it.said if "has no record of its promotion to 'staging'" in text]
    assert len(told) == 1
    assert "DENIED" in told[0]
    assert it.stored(2) == []
    assert reconcile(it).action is Action.AGREES
    (found,) = it.predicates(2)
    assert (found["verdict"]["kind"], found["gates"], found["git"]["commit"]) == ("live", None, committed.commit.sha)
    asked = len(registry.calls)
    assert reconcile(it).action is Action.AGREES
    assert len(registry.calls) == asked, "nothing is asked of the registry when nothing happened"


def test_reconcile_writes_what_git_knows_where_every_record_is_lost(listing: tuple[Recorded, FakeRegistry]) -> None:
    it, registry = listing
    it.it.follow(it.promote(2))
    it.it.behaviours["3"] = FAILS
    bad = it.promote(3)
    it.it.follow(bad)
    before = {version: it.kinds(version) for version in (2, 3)}
    assert before == {2: ["live", "live"], 3: ["aborted"]}
    for digest, manifest in list(registry.manifests.items()):
        if b'"subject"' in manifest:
            del registry.manifests[digest]
    assert it.stored(3) == []
    assert reconcile(it).action is Action.AGREES
    (aborted,) = it.predicates(3)
    assert (aborted["verdict"]["kind"], aborted["restored"]["version"]) == ("aborted", "2")
    assert aborted["verdict"]["reason"].startswith("analysis failed: metric success-rate Failed, measured 0.4")
    assert any("analysis" in line for line in aborted["verdict"]["evidence"])
    assert sorted(it.kinds(2)) == ["live", "replaced"]
    for version in (2, 3):
        for statement in it.statements(version):
            check_form(statement)


def test_a_registry_without_a_list_gets_an_index_with_the_tag_of_the_specification(it: Recorded) -> None:
    it.it.follow(it.promote(2))
    index = it.repository.read_manifest(it.images[2].replace(":", "-"))
    assert index is not None
    value = json.loads(index)
    (entry,) = value["manifests"]
    assert (value["mediaType"], entry["artifactType"]) == (INDEX, "application/vnd.in-toto+json")
    manifest = json.loads(it.repository.read_manifest(entry["digest"]) or b"{}")
    assert manifest["subject"]["digest"] == it.images[2]
    assert manifest["annotations"] == entry["annotations"]


def test_off_writes_nothing(it: Recorded) -> None:
    it.configure("record: {registry: off}\n")
    assert it.it.follow(it.promote(2)).exit_code is ExitCode.DONE
    assert it.stored(2) == []


def test_a_rollback_is_recorded_as_one(it: Recorded) -> None:
    it.it.follow(it.promote(2))
    repository = it.it.clients.repository(it.it.environment.application)
    back = rollback(repository, plan_rollback(repository, it.it.environment, "1"))
    assert it.it.follower().follow(back, restoring=False).exit_code is ExitCode.DONE
    assert [one["git"]["act"] for one in it.predicates(1)] == ["rollback"]


def test_history_of_one_commit_has_what_is_recorded(it: Recorded) -> None:
    committed = it.promote(2)
    it.it.follow(committed)
    read = account(it.it.clients, it.it.environment, committed.commit.sha[:12], it.it.said.append)
    assert [one["verdict"]["kind"] for one in read.recorded] == ["live"]
    shown = account_text(read)
    assert re.search(r"metric success-rate +Successful, measured ", shown)
    assert "successCondition: result >= 0.95" in shown
    never = account(it.it.clients, it.it.environment, it.it.remote.log("%H")[1], it.it.said.append)
    assert (never.recorded, never.not_known) == ((), "")


def test_the_registry_is_asked_for_nothing_that_git_answers(listing: tuple[Recorded, FakeRegistry]) -> None:
    it, registry = listing
    it.it.follow(it.promote(2))
    asked, environment = len(registry.calls), it.it.environment
    entries, code = histories(it.it.clients, it.it.clients.config.environments, 100, it.it.said.append)
    assert (code, [entry.version for entry in entries][:2]) == (ExitCode.DONE, ["2", "1"])
    assert past(it.it.clients, environment, 100, it.it.said.append).entries == entries
    assert len(registry.calls) == asked
