"""The command line: parse, one use-case call, print. Nothing heavy is imported before a command runs.

A module for each group of commands; options.py, common.py and ending.py hold what they share.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from promoter import __version__
from promoter.cli.environments import history, status
from promoter.cli.notify import notify
from promoter.cli.project import demo, schema
from promoter.cli.releases import changed, plan, promote, reconcile, rollback, watch
from promoter.cli.versions import image, model
from promoter.cli.webhook import webhook
from promoter.errors import ExitCode, PromoterError
from promoter.redaction import redact

app = typer.Typer(
    name="promoter",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Takes an MLflow model version to Kubernetes through Git and Argo CD, and keeps Git true.",
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


for command in (model, image, plan, promote, watch, rollback, reconcile, changed, status, history, schema, demo):
    app.command()(command)
app.add_typer(webhook)
app.add_typer(notify)


def main() -> None:
    """The console script: errors become one message, one hint and their exit code; no stream takes a secret."""
    redact.learn_environment(os.environ)
    sys.stdout, sys.stderr = redact.guard(sys.stdout), redact.guard(sys.stderr)
    try:
        app()
    except PromoterError as error:
        from promoter.output import print_error

        print_error(error, in_json=_asked_for_json(sys.argv))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.UNEXPECTED)


def _asked_for_json(argv: list[str]) -> bool:
    joined = " ".join(argv)
    return any(option in joined for option in ("-o json", "-ojson", "--output json", "--output=json"))
