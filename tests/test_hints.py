"""Hints name only commands and options that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.core import TyperCommand, TyperGroup

import promoter
from promoter.cli import app

COMMAND = re.compile(r"(?:^|[:`] ?|\b(?:run|see) )promoter (?!can't)([a-z]+)((?: (?:[a-z]+|-{1,2}[a-z][a-z-]*|\S+))*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
OF_OTHERS = {"--kustomize-image", "--serve-artifacts", "--allowed-hosts"}  # of the argocd command and of mlflow server
GROUP = typer.main.get_command(app)


def hints() -> Iterator[tuple[str, str]]:
    """Every text that is given as hint=, with {} for what is filled in, and its place."""
    for path in Path(promoter.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield from ((f"{path.name}:{node.lineno}", text(key.value)) for key in node.keywords if key.arg == "hint")


def text(node: ast.expr) -> str:
    """The constant parts of an expression."""
    parts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if isinstance(node, ast.JoinedStr):
        return "".join(one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)  # type: ignore[misc]
    return " ".join(parts)


def commands() -> dict[str, TyperCommand | TyperGroup]:
    """By name; a command of a group as `group command`."""
    assert isinstance(GROUP, TyperGroup)
    found: dict[str, Any] = dict(GROUP.commands)
    for name, command in GROUP.commands.items():
        if isinstance(command, TyperGroup):
            found |= {f"{name} {inner}": one for inner, one in command.commands.items()}
    return found


def options(command: TyperCommand | TyperGroup) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def test_hints_are_found() -> None:
    assert len(list(hints())) > 150


def test_every_command_in_a_hint_exists() -> None:
    known = commands()
    named = [(place, match) for place, hint in hints() for match in COMMAND.finditer(hint)]
    assert len(named) >= 8
    for place, match in named:
        words = match[0][match[0].index("promoter ") :].split()
        command = known.get(" ".join(words[1:3])) or known.get(words[1])
        assert command is not None, f"{place}: {match[0]!r}"
        for option in OPTION.findall(match[0]):
            assert option in options(command), f"{place}: {match[0]!r} has no option {option}"


def test_every_option_in_a_hint_exists() -> None:
    known = set().union(*map(options, commands().values())) | OF_OTHERS
    wrong = [f"{place}: {option}" for place, hint in hints() for option in OPTION.findall(hint) if option not in known]
    assert not wrong
