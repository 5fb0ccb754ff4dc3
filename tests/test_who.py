"""Who a commit names: its author as Git chooses it in the checkout, the person behind a pipeline, the reason, and promoter."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from promoter import __version__
from promoter.gitops import Proposal
from promoter.promotion import journal
from tests.support.write_path import WritePath, path

__all__ = ["path"]

PIPELINES = {"GITHUB_ACTOR": "", "BUILD_REQUESTEDFOR": "", "GITLAB_USER_LOGIN": "", "GITHUB_EVENT_NAME": ""}
NOBODY = {f"GIT_{role}_{part}": "" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


@pytest.fixture
def home(path: WritePath) -> dict[str, str]:
    """A person with a configuration, whose checkout promoter.yaml is in."""
    folder = path.folder / "home"
    folder.mkdir()
    (folder / ".gitconfig").write_text("[user]\n name = Home\n email = home@example.com\n")
    git(path, "init", "--quiet")
    return {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "EMAIL": ""}


def git(path: WritePath, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(path.folder), *arguments], check=True)


def promoted(path: WritePath, *options: str, **environ: str) -> dict[str, str]:
    """The trailers of a promotion that the command made."""
    version = path.register()
    command = ("promote", f"{path.model}:{version}", "--to", "staging", "--no-watch", *options)
    variables = {**path.environ, **PIPELINES, **environ}
    unset = {name: value for name, value in variables.items() if value or name not in NOBODY}
    done = subprocess.run(path.command(*command), capture_output=True, text=True, env=unset, check=False)
    assert done.returncode == 0, done.stderr
    return path.trailers()


def people(path: WritePath) -> str:
    return path.git("log", "-1", "--format=%an <%ae>, %cn <%ce>", "main").strip()


def test_the_author_is_the_one_of_the_checkout(path: WritePath, home: dict[str, str]) -> None:
    promoted(path, **home, **NOBODY)
    assert people(path) == "Home <home@example.com>, Home <home@example.com>"
    git(path, "config", "user.name", "Work")
    git(path, "config", "author.email", "author@example.com")
    promoted(path, **home, **NOBODY)
    assert people(path) == "Work <author@example.com>, Work <home@example.com>"
    promoted(path, **home, **NOBODY | {"GIT_AUTHOR_NAME": "Variable"})
    assert people(path) == "Variable <author@example.com>, Work <home@example.com>"


def test_a_condition_of_the_persons_configuration_holds_as_in_the_checkout(path: WritePath, home: dict[str, str]) -> None:
    folder = Path(home["HOME"])
    (folder / "work").write_text("[user]\n email = work@example.com\n")
    with (folder / ".gitconfig").open("a") as file:
        file.write(f'[includeIf "gitdir:{path.folder.resolve()}/"]\n path = {folder}/work\n')
    promoted(path, **home, **NOBODY)
    assert people(path) == "Home <work@example.com>, Home <work@example.com>"


def test_no_program_that_the_checkout_names_is_started(path: WritePath, home: dict[str, str]) -> None:
    """It may belong to somebody else: Git itself refuses to read such a one (safe.directory)."""
    touched = path.folder / "touched"
    program = path.folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {touched}\nexit 1\n")
    program.chmod(0o755)
    for key, value in {"commit.gpgSign": "true", "gpg.program": str(program), "core.sshCommand": str(program)}.items():
        git(path, "config", key, value)
    promoted(path, **home, **NOBODY)
    assert (people(path).partition(" ")[0], touched.exists()) == ("Home", False)


@pytest.mark.parametrize("variable", ["GITHUB_ACTOR", "BUILD_REQUESTEDFOR", "GITLAB_USER_LOGIN"])
def test_a_pipeline_names_the_person_who_started_it(path: WritePath, variable: str) -> None:
    trailers = promoted(path, "--reason", "better on\nold cards", **{variable: "ann"})
    assert (trailers["Requested-By"], trailers["Reason"], trailers["Promoter-Version"]) == (
        "ann",
        "better on old cards",
        __version__,
    )
    [entry] = json.loads(path.run("history", "staging", "-o", "json").stdout)
    assert (entry["by"], entry["reason"]) == ("ann", "better on old cards")
    assert "why it came: better on old cards" in path.run("history", "staging", "--reason").stdout


@pytest.mark.parametrize(
    ("actor", "cause", "schedule"),
    [
        ("GITHUB_ACTOR", "GITHUB_EVENT_NAME", "schedule"),
        ("BUILD_REQUESTEDFOR", "BUILD_REASON", "Schedule"),
        ("GITLAB_USER_LOGIN", "CI_PIPELINE_SOURCE", "schedule"),
    ],
)
def test_nobody_asked_for_what_a_schedule_does(path: WritePath, actor: str, cause: str, schedule: str) -> None:
    named = {**PIPELINES, actor: "ann"}
    assert path.clients(**named).actor == "ann"
    assert path.clients(**{**named, cause: schedule}).actor == ""


def test_a_rollback_has_its_person_and_reason(path: WritePath) -> None:
    promoted(path)
    promoted(path)
    done = path.run(
        "rollback", "staging", "--yes", "--no-watch", "--reason", "too slow", **{**PIPELINES, "GITHUB_ACTOR": "bob"}
    )
    assert done.returncode == 0, done.stderr
    newest, undone, _ = json.loads(path.run("history", "staging", "-o", "json").stdout)
    assert (newest["act"], newest["by"], newest["reason"]) == ("rollback", "bob", "too slow")
    assert (undone["outcome"]["by"], undone["outcome"]["reason"]) == ("bob", "too slow")


def test_a_trailer_of_ones_own_takes_the_place(path: WritePath) -> None:
    trailers = promoted(path, "--trailer", "requested-by=The Board", "--reason", "ours", GITHUB_ACTOR="ann")
    assert (trailers["requested-by"], trailers["Reason"], "Requested-By" in trailers) == ("The Board", "ours", False)


def test_who_asked_makes_no_other_proposal() -> None:
    """A head that is replaced loses its reviews."""
    plain = Proposal({}, "Promote", trailers=(("Model", "m"),))
    proposal = plain.made_under(journal.circumstances("ann", "", plain))
    assert proposal.trailers == (("Model", "m"), ("Requested-By", "ann"), ("Promoter-Version", __version__))
    assert proposal.is_recorded_by({"Model": "m", "Promoter-Version": "0.1"})
    assert not proposal.is_recorded_by({"Model": "other", "Requested-By": "ann"})
    assert journal.same_release({"Model": "m", "Reason": "a"}, {"Model": "m", "Reason": "b"})


def test_nobody_asked_for_a_restore() -> None:
    """It comes from the run that promoted what failed, whose reason is that promotion's."""
    restore = Proposal({}, "Restore", trailers=(("Restores", "c0ffee"), ("Failed-Version", "2")))
    rollback = Proposal({}, "Roll back", trailers=(("Restores", "c0ffee"), ("Rolled-Back-Version", "2")))
    assert dict(journal.circumstances("ann", "better", restore)) == {
        "Requested-By": "",
        "Reason": "",
        "Promoter-Version": __version__,
        "Traceparent": "",
    }
    assert dict(journal.circumstances("ann", "slow", rollback)) == {
        "Requested-By": "ann",
        "Reason": "slow",
        "Promoter-Version": __version__,
        "Traceparent": "",
    }
