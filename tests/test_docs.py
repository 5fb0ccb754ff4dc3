"""The documents against the repository: links lead somewhere, and what they tell to type exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML

from promoter.cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """What GitHub, and the site, make of the page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"(?m)^#+ +(.*)$", text)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_lead_to_headings(page: Path) -> None:
    links = [link.partition("#") for link in LINK.findall(page.read_text()) if "://" not in link and "#" in link]
    wrong = [
        f"{path}#{anchor}"
        for path, _, anchor in links
        if (target := page.parent / path if path else page).suffix == ".md" and anchor not in anchors(target)
    ]
    assert wrong == []


def test_the_tree_shows_the_modules_as_they_are() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/tree.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "promoter/\n  cli/ " in (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_targets_exist(page: Path) -> None:
    code = "\n".join(CODE.findall(page.read_text()))
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {str(group.name or group.typer_instance.info.name) for group in app.registered_groups if group.typer_instance}
    told = set(re.findall(r"(?:^|[`$] ?)promoter ([a-z]+)", code, re.MULTILINE))
    assert told <= commands
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|[`$] ?)make ([a-z-]+)", code, re.MULTILINE)) <= targets


def typed(page: Path) -> list[list[str]]:
    """Each call of promoter that the page has somebody type, as words."""
    blocks = re.findall(r"(?m)^ *```sh\n(.*?)^ *```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in map(str.strip, lines) if line.startswith("promoter ")]


def unknown(words: list[str]) -> list[str]:
    """Commands of a group and options that promoter does not have."""
    root: Any = typer.main.get_command(app)
    command, rest = root, list(words)
    while rest and getattr(command, "commands", None):
        if rest[0] not in command.commands:
            return rest[:1]
        command = command.commands[rest.pop(0)]
    known = {option for param in (*root.params, *command.params) for option in (*param.opts, *param.secondary_opts)}
    options = [word.partition("=")[0] for word in rest if re.match("--?[a-z]", word)]
    return [option for option in options if option not in {*known, "-h", "--help"}]


def test_what_pages_have_people_type_can_be_typed() -> None:
    calls = [(page.name, words) for page in PAGES for words in typed(page)]
    assert len(calls) > 50
    assert {name for name, _ in calls} >= {"README.md", "quick-start.md", "several-models.md", "migrate.md"}
    assert [(name, words) for name, words in calls if unknown(words)] == []
    assert unknown(["promote", "churn:7", "--to", "x", "--gone"]) == ["--gone"]
    assert unknown(["webhook", "gone"]) == ["gone"]


def test_hooks_run_what_is_there_and_download_nothing() -> None:
    repositories = YAML(typ="safe", pure=True).load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [one["repo"] for one in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = {hook["entry"].removeprefix("make ") for hook in hooks if hook["entry"].startswith("make ")}
    assert made == {"format", "check"}
    assert made <= set(targets)


def test_files_that_contributing_names_are_there() -> None:
    named = set(re.findall(r"`((?:promoter|tests|docs)/[\w./]+)`", (ROOT / "CONTRIBUTING.md").read_text()))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_tests_that_security_names_are_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text()))
    there = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in there] == []
