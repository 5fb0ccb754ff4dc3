"""Rolling back because a person wants it: to what, when it asks, and what it leaves alone."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from promoter import cli
from promoter.commands.rollback import Rollback, plan_rollback, rollback
from promoter.errors import ExitCode, RefusedError, SupersededError
from promoter.kustomize.overlay import read_overlay
from promoter.promotion import decisions
from tests.support.argo_world import FAILS, World, overlay, world


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def planned(it: World, version: str | None = None) -> Rollback:
    return plan_rollback(it.clients.repository(it.environment.application), it.environment, version)


def apply(it: World, plan: Rollback) -> str:
    return rollback(it.clients.repository(it.environment.application), plan).commit.sha


def test_by_default_to_the_version_before(it: World) -> None:
    it.promote(2)
    before = it.promote(3)
    plan = planned(it)
    assert (plan.current.commit.sha, plan.target.release.version) == (before.commit.sha, "2")
    assert apply(it, plan) == it.remote.tip()
    assert {name: it.remote.show(name) for name in overlay(2)} == overlay(2)
    trailers = it.committed().commit.trailers
    assert (trailers["Restores"], trailers["Rolled-Back-Version"]) == (plan.target.commit.sha, "3")
    assert "Quarantined" not in trailers


def test_a_version_that_was_undone_is_skipped(it: World) -> None:
    it.behaviours["2"] = FAILS
    it.follow(it.promote(2))
    it.promote(3)
    assert planned(it).target.release.version == "1"


def test_repeated_it_finds_its_own_commit(it: World) -> None:
    """A job that was killed after its commit is run again: it must not go back one release more."""
    it.promote(2)
    it.promote(3)
    commit = apply(it, planned(it))
    again = planned(it)
    assert (again.already, again.undone, again.target.release.version) == (True, "3", "2")
    assert apply(it, again) == commit == it.remote.tip()
    by_name = planned(it, "2")
    assert (by_name.already, apply(it, by_name)) == (True, commit)


def test_further_back_by_name_and_repeated(it: World) -> None:
    it.promote(2)
    it.promote(3)
    apply(it, planned(it))
    commit = apply(it, planned(it, "1"))
    assert it.committed().release.version == "1"
    assert [apply(it, planned(it, "1")), apply(it, planned(it))] == [commit, commit]


def test_a_release_that_was_promoted_since_is_rolled_back(it: World) -> None:
    it.promote(2)
    it.promote(3)
    apply(it, planned(it))
    it.promote(4)
    assert planned(it).target.release.version == "2"


def test_a_quarantined_version_that_was_rolled_back_is_not_gone_back_from_twice(it: World) -> None:
    """Its entry stays `quarantined`: the commit alone records that a person went back from it."""
    it.promote(2)
    it.promote(3)
    environment, repository = it.environment, it.clients.repository(it.environment.application)
    at = datetime(2026, 11, 1, tzinfo=UTC)
    known = decisions.at(repository, it.remote.tip(), read_overlay(repository.fetch(), environment), environment)
    bad, stable = it.committed().release, replace(it.committed().release, digest="sha256:" + "9" * 64)
    failed = known.failed(bad, stable, "analysis failed", at=at, commit="", quarantine=True)
    it.remote.commit({path: content.decode() for path, content in known.files(failed).items()}, "Quarantine")
    commit = apply(it, planned(it))
    assert apply(it, planned(it)) == commit


def test_the_version_that_is_there_is_not_searched_for(it: World) -> None:
    tip = it.promote(2).commit.sha
    assert planned(it, "2").already
    assert apply(it, planned(it, "2")) == tip


def test_to_a_version_by_name(it: World) -> None:
    it.promote(2)
    it.promote(3)
    assert planned(it, "1").target.release.version == "1"
    with pytest.raises(RefusedError) as caught:
        planned(it, "9")
    assert caught.value.message == "environment 'staging' never deployed version 9"
    assert caught.value.hint == "see promoter history staging"


def test_with_nothing_before_it_is_refused(it: World) -> None:
    with pytest.raises(RefusedError, match="never deployed an earlier version"):
        planned(it)


def test_somebody_elses_newer_release_stays(it: World) -> None:
    it.promote(2)
    plan = planned(it)
    theirs = it.promote(3)
    with pytest.raises(SupersededError):
        apply(it, plan)
    assert it.remote.tip() == theirs.commit.sha


def test_repeated_it_makes_one_commit(it: World) -> None:
    it.promote(2)
    plan = planned(it)
    assert apply(it, plan) == apply(it, plan)
    assert len(it.remote.log()) == 3


def test_a_rollback_goes_live_by_the_stable_way(it: World) -> None:
    it.promote(2)
    it.settle()
    apply(it, planned(it))
    assert it.follow(it.committed(), restoring=False).exit_code is ExitCode.DONE


def run(it: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["promoter", "rollback", "staging", "-c", str(it.folder / "promoter.yaml"), *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_without_a_terminal_it_wants_yes(
    it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = it.promote(2)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert run(it, monkeypatch, "--no-watch") == ExitCode.USAGE
    assert "--yes" in capsys.readouterr().err
    assert it.remote.tip() == bad.commit.sha
    assert run(it, monkeypatch, "--no-watch", "--yes") in (None, 0)
    assert it.remote.show("overlays/staging/release.yaml") == overlay(1)["overlays/staging/release.yaml"]


@pytest.mark.parametrize(("answer", "code", "commits"), [("n\n", ExitCode.REFUSED, 2), ("y\n", 0, 3)])
def test_on_a_terminal_it_asks(it: World, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, commits: int) -> None:
    it.promote(2)
    leader, follower = pty.openpty()
    os.write(leader, answer.encode())
    with os.fdopen(follower) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert run(it, monkeypatch, "--no-watch") == code
    os.close(leader)
    assert len(it.remote.log()) == commits
