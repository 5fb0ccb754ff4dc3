"""What every command has: options that stand before or behind it, `-h`, and examples at the end of its help."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from promoter.cli.run import RUN
from promoter.errors import UsageError
from promoter.machine import tracing, verbose
from promoter.machine.process import INTERACTIVE

SETTINGS = {"help_option_names": ["-h", "--help"]}


class Command(TyperCommand):
    """A command that takes those options, too, and shows its examples."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [*super().get_params(ctx), *_anywhere(self, ctx)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.epilog = _epilog(ctx)
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        with tracing.span(ctx.command_path):
            return super().invoke(ctx)


class Group(TyperGroup):
    """A group that takes them, too."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [*super().get_params(ctx), *_anywhere(self, ctx)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.epilog = _epilog(ctx)
        super().format_help(ctx, formatter)


class Commands(typer.Typer):
    """A Typer app, or a part of one, of such commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, context_settings=SETTINGS, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=Command, **settings)


def _anywhere(command: TyperCommand | TyperGroup, ctx: Any) -> list[Any]:
    root = ctx.find_root().command
    if command is root:
        return []
    found = [copy.copy(param) for param in root.params if param.name in ANYWHERE]
    for param in found:
        param.hidden = True
    return found


def _epilog(ctx: Any) -> str:
    from promoter.cli.examples import EXAMPLES

    path = ctx.command_path.partition(" ")[2]
    lines = [f"  {line}" for line in EXAMPLES.get(path, ())]
    more = ["promoter --help lists the options that stand before or behind any command."] if path else []
    return "\n\n".join(["Examples:", *lines, *more])


def _go(folders: list[Path] | None) -> None:
    for folder in folders or ():
        try:
            os.chdir(folder)
        except OSError as error:
            raise UsageError(f"-C {folder}: {error.strerror}", hint="name a folder that is there") from None
        RUN.folder = os.getcwd()  # noqa: PTH109 - its text


def _loud(times: int) -> None:
    verbose.louder(times)


def _quiet(quiet: bool) -> None:
    if quiet:
        verbose.hush()


def _plainly(plain: bool) -> None:
    if plain:
        verbose.in_lines()


def _ask(interactive: bool) -> None:
    if not interactive:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "--interactive needs a terminal", hint="leave it out in scripts: set PROMOTER_GIT_TOKEN, or load a key"
        )
    os.environ[INTERACTIVE] = "1"


ANYWHERE = frozenset({"chdir", "verbosity", "quiet", "plain", "interactive"})
"""The parameters of the root that stand behind any command, too."""

FolderOption = Annotated[
    list[Path] | None,
    typer.Option(
        "-C", metavar="DIR", callback=_go, expose_value=False, is_eager=True, help="Run as if started in this folder."
    ),
]
VerboseOption = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        callback=_loud,
        expose_value=False,
        help="Show requests and git commands on stderr; twice: their headers, and other programs that run.",
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_quiet, expose_value=False, help="Show no progress: results and errors only.")
]
PlainOption = Annotated[
    bool,
    typer.Option(
        "--plain", callback=_plainly, expose_value=False, help="Show progress as lines, on a terminal too; nothing moves."
    ),
]
InteractiveOption = Annotated[
    bool,
    typer.Option(
        "--interactive",
        callback=_ask,
        expose_value=False,
        help="Git, ssh and credential helpers may ask at this terminal.",
    ),
]
