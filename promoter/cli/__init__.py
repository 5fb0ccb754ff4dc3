"""The command line: parse, one use-case call, print. Nothing heavy is imported before a command runs.

A module for each group of commands; options.py, common.py and ending.py hold what they share.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from promoter import __version__
from promoter.cli.check import check
from promoter.cli.decide import freeze, reject, thaw
from promoter.cli.environments import gates, status
from promoter.cli.history import history, where
from promoter.cli.init import init
from promoter.cli.notify import notify
from promoter.cli.project import demo, schema
from promoter.cli.releases import changed, plan, promote, reconcile, rollback, watch
from promoter.cli.versions import image, model
from promoter.cli.webhook import webhook
from promoter.errors import ExitCode, UsageError
from promoter.errors.redaction import redact
from promoter.machine.interrupts import Interrupted, interruptible
from promoter.machine.process import INTERACTIVE
from promoter.output import streams

app = typer.Typer(
    name="promoter",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Takes an MLflow model version to Kubernetes through Git and Argo CD, and keeps Git true.",
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Git, ssh and credential helpers may ask at this terminal.")
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if interactive and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "--interactive needs a terminal", hint="leave it out in scripts: set PROMOTER_GIT_TOKEN, or load a key"
        )
    os.environ.pop(INTERACTIVE, None)
    if interactive:
        os.environ[INTERACTIVE] = "1"


for command in (
    init,
    check,
    model,
    image,
    plan,
    gates,
    promote,
    watch,
    rollback,
    reject,
    freeze,
    thaw,
    reconcile,
    changed,
    status,
    where,
    history,
    schema,
    demo,
):
    app.command()(command)
app.add_typer(webhook)
app.add_typer(notify)


def main() -> None:
    """The console script: whatever ends it, it has a last word and its exit code; no stream takes a secret."""
    redact.learn_environment(os.environ)
    streams.guard()
    _stand_somewhere()
    with interruptible():
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
        os.getcwd()  # noqa: PTH109 - before pathlib is needed
    except OSError:
        os.chdir("/")
        sys.stderr.write("warning: the current folder was removed, or can't be read; going on in /\n")
