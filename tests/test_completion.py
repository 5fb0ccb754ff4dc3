"""Completion: what is offered at each place, and that real shells take it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main

import promoter
from promoter import config
from promoter.cli import app
from promoter.cli.completion import refresh, tree
from promoter.commands.scaffold import Wanted
from promoter.completion import names, shells
from promoter.completion.answer import TREE, answer, registered_key, stamp
from promoter.completion.store import Store
from promoter.completion.words import walk
from tests.support.mlflow_server import MlflowServer
from tests.support.terminal import terminal

ROOT = Path(__file__).parent.parent
COMMANDS = tree(typer.main.get_command(app))
TWO_MODELS = """
models:
  churn: # a comment
    image: registry.example.com/models/churn
  "fraud-detector":
    image: registry.example.com/models/fraud
environments:
- name: staging
  model: churn
  application: {name: churn-staging, project: churn}
  alias: challenger
- name: production
  model: churn
  application:
    name: churn-production
    project: churn
  alias: champion # the one that earns money
- {name: production, model: fraud-detector, application: {name: f, project: f}, alias: champion}
image:
  base: x
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models, and a cache that knows the commands."""
    (tmp_path / "promoter.yaml").write_text(TWO_MODELS)
    monkeypatch.chdir(tmp_path)
    assert refresh([TREE], os.environ) == 0
    for model in ("churn", "fraud-detector"):
        known(tmp_path, model, {}, [])  # or a process would be started that asks for it
    return tmp_path


def offers(capsys: pytest.CaptureFixture[str], *words: str, shell: str = "fish") -> list[str]:
    """The words that are offered for the last of these."""
    capsys.readouterr()
    assert answer([shell, *words], os.environ) == 0
    return [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()]


def known(here: Path, model: str, aliases: dict[str, str], versions: Sequence[str]) -> None:
    value = {"aliases": aliases, "versions": list(versions)}
    Store.of(os.environ).write(registered_key(f"{here}/promoter.yaml", model), value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["prom"], ["promote"]),
        (["webhook", "se"], ["serve"]),
        (["promote", "--to", ""], ["staging", "production"]),
        (["promote", "fraud-detector@champion", "--to", ""], ["production"]),
        (["promote", "--to=sta"], ["--to=staging"]),
        (["status", ""], ["staging", "production"]),
        (["status", "staging", "pro"], ["production"]),
        (["history", "staging", ""], []),
        (["status", "--model", ""], ["churn", "fraud-detector"]),
        (["reject", "ch"], ["churn", "churn@challenger", "churn@champion"]),
        (["reject", "fraud-detector@"], ["fraud-detector@champion"]),
        (["promote", ""], ["churn", "fraud-detector"]),
        (["status", "-o", ""], ["text", "wide", "json", "yaml"]),
        (["status", "--output=j"], ["--output=json"]),
        (["-q", "status", "-o", "json", "st"], ["staging"]),
        (["status", "--mod"], ["--model"]),
        (["promote", "--dry-run", "--dry"], []),
        (["reject", "--env", "staging", "--en"], ["--env"]),
        (["status", "--", "--mod"], []),
        (["status", "--config", ""], [shells.FILES]),
        (["-C", ""], [shells.FILES]),
        (["completion", ""], ["bash", "zsh", "fish", "powershell"]),
        (["help", "web"], ["webhook"]),
        (["help", "webhook", "s"], ["serve"]),
        (["nonsense", ""], []),
        (["status", "--nonsense", "x", ""], ["staging", "production"]),
    ],
)
def test_what_is_offered(here: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: list[str]) -> None:
    assert offers(capsys, *words) == expected


@pytest.mark.parametrize(
    ("line", "breaks", "expected"),
    [
        ("promoter promote churn@cham", "@:=", ["@champion"]),
        ("promoter promote churn@cham", "", ["@champion"]),  # unset is bash's own
        ("promoter promote churn@cham", " ", ["churn@champion"]),
        ("promoter promote --to=sta", "@:=", ["staging"]),
        ("promoter promote churn --to ", "@:=", ["staging", "production"]),
        ("promoter reject 'churn:7' --reason 'a b' --en", "@:=", ["--env"]),
    ],
)
def test_bash_gets_what_stands_behind_the_sign_at_which_it_breaks_words(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, breaks: str, expected: list[str]
) -> None:
    monkeypatch.setenv("COMP_WORDBREAKS", breaks)
    assert offers(capsys, line, shell="bash") == expected


def test_aliases_and_versions_of_mlflow_are_offered(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known(here, "churn", {"champion": "6", "shadow": "4"}, ["7", "6", "4"])
    assert offers(capsys, "promote", "churn@") == ["churn@challenger", "churn@champion", "churn@shadow"]
    assert offers(capsys, "promote", "churn:") == ["churn:7", "churn:6", "churn:4"]
    assert offers(capsys, "rollback", "staging", "--to", "") == ["7", "6", "4"]


def test_they_are_read_from_mlflow(here: Path, mlflow_server: MlflowServer, capsys: pytest.CaptureFixture[str]) -> None:
    source = f"models:/{mlflow_server.log_model({'MLmodel': b'flavors: {}'})}"
    for _ in range(3):
        mlflow_server.register("completed", source)
    mlflow_server.set_alias("completed", "champion", "2")
    file = here / "promoter.yaml"
    file.write_text(file.read_text().replace("churn", "completed"))
    assert refresh(["model", str(file), "completed"], {**os.environ, **mlflow_server.environ, "HOME": os.environ["HOME"]}) == 0
    assert offers(capsys, "promote", "completed:") == ["completed:3", "completed:2", "completed:1"]
    assert offers(capsys, "promote", "completed@ch") == ["completed@challenger", "completed@champion"]


def test_what_is_older_than_a_minute_is_offered_and_looked_up_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known(here, "churn", {}, ["7"])
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "promoter/completion"
    kept = next(cache.glob("model-churn*.json"))
    assert offers(capsys, "promote", "churn:") == ["churn:7"]
    assert not list(cache.glob("model-churn*.busy"))
    os.utime(kept, (time.time() - 61, time.time() - 61))
    assert offers(capsys, "promote", "churn:") == ["churn:7"]
    assert list(cache.glob("model-churn*.busy"))


def test_nobody_waits_for_mlflow(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of the model, and nothing answers: the aliases of promoter.yaml are offered."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for kept in (Path(os.environ["XDG_CACHE_HOME"]) / "promoter/completion").glob("model-*"):
        kept.unlink()
    assert offers(capsys, "promote", "churn@") == ["churn@challenger", "churn@champion"]


def test_promoter_config_and_c_decide_whose_names_are_offered(
    here: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "promoter.yaml").write_text(TWO_MODELS.replace("staging", "canada"))
    assert offers(capsys, "-C", str(other), "status", "") == ["canada", "production"]
    assert offers(capsys, "status", "-C", str(other), "") == ["canada", "production"]
    assert offers(capsys, "status", "-c", str(other / "promoter.yaml"), "") == ["canada", "production"]
    monkeypatch.setenv("PROMOTER_CONFIG", str(other / "promoter.yaml"))
    assert offers(capsys, "status", "") == ["canada", "production"]


@pytest.mark.parametrize("words", [[], ["fish"], ["nonsense", "x"], ["fish", "status", "\udcff"], ["bash"], ["bash", "'"]])
def test_it_is_never_an_error(here: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    for text in ("models: [", "environments:\n- - -\n", "", "\0", "environments:\n  a: {b: c}\n"):
        (here / "promoter.yaml").write_text(text)
        assert answer(words, os.environ) == 0
    assert capsys.readouterr().err == ""


def test_without_a_cache_that_can_be_written_it_is_no_error_either(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert offers(capsys, "status", "") == []


def test_a_name_that_a_shell_would_read_more_into_is_not_offered(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "promoter.yaml").write_text("models:\n  'a$(touch x)':\n    image: x\n  ok:\n    image: x\n")
    known(here, "ok", {"`touch y`": "1", "fine": "2"}, [])
    known(here, "a$(touch x)", {}, [])
    assert offers(capsys, "model", "") == ["ok"]
    assert offers(capsys, "model", "ok@") == ["ok@fine"]


@pytest.mark.parametrize(
    "text",
    [
        (ROOT / "promoter.yaml").read_text(),
        "models: {}\nenvironments: []\n",
        TWO_MODELS,
        "models:\n    churn:\n        image: x\nenvironments:\n    - model: churn\n      name: 'a'\n      application: x.yaml\n",
        "environments:\n- name: a\n  application: x.yaml\nmodels:\n  churn:\n    image: x\n",
    ],
)
def test_names_are_those_that_the_configuration_has(tmp_path: Path, text: str) -> None:
    from ruamel.yaml import YAML

    parsed: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    found = names.found_in(text)
    models = list(parsed["models"])
    assert found.models == models
    wanted = [(one["name"], one.get("model", models[0]), one.get("alias", "")) for one in parsed["environments"]]
    assert found.environments == wanted


def test_names_of_what_init_writes_are_those_that_are_loaded(tmp_path: Path) -> None:
    from promoter.commands.init import init, plan_init

    wanted = Wanted(model="churn", registry="registry.example.com/models", repo="https://github.com/team/gitops.git")
    init(plan_init(tmp_path, wanted))
    init(plan_init(tmp_path, Wanted(model="fraud", registry="registry.example.com/models", repo=wanted.repo)))
    loaded = config.load(tmp_path / "promoter.yaml")
    found = names.read(str(tmp_path / "promoter.yaml"))
    assert found.models == list(loaded.models) == ["churn", "fraud"]
    assert found.environments == [(one.name, one.model.name, one.alias) for one in loaded.environments]


def test_nothing_heavy_is_imported_while_a_shell_waits(here: Path) -> None:
    program = f"""
