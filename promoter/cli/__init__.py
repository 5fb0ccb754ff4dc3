"""The command line: parse, one use-case call, print. Nothing heavy is imported before a command runs.

A module for each group of commands; options.py, common.py and ending.py hold what they share, anywhere.py what each has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from promoter import __version__
from promoter.cli.about import help_, version
from promoter.cli.anywhere import Commands, FolderOption, InteractiveOption, PlainOption, QuietOption, VerboseOption
from promoter.cli.check import check
from promoter.cli.completion import completion
from promoter.cli.decide import freeze, reject, thaw
from promoter.cli.environments import gates, status
from promoter.cli.history import diff, history, verify, where
from promoter.cli.init import init
from promoter.cli.notify import notify
from promoter.cli.open import open_
from promoter.cli.options import Output
from promoter.cli.project import demo, schema
from promoter.cli.releases import changed, plan, promote, reconcile, rollback, watch
from promoter.cli.report import report
from promoter.cli.versions import image, model
from promoter.cli.webhook import webhook
from promoter.errors import ExitCode, UsageError
from promoter.errors.redaction import redact
from promoter.machine import tracing, verbose
from promoter.machine.interrupts import Interrupted, interruptible
from promoter.machine.process import INTERACTIVE
from promoter.output import say, streams

app = Commands(
    name="promoter",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Takes an MLflow model version to Kubernetes through Git and Argo CD, and keeps Git true.",
)

GROUPS: Mapping[str, Sequence[Callable[..., Any] | typer.Typer]] = {
    "Every day": (
        status,
        where,
        plan,
        gates,
        promote,
        watch,
        rollback,
        reject,
        freeze,
        thaw,
        history,
        diff,
        verify,
        report,
        open_,
        model,
        image,
    ),
    "CI": (changed, reconcile, notify),
    "Server": (webhook,),
    "Set up": (init, check, schema, completion, version, help_, demo),
}
"""Every command, in the part of the help that it stands in."""


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    shown: Annotated[bool, typer.Option("--version", "-V", help="Print the version and stop.")] = False,
    chdir: FolderOption = None,  # noqa: ARG001 - its callback does it
    config: Annotated[str | None, typer.Option("--config", "-c", help="promoter.yaml.", hidden=True)] = None,
    output: Annotated[Output | None, typer.Option("--output", "-o", help="Output format.", hidden=True)] = None,
    quiet: QuietOption = False,  # noqa: ARG001
    plain: PlainOption = False,  # noqa: ARG001
    verbosity: VerboseOption = 0,  # noqa: ARG001
    interactive: InteractiveOption = False,  # noqa: ARG001
) -> None:
    if shown:
        typer.echo(__version__)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(ExitCode.USAGE)
    given = {"config": config, "output": output and output.value}
    _hand_on(ctx, {name: value for name, value in given.items() if value is not None})


def _hand_on(ctx: typer.Context, given: Mapping[str, str]) -> None:
    """Options of most commands that stand before the command's name."""
    group: Any = ctx.command
    command = group.commands.get(ctx.invoked_subcommand)
    if not given or command is None:
        return
    below = getattr(command, "commands", {"": command}).values()
    for name in given:
        if not any(param.name == name for one in below for param in one.params):
            raise UsageError(f"promoter {ctx.invoked_subcommand} takes no --{name}", hint="leave it out")
    inner: dict[str, Any] = {name: dict(given) for name in getattr(command, "commands", ())} or dict(given)
    ctx.default_map = {str(ctx.invoked_subcommand): inner}


for _group, _commands in GROUPS.items():
    for _command in _commands:
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, rich_help_panel=_group)
        else:
            app.command(_command.__name__.rstrip("_"), rich_help_panel=_group)(_command)


def main() -> None:
    """Whatever ends a command, it has a last word and its exit code; no stream takes a secret."""
    redact.learn_environment(os.environ)
    streams.guard()
    verbose.listen(say)
    os.environ.pop(INTERACTIVE, None)
    _stand_somewhere()
    with interruptible(), tracing.sending(os.environ, say):
        try:
            sys.exit(app(prog_name="promoter", standalone_mode=False) or ExitCode.DONE)
        except (Exception, Interrupted) as error:
            from promoter.cli.last import last_word

            if not str(error) and type(error).__name__ == "NoArgsIsHelpError":
                sys.exit(ExitCode.USAGE)
            sys.exit(last_word(error))


def _stand_somewhere() -> None:
    """A current folder that was removed has no path: nothing that is relative can be meant."""
    try:
        Path.cwd()
    except OSError:
        os.chdir("/")
        sys.stderr.write("warning: the current folder was removed, or can't be read; going on in /\n")
