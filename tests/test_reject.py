"""Rejecting a version: never deployed again, and where it is deployed the release before comes back, in one commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from promoter import cli
from promoter.commands.reject import Rejection, apply, plan_rejection
from promoter.commands.rollback import plan_rollback
from promoter.errors import ExitCode, RefusedError, SupersededError
from promoter.kustomize.overlay import deployed, read_overlay
from promoter.kustomize.promotion_file import Decision, State
from promoter.promotion import decisions
from promoter.verdict import Kind
from tests.support.argo_world import MODEL, World, digest, world
from tests.support.histories import NOTHING, NOW, release

REASON = "labels are mixed up"


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def planned(it: World, version: str, *, lift: bool = False, created: datetime | None = None) -> Rejection:
    repository = it.clients.repository(it.environment.application)
    return plan_rejection(repository, Rejection(it.environment, version, created, REASON, "ada", lift))


def reject(it: World, version: str, *, lift: bool = False) -> str | None:
    return apply(it.clients.repository(it.environment.application), planned(it, version, lift=lift))


def entry(it: World, version: str) -> Decision | None:
    tip = it.clients.repository(it.environment.application).fetch()
    known = decisions.at(
        it.clients.repository(it.environment.application), tip.commit, read_overlay(tip, it.environment), it.environment
    )
    return known.of(version)


def version(it: World) -> str:
    found = deployed(it.clients.repository(it.environment.application).fetch(), it.environment)
    assert found is not None
    return found.version


# -- the entry --------------------------------------------------------------------------------------------------------


def test_what_a_rejection_leaves_of_what_was_known() -> None:
    failed = NOTHING.failed(release(2), release(1), "stuck", at=NOW, commit="c" * 40, quarantine=True)
    rejected = failed.rejected("2", None, REASON, at=NOW, by="ada")
    assert rejected.of("2") == Decision("2", State.REJECTED, REASON, NOW, "ada", "c" * 40, 1, digest(1))
    with pytest.raises(RefusedError, match="version 2 is rejected"):
        rejected.require_not_blocked(release(2))
    lifted = rejected.lifted("2", None, at=NOW, by="ben").of("2")
    assert lifted is not None
    assert (lifted.state, lifted.by) == (State.ALLOWED, "ben")
    assert failed.lifted("2", None, at=NOW, by="ben") == failed, "a quarantine is not a rejection"
    assert NOTHING.lifted("2", None, at=NOW, by="ben") == NOTHING


def test_a_version_that_is_not_deployed_gets_an_entry_and_nothing_else_changes(it: World) -> None:
    before = it.remote.show("overlays/staging/release.yaml")
    commit = reject(it, "7")
    assert commit == it.remote.tip()
    assert it.remote.show("overlays/staging/release.yaml") == before
    found = entry(it, "7")
    assert found is not None
    assert (found.state, found.reason, found.by) == (State.REJECTED, REASON, "ada")
    message = it.remote.message()
    assert message.startswith(f"Reject {MODEL} version 7 in staging\n\n{REASON}\n")
    assert "\nRejected-Version: 7" in message
    assert planned(it, "7").already
    assert reject(it, "7") is None
    assert it.remote.tip() == commit


def test_a_version_that_is_deployed_goes_with_the_commit_that_rejects_it(it: World) -> None:
    it.promote(2)
    bad = it.promote(3)
    commit = reject(it, "3")
    assert version(it) == "2"
    found = entry(it, "3")
    assert found is not None
    assert (found.state, found.commit, found.restored) == (State.REJECTED, bad.commit.sha, digest(2))
    assert it.remote.message().startswith(f"Reject {MODEL} version 3 in staging, back to version 2\n\n{REASON}\n")
    assert len(it.remote.log()) == 4
    assert reject(it, "3") is None
    assert it.remote.tip() == commit
    with pytest.raises(RefusedError, match="rejected"):
        plan_rollback(it.clients.repository(it.environment.application), it.environment, "3")


def test_a_rejected_version_is_not_what_another_one_goes_back_to(it: World) -> None:
    for number in (2, 3):
        it.promote(number)
    reject(it, "2")
    reject(it, "3")
    assert version(it) == "1"


def test_with_nothing_before_it_the_version_stays_and_is_named(it: World) -> None:
    plan = planned(it, "1")
    assert (plan.stays_deployed, plan.target) == (True, None)
    apply(it.clients.repository(it.environment.application), plan)
    assert version(it) == "1"
    assert planned(it, "1").already


def test_a_running_promotion_of_it_is_stopped_and_counts_as_restored(it: World) -> None:
    it.settle()
    bad = it.promote(2)
    it.clock.after(20, lambda: reject(it, "2"))
    ending = it.follow(bad)
    assert (ending.exit_code, ending.restored) == (ExitCode.RESTORED, it.remote.tip())
    assert version(it) == "1"
    it.settle()
    assert it.follow(it.committed(), restoring=False).verdict.kind is Kind.LIVE


def test_it_is_lifted_again(it: World) -> None:
    reject(it, "7")
    reject(it, "7", lift=True)
    assert it.remote.message().startswith(f"Allow {MODEL} version 7 in staging\n")
    found = entry(it, "7")
    assert found is not None
    assert found.state is State.ALLOWED
    assert reject(it, "7", lift=True) is None
    assert planned(it, "9", lift=True).already


def test_a_quarantine_is_not_lifted(it: World) -> None:
    text = f'versions:\n- {{environment: staging, model: {MODEL}, version: "5", state: quarantined}}\n'
    it.remote.commit({"overlays/staging/promotion.yaml": text})
    with pytest.raises(RefusedError, match="is quarantined in 'staging', and was not rejected") as refused:
        planned(it, "5", lift=True)
    assert "--force" in refused.value.hint


def test_what_was_deployed_in_between_is_not_rejected_by_an_entry_alone(it: World) -> None:
    plan = planned(it, "2")
    it.promote(2)
    with pytest.raises(SupersededError, match="deploys version 2 since"):
        apply(it.clients.repository(it.environment.application), plan)


def test_a_version_of_the_same_number_that_was_created_another_day_stays(it: World) -> None:
    it.promote(2)
    other = planned(it, "2", created=datetime(2020, 1, 1, tzinfo=UTC))
    made = decisions.created_at(it.committed().release)
    assert (other.current is None) is (made is not None)


def test_a_reason_writes_no_trailer(it: World) -> None:
    repository = it.clients.repository(it.environment.application)
    wanted = Rejection(it.environment, "7", None, "bad\n\nModel-Version: 9\nPromotion-Id: x", "ada")
    apply(repository, plan_rejection(repository, wanted))
    trailers = subprocess.run(
        ["git", "interpret-trailers", "--parse", "--no-divider"],
        input=it.remote.message(),
        capture_output=True,
        text=True,
        check=True,
    )
    keys = [line.partition(":")[0] for line in trailers.stdout.splitlines()]
    assert keys == ["Model", "Environment", "Rejected-Version", "Promoter-Version"]


# -- the command ------------------------------------------------------------------------------------------------------


def run(it: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["promoter", "reject", *arguments, "-c", str(it.folder / "promoter.yaml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_the_command_rejects_everywhere_without_mlflow(
    it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    it.promote(2)
    assert run(it, monkeypatch, f"{MODEL}:2", "--reason", REASON, "--yes", "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(one["environment"], one["back_to"], one["exit_code"]) for one in shown["environments"]] == [("staging", "1", 0)]
    assert shown["environments"][0]["commit"] == it.remote.tip()


def test_an_environment_that_can_not_be_read_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, os.environ, environments=("staging", "production")) as it:
        it.remote.commit({"overlays/staging/promotion.yaml": "versions: {}\n"})
        assert run(it, monkeypatch, f"{MODEL}:7", "--reason", REASON, "--yes", "-o", "json") == ExitCode.USAGE
        shown = {one["environment"]: one for one in json.loads(capsys.readouterr().out)["environments"]}
        assert "not a list" in shown["staging"]["error"]
        assert (shown["production"]["commit"], shown["production"]["error"]) == (it.remote.tip(), "")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([f"{MODEL}:2", "--reason", " ", "--yes"], ExitCode.USAGE, "--reason is empty"),
        (["unknown:2", "--reason", "x", "--yes"], ExitCode.USAGE, "no environment of model 'unknown'"),
        ([f"{MODEL}:2", "--reason", "x", "--env", "nowhere", "--yes"], ExitCode.USAGE, "nowhere"),
        ([f"{MODEL}:2", "--reason", "x"], ExitCode.USAGE, "--yes"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    before = it.remote.tip()
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert run(it, monkeypatch, *arguments) == code
    assert told in capsys.readouterr().err
    assert it.remote.tip() == before
