"""The small habits of good command lines: -h, -V, help, version, -v, -q, -C, options on either side, examples, groups."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from promoter import __version__
from promoter import output as out
from promoter.cli import GROUPS, app
from promoter.cli.anywhere import ANYWHERE, Command, Group
from promoter.cli.examples import EXAMPLES
from promoter.cli.last import last_word
from promoter.cli.run import RUN, asked_for_json
from promoter.gitops import Repository
from promoter.machine import process, verbose
from promoter.models import Status, Step
from promoter.transport.credential import Credential, origins
from promoter.transport.session import Authorization, Http
from tests.support.git_server import bare_repository, isolated_environ
from tests.support.listener import listening

ROOT = Path(__file__).parent.parent
ROOT_COMMAND: Any = typer.main.get_command(app)
SECRET = "ghp_averysecrettoken0123456789"

Run = Callable[..., int]


def commands(path: str = "", command: Any = ROOT_COMMAND) -> Iterator[tuple[str, Any]]:
    """Every command and group, by its words."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(f"{path} {name}".strip(), below)


EVERY = dict(commands())


@pytest.fixture(autouse=True)
def _as_started(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process's own state, as it is at the start, and back again."""
    monkeypatch.setattr(verbose, "VOLUME", verbose.Volume(listener=out.say))
    monkeypatch.setenv("COLUMNS", "200")
    folder = Path.cwd()
    yield
    os.chdir(folder)
    RUN.folder = ""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in this process; its exit code."""

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["promoter", *arguments])
        try:
            return int(ROOT_COMMAND(list(arguments), prog_name="promoter", standalone_mode=False) or 0)
        except Exception as error:
            return last_word(error)

    return run


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with this repository's promoter.yaml, and one with a broken one next to it."""
    for name, text in (("good", (ROOT / "promoter.yaml").read_text()), ("broken", "models: 3\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "promoter.yaml").write_text(text)
    (tmp_path / "good/environments").mkdir()
    for name in ("staging", "production"):
        (tmp_path / f"good/environments/{name}.yaml").write_bytes((ROOT / f"environments/{name}.yaml").read_bytes())
    return tmp_path


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", list(EVERY))
def test_h_is_help_everywhere_and_ends_with_examples(path: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*path.split(), "-h") == 0
    shown = capsys.readouterr().out
    assert run(*path.split(), "--help") == 0
    assert capsys.readouterr().out == shown
    assert "Examples:" in shown
    assert EXAMPLES.get(path), f"promoter {path} has no examples: add some in promoter/cli/examples.py"
    assert all(example in shown for example in EXAMPLES[path])
    assert run("help", *path.split()) == 0
    assert capsys.readouterr().out.split() == shown.split()


@pytest.mark.parametrize(("path", "example"), [(path, one) for path, examples in EXAMPLES.items() for one in examples])
def test_every_example_can_be_typed(path: str, example: str) -> None:
    assert path in EVERY, f"unknown command {path!r}: remove its examples from promoter/cli/examples.py"
    program, *words = shlex.split(example.partition(" > ")[0])
    assert program == "promoter"
    assert " ".join(words).startswith(path)
    context = ROOT_COMMAND.make_context("promoter", [], resilient_parsing=True)
    if path:
        rest = words[len(path.split()) :]
        parsed = EVERY[path].make_context(path, rest, parent=context, resilient_parsing=hasattr(EVERY[path], "commands"))
        assert parsed.command is EVERY[path]


def test_each_command_stands_in_one_group_of_the_help(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert [group for group in GROUPS if f"─ {group} ─" not in shown] == []
    assert "─ Commands ─" not in shown, "a command is registered apart from GROUPS in promoter/cli/__init__.py"
    assert sum(map(len, GROUPS.values())) == len(ROOT_COMMAND.commands)


@pytest.mark.parametrize("path", list(EVERY))
def test_each_command_takes_what_stands_anywhere(path: str) -> None:
    command = EVERY[path]
    assert isinstance(command, Command | Group), f"promoter {path} is not made by Commands of promoter/cli/anywhere.py"
    parent = ROOT_COMMAND.make_context("promoter", [], resilient_parsing=True)
    context = command.make_context(path, [], parent=parent if path else None, resilient_parsing=True)
    assert {param.name for param in command.get_params(context)} >= ANYWHERE
    if path:  # the parser keeps values by these names
        assert not {param.name for param in command.params} & ANYWHERE


def test_help_of_what_there_is_not(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("help", "webhook", "nonsense") == 2
    assert "error: unknown command 'webhook nonsense'" in capsys.readouterr().err


def test_without_a_command_the_help_is_shown_and_nothing_is_done(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-q") == 2
    assert "Every day" in capsys.readouterr().out


# -- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version_alone(option: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(option) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_the_versions_of_everything(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("version", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"promoter", "python", "platform", "git", "kustomize"}
    assert found["python"].endswith(".".join(map(str, sys.version_info[:3])))
    assert found["git"][0].isdigit()
    assert run("version") == 0
    assert f"git        {found['git']}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "script", "expected"),
    [
        ("kustomize", "echo v5.8.1", "v5.8.1"),
        ("kubectl", "echo 'Client Version: v1.34.1'; echo 'Kustomize Version: v5.7.1'", "v5.7.1 (kubectl)"),
        ("kustomize", "exit 1", ""),
    ],
)
def test_the_version_of_what_builds_overlays(
    name: str, script: str, expected: str, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run("version", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kustomize"], found["git"]) == (expected, "")


# -- before and behind ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "json", "status"],
        ["status", "-o", "json"],
        ["--output=json", "status", "-q"],
        ["-qo", "json", "status"],
        ["-v", "-o", "json", "webhook", "list"],
        ["status", "--nonsense", "-o", "json"],
        ["-ojson", "nonsense"],
        ["webhook", "-ojson"],
        ["-o", "json", "schema"],
        ["-C", "nowhere", "status", "-o", "json"],
    ],
)
def test_an_error_of_usage_is_json_wherever_json_was_asked_for(
    arguments: list[str], run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    outcome = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert outcome["exit_code"] == outcome["error"]["exit_code"] == 2
    assert outcome["error"]["message"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [("status -o json", True), ("-qojson status", True), ("status -o text", False), ("status --so json", False)],
)
def test_json_is_asked_for(line: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["promoter", *line.split()])
    assert asked_for_json() is expected


@pytest.mark.parametrize("before", [True, False])
def test_config_may_stand_before_a_command(
    before: bool, run: Run, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = ["-c", str(repository / "broken/promoter.yaml")]
    assert run(*(option if before else ()), "status", *(() if before else option)) == 2
    assert "models" in capsys.readouterr().err


@pytest.mark.parametrize("behind", [True, False])
def test_c_is_the_folder_that_it_runs_in(
    behind: bool, run: Run, repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "broken")
    option = ["-C", "..", "-C", "good"]
    assert run(*(() if behind else option), "watch", "nonsense", *(option if behind else ())) == 2
    assert "Argo CD is not configured" in capsys.readouterr().err
    assert Path.cwd() == repository / "good"
    RUN.environment, RUN.commit = "staging", "0123abc"
    assert RUN.watch == f"promoter -C {repository}/good watch staging --commit 0123abc"
    RUN.environment = RUN.commit = ""


def test_c_names_a_folder_that_is_there(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-C", "/nonsense", "status") == 2
    assert "error: -C /nonsense: No such file or directory" in capsys.readouterr().err


def test_promoter_config_names_the_file(
    run: Run, repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "broken")
    monkeypatch.setenv("PROMOTER_CONFIG", str(repository / "good/promoter.yaml"))
    assert run("watch", "staging") == 2
    assert "Argo CD is not configured" in capsys.readouterr().err
    assert run("watch", "staging", "--config", "promoter.yaml") == 2
    assert "models" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "meant"), [("statsu", "'status'"), ("promot", "'promote'"), ("webhok", "'webhook'")])
def test_a_slip_is_answered_with_what_was_meant(typed: str, meant: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(typed) == 2
    assert f"Did you mean {meant}" in capsys.readouterr().err


def test_behind_two_dashes_nothing_is_an_option(run: Run, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-C", str(repository / "good"), "check", "--offline", "--", "-q") == 2
    assert "no environment '-q'" in capsys.readouterr().err


# -- loud and quiet ---------------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=s3cret-cookie\r\nX-Trace: 7\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def asked(level: int, capsys: pytest.CaptureFixture[str]) -> str:
    """What one request shows at this level."""
    verbose.louder(level)
    with listening(answer=OK) as server:
        credential = Credential(SECRET, origins([server.url]))
        Http("it", server.url, auth=Authorization(credential)).request("GET", "/api/version?token=abc")
    return capsys.readouterr().err


def test_v_shows_requests_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(0, capsys) == ""
    shown = asked(1, capsys)
    assert "GET http://127.0.0.1:" in shown
    assert "/api/version 200 " in shown
    assert shown.endswith(" ms\n")
    assert len(shown.splitlines()) == 1
    assert "abc" not in shown


def test_vv_shows_headers_too_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    shown = asked(2, capsys)
    assert "> Authorization: ***" in shown
    assert "< X-Trace: 7" in shown
    assert not [secret for secret in (SECRET, "s3cret-cookie", "abc") if secret in shown]


def test_v_shows_git_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = bare_repository(tmp_path)
    origin.commit({"a": b"b"}, "First")
    verbose.louder(1)
    here = Repository(origin.url, "main", cache=tmp_path / "cache", environ=isolated_environ(tmp_path / "home"))
    here.fetch()
    shown = capsys.readouterr().err
    assert "git fetch" in shown
    assert " exit 0 " in shown


def test_vv_shows_other_programs(capsys: pytest.CaptureFixture[str]) -> None:
    verbose.louder(2)
    assert process.run(["true"], environ={"PATH": os.environ["PATH"]}, seconds=60).status == 0
    assert capsys.readouterr().err.startswith("true exit 0 ")


@pytest.mark.parametrize("arguments", [["-vv", "version"], ["version", "-v", "-v"], ["-v", "version", "--verbose"]])
def test_v_counts_on_either_side(arguments: list[str], run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert "git version exit 0 " in captured.err
    assert captured.out.startswith("promoter ")


@pytest.mark.parametrize("quiet", [True, False])
def test_q_shows_no_progress(quiet: bool, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*(["-q"] if quiet else []), "version") == 0
    assert capsys.readouterr().out
    out.progress("building")
    out.Progress("churn", in_json=False).say("the pull request is open")
    out.report(Step("commit", Status.SUCCEEDED, "made", 0.1))
    shown = capsys.readouterr().err
    assert ("building" in shown, "open" in shown, "made" in shown) == (not quiet,) * 3
    assert run("status", "--nonsense") == 2
    assert "error: No such option" in capsys.readouterr().err
