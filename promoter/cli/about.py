"""promoter itself: its help, and the versions of what it runs with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from promoter.cli.common import print_value
from promoter.cli.options import Output, OutputOption
from promoter.errors import UsageError

if TYPE_CHECKING:
    from promoter.commands.version import Versions


def help_(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]...", help="By default the commands.")] = None,
) -> None:
    """Show what a command is for, what it takes, and examples: as COMMAND --help."""
    shown: Any = ctx.find_root()
    for word in words or ():
        command = getattr(shown.command, "commands", {}).get(word)
        if command is None:
            raise UsageError(f"unknown command {' '.join(words or ())!r}", hint="promoter --help lists them")
        shown = type(shown)(command, info_name=word, parent=shown)
    typer.echo(shown.get_help())


def version(output: OutputOption = Output.TEXT) -> None:
    """Print the versions of promoter, Python, git and kustomize, and the platform: what a report of a fault needs."""
    from promoter.commands.version import versions

    print_value(output, versions(), _text)


def _text(found: Versions) -> str:
    from dataclasses import asdict

    from promoter.output import table

    return table([(name, text or "not found") for name, text in asdict(found).items()])