import sys
sys.argv = ["promoter", "__complete", "fish", "status", ""]
sys.path.insert(0, {str(Path(promoter.__file__).parent.parent)!r})
from promoter.__main__ import main
try:
    main()
finally:
    heavy = {{"typer", "click", "rich", "pydantic", "requests", "ruamel", "subprocess", "dataclasses", "typing", "tempfile"}}
    print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["staging\tchurn", "production\tchurn, fraud-detector", "[]"]


def test_every_environment_argument_is_completed() -> None:
    """A new command that takes an environment needs nothing more for it than the metavar."""
    wanting = [
        (path, one)
        for path, node in walked("", COMMANDS)
        for one in [*node["arguments"], *node["options"]]
        if one["kind"] == "environment"
    ]
    paths = {path for path, _ in wanting}
    assert {"status", "promote", "plan", "watch", "rollback", "reject", "reconcile", "history"} <= paths


def walked(path: str, node: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    below = [pair for name, one in node.get("commands", {}).items() for pair in walked(f"{path} {name}".strip(), one)]
    return [(path, node), *below]


def test_the_tree_is_made_again_when_commands_have_changed(here: Path) -> None:
    assert stamp() == stamp()
    store = Store.of(os.environ)
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "promoter/completion"
    assert store.read(TREE, [TREE], stamp()) == json.loads(json.dumps(COMMANDS))
    assert not list(cache.glob("tree*.busy"))
    assert store.read(TREE, [TREE], "another promoter") is not None
    assert list(cache.glob("tree*.busy"))


def test_a_value_ends_the_wait_for_an_option() -> None:
    at = walk(COMMANDS, ["reject", "--env", "staging", "churn:7"], "")
    assert at is not None
    assert (at.options["--env"], at.arguments) == (["staging"], ["churn:7"])


# -- real shells ------------------------------------------------------------------------------------------------------


@pytest.fixture
def program(here: Path) -> dict[str, str]:
    """`promoter` on PATH: it answers shells, and writes down what else it is started with."""
    folder = here / "bin"
    folder.mkdir()
    script = folder / "promoter"
    start = f"{sys.executable} -P -m promoter"
    script.write_text(f'#!/bin/sh\n[ "$1" = __complete ] && exec {start} "$@"\nprintf "%s\\n" "$@" > "{here}/typed"\n')
    script.chmod(0o755)
    source = str(Path(promoter.__file__).parent.parent)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": source, "TERM": "xterm", "PS1": "ready> "}


START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {script}", "ready> "),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -D -u; source {script}", "ready> "),
    "fish": (["fish", "--no-config", "-i"], "function fish_prompt; echo 'ready> '; end; source {script}", "ready> "),
}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("promoter promote churn@cham\t--to sta\t", ["promote", "churn@champion", "--to", "staging"]),
        ("promoter reject churn:7\t--reason=x", ["reject", "churn:7", "--reason=x"]),
        ("promoter rollb\tprod\t-\b--yes", ["rollback", "production", "--yes"]),
        ("promoter -C . stat\t--output=j\t", ["-C", ".", "status", "--output=json"]),
        ("promoter check --config prom\t", ["check", "--config", "promoter.yaml"]),
    ],
)
@pytest.mark.parametrize("shell", list(START))
def test_a_real_shell(shell: str, here: Path, program: dict[str, str], typed: str, expected: list[str]) -> None:
    command, source, prompt = START[shell]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{shell} is not installed")
    known(here, "churn", {"champion": "6"}, ["7"])
    script = here / f"completion.{shell}"
    script.write_text(shells.SCRIPTS[shells.Shell(shell)].lstrip("\n"))
    with terminal(command, program) as screen:
        screen.type(source.format(script=script) + "; echo so''urced\n")
        screen.wait_for("sourced")
        screen.wait_for(prompt)
        screen.type(f"{typed}\n")
        screen.type("echo do''ne\n")
        screen.wait_for("done")
    assert (here / "typed").read_text().split() == expected


def test_a_real_powershell(here: Path, program: dict[str, str]) -> None:
    if shutil.which("pwsh") is None:
        pytest.skip("pwsh is not installed")
    script = here / "completion.ps1"
    script.write_text(shells.SCRIPTS[shells.Shell.POWERSHELL])
    ask = "(TabExpansion2 'promoter status sta' 19).CompletionMatches.CompletionText"
    done = subprocess.run(
        ["pwsh", "-NoProfile", "-Command", f". {script}; {ask}"], env=program, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["staging"]
