"""MLflow's webhooks: the receiver, and what MLflow knows of it."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promoter.cli.anywhere import Commands
from promoter.cli.common import clients_here, print_value, source_of
from promoter.cli.options import BranchOption, ConfigOption, Output, OutputOption, PathOption, RepoOption
from promoter.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from promoter.model_registry import Webhooks
    from promoter.webhook.dispatch import Pipeline

NAME = "promoter"


class Act(StrEnum):
    RUN = "run"
    GITHUB = "github"
    AZURE_DEVOPS = "azure-devops"


webhook = Commands(
    name="webhook",
    no_args_is_help=True,
    help="Receive MLflow's webhooks, and register the receiver with MLflow: serve, register, list, test, delete.",
)

SecretFileOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--secret-file",
        help="Secrets, one on each line, the newest first; else MLFLOW_WEBHOOK_SECRET_FILE, PROMOTER_WEBHOOK_SECRET.",
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="The webhook's name or id.")]


@webhook.command()
def serve(
    config: ConfigOption = None,
    repo: RepoOption = None,
    branch: BranchOption = "main",
    path: PathOption = ".",
    host: Annotated[str, typer.Option("--host", help="Address to listen at; 0.0.0.0 in a container.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8080,
    health_port: Annotated[
        int | None,
        typer.Option("--health-port", min=1, max=65535, help="Port of /health, /ready and /metrics alone; by default --port."),
    ] = None,
    interval: Annotated[float, typer.Option("--interval", min=1, help="Seconds between comparisons of everything.")] = 300,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Environments reconciled at once; most of them only wait.")
    ] = 32,
    act: Annotated[Act, typer.Option("--act", help="Do what is missing here, or dispatch a pipeline that does it.")] = Act.RUN,
    pipeline: Annotated[
        str | None,
        typer.Option(
            "--pipeline", help="OWNER/REPOSITORY (with /WORKFLOW.yml for workflow_dispatch), or ORGANISATION/PROJECT/ID."
        ),
    ] = None,
    secret_file: SecretFileOption = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept unsigned deliveries.")] = False,
    output: Annotated[
        Output | None, typer.Option("--output", "-o", help="JSON Lines, or text; JSON when stderr is not a terminal.")
    ] = None,
) -> None:
    """Receive MLflow's webhooks: each verified event has its model reconciled, and every few minutes everything is."""
    from promoter.notify.outbox import Outbox
    from promoter.webhook import Options, read_secrets
    from promoter.webhook import serve as run
    from promoter.webhook.log import Log

    secrets = read_secrets(secret_file or [], os.environ)
    if not secrets and not insecure:
        raise UsageError(
            "no secret to verify deliveries with",
            hint="name a file with --secret-file, set PROMOTER_WEBHOOK_SECRET, or take unsigned ones: --insecure",
        )
    in_json = not sys.stderr.isatty() if output is None else output is Output.JSON
    log = Log(in_json)
    source = source_of(config, repo, branch, path, Outbox(lambda text: log("notice", detail=text), lasting=True))
    options = Options(
        secrets=() if insecure else secrets,
        host=host,
        port=port,
        health_port=health_port,
        interval=interval,
        workers=workers,
        pipeline=_pipeline(act, pipeline, branch),
        in_json=in_json,
    )
    run(source, options)


@webhook.command()
def register(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where MLflow reaches the receiver: https://…/mlflow")],
    name: Annotated[str, typer.Option("--name", help="The webhook's name; one of that name is updated.")] = NAME,
    secret_file: SecretFileOption = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Deliveries are not signed.")] = False,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Have MLflow call this URL when an alias, a tag or a version is set. The secret is the first that serve knows."""
    from promoter.cli.text import webhook_text
    from promoter.webhook import read_secrets
    from promoter.webhook.register import register as apply

    secrets = read_secrets(secret_file or [], os.environ)
    if not secrets and not insecure:
        raise UsageError("no secret to sign deliveries with", hint="name a file with --secret-file, or: --insecure")
    secret = None if insecure else secrets[0].decode()
    registered = apply(_webhooks(config), name, url, secret)
    print_value(output, registered, webhook_text)


@webhook.command("list")
def list_(config: ConfigOption = None, output: OutputOption = Output.TEXT) -> None:
    """Print the webhooks that MLflow knows."""
    from promoter.cli.text import webhooks_text

    print_value(output, _webhooks(config).list(), webhooks_text)


@webhook.command("test")
def send_test(name: NameArgument = NAME, config: ConfigOption = None, output: OutputOption = Output.TEXT) -> None:
    """Have MLflow send an example event now, and print what came of it."""
    from promoter.cli.text import tested_text
    from promoter.webhook.register import test as run

    tested = run(_webhooks(config), name)
    print_value(output, tested, tested_text)
    raise typer.Exit(ExitCode.DONE if tested.success else ExitCode.UNREACHABLE)


@webhook.command()
def delete(name: NameArgument = NAME, config: ConfigOption = None) -> None:
    """Remove a webhook from MLflow."""
    from promoter import output as out

    known = _webhooks(config)
    found = known.named(name)
    known.delete(found)
    out.say(f"deleted {found.name} ({found.id})")


def _pipeline(act: Act, name: str | None, ref: str) -> Pipeline | None:
    from promoter.webhook.dispatch import System, pipeline

    if (act is Act.RUN) != (name is None):
        raise UsageError(
            f"--act {act} {'takes no' if name else 'needs a'} --pipeline", hint="see promoter webhook serve --help"
        )
    return None if name is None else pipeline(System(act.value), name, ref, os.environ)


def _webhooks(config: Path | None) -> Webhooks:
    from promoter.model_registry import Webhooks

    clients = clients_here(config)
    return Webhooks.from_environ(os.environ, tracking_uri=clients.config.tracking_uri if clients else None)
