"""Completion in shells: the script for each, and what it is answered from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from promoter.completion.shells import Shell


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")]) -> None:
    """Print a script with which a shell completes commands, options, environments, models, aliases and versions."""
    import os

    from promoter import output as out
    from promoter.completion.shells import SCRIPTS

    with suppress(Exception):  # the first Tab would only wait for it
        refresh(["tree"], os.environ)
    out.data(SCRIPTS[shell].lstrip("\n"))
    out.require_written()


def refresh(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Finds out what `promoter __complete` is answered from: `tree`, or `model FILE NAME`."""
    from promoter.completion.answer import TREE, registered_key, stamp
    from promoter.completion.store import Store

    store = Store.of(environ)
    if list(arguments) == [TREE]:
        from promoter.cli import app

        store.write(TREE, tree(typer.main.get_command(app)), stamp())
        return 0
    _, file, model = arguments
    store.write(registered_key(file, model), _registered(Path(file), model, environ))
    return 0


def _registered(file: Path, model: str, environ: Mapping[str, str]) -> dict[str, Any]:
    from promoter import config
    from promoter.model_registry import connect
    from promoter.transport.session import Limits

    uri = config.load(file).tracking_uri if file.name else None
    registry = connect(environ, tracking_uri=uri, limits=Limits(total=5))
    aliases, versions = registry.aliases_and_versions(model)
    return {"aliases": dict(aliases), "versions": list(versions)}


_KINDS = {
    "ENV": "environment",
    "MODEL": "reference",
    "MODEL:VERSION": "reference",
    "VERSION": "version",
    "DIR": "folder",
    "COMMAND": "help",
}
"""What a parameter is completed with, by what the help has in its place, without brackets and dots."""


def tree(command: Any) -> dict[str, Any]:
    """The command with its parameters and those below it, as values of JSON."""
    from promoter.cli.anywhere import ANYWHERE

    found: dict[str, Any] = {
        "help": (command.help or "").partition("\n")[0].partition(". ")[0],
        "options": [],
        "arguments": [],
    }
    for param in command.params:
        one = {"kind": _kind(param), "many": param.multiple or param.nargs == -1, "choices": _choices(param)}
        if not param.opts[0].startswith("-"):
            found["arguments"].append(one)
            continue
        names = [*param.opts, *param.secondary_opts]
        flag = bool(param.is_flag or param.count)
        names.sort(key=lambda name: not name.startswith("--"))
        one |= {"names": names, "flag": flag, "help": param.help or "", "anywhere": param.name in ANYWHERE}
        found["options"].append({**one, "many": bool(param.multiple or param.count)})
    found["options"].append({"names": ["--help", "-h"], "kind": "", "flag": True, "help": "Show what it takes."})
    if hasattr(command, "commands"):
        found["commands"] = {name: tree(one) for name, one in command.commands.items() if not one.hidden}
    return found


def _kind(param: Any) -> str:
    if param.name == "model" and param.opts[0].startswith("-"):
        return "model"
    if kind := _KINDS.get((param.metavar or "").strip("[].")):
        return kind
    if _choices(param):
        return "choice"
    return "file" if _annotation(param) is Path else ""


def _choices(param: Any) -> list[str]:
    kind = _annotation(param)
    return [str(one.value) for one in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def _annotation(param: Any) -> Any:
    """The type of its values, of one where it takes several or none."""
    from typing import get_args

    found = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    while inner := [one for one in get_args(found) if one is not type(None)]:
        found = inner[0]
    return found
