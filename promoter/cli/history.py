"""What environments deployed, what became of it, where a model is now, and how two environments differ."""

from __future__ import annotations

from typing import Annotated

import typer

from promoter.cli.common import clients_of, print_value
from promoter.cli.options import ConfigOption, OfModelOption, Output, OutputOption
from promoter.errors import ExitCode, UsageError


def history(
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="The environment, as promoter.yaml names it.")
    ] = None,
    commit: Annotated[
        str | None, typer.Argument(metavar="[COMMIT]", help="All that Git has of the release that came with this commit.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Of this model; without ENV in all its environments.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of every environment of every model.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Releases at most.")] = 20,
    reasons: Annotated[bool, typer.Option("--reason", help="Show in full why releases were promoted and undone.")] = False,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the releases that environments deployed, newest first: what became of each, and who asked for it."""
    from promoter.cli.history_text import Form, account_text, history_text
    from promoter.commands import history as read
    from promoter.output import say

    if (environment and every) or not (environment or every or model):
        raise UsageError("history needs one of ENV, --model NAME and --all", hint="for example: promoter history production")
    clients = clients_of(config)
    form = Form.here(reasons=reasons)
    if environment is None:
        entries, code = read.histories(clients, clients.config.chosen((), model), limit, say)
        print_value(output, entries, lambda found: history_text(found, form))
        raise typer.Exit(code)
    placed = clients.environment(environment, model)
    if commit is not None:
        print_value(output, read.account(clients, placed, commit, say), lambda found: account_text(found, form))
        return
    print_value(output, read.history(clients, placed, limit, say), lambda found: history_text(found, form))


def diff(
    first: Annotated[str, typer.Argument(metavar="ENV", help="The environment to compare from.")],
    second: Annotated[str, typer.Argument(metavar="ENV", help="The environment to compare with.")],
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print how the versions that two environments deploy differ: metrics, parameters, signature, requirements, image."""
    from promoter.cli.history_text import diff_text
    from promoter.commands.diff import diff as compare

    clients = clients_of(config)
    compared = compare(clients, clients.environment(first, model), clients.environment(second, model))
    print_value(output, compared, diff_text)
    raise typer.Exit(compared.exit_code)


def verify(
    target: Annotated[
        str, typer.Argument(metavar="ENV|IMAGE", help="An environment, or an image: REPOSITORY:TAG or REPOSITORY@DIGEST.")
    ],
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Check the records next to an image against their signatures, Git and Argo CD: by default of what ENV deploys."""
    from promoter.cli.history_text import verified_text
    from promoter.commands.verify import exit_code, verify_environment, verify_image

    clients = clients_of(config)
    if "/" in target or ":" in target:
        found = verify_image(clients, target)
    else:
        found = verify_environment(clients, clients.environment(target, model))
    print_value(output, found, verified_text)
    raise typer.Exit(exit_code(found))


def where(
    reference: Annotated[str, typer.Argument(metavar="MODEL", help="NAME, NAME:VERSION or NAME@ALIAS.")],
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print in which environments a model is deployed, since when and from which run; of a version also where it was."""
    from promoter.cli.history_text import Form, where_text
    from promoter.commands.where import exit_code
    from promoter.commands.where import where as read
    from promoter.model_registry import ModelReference

    places = read(clients_of(config), ModelReference.parse(reference))
    form = Form.here()
    print_value(output, places, lambda found: where_text(found, form))
    raise typer.Exit(exit_code(places) or ExitCode.DONE)
