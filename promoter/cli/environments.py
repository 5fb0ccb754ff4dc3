"""What environments carry and run, without changing anything."""

from __future__ import annotations

from typing import Annotated

import typer

from promoter.cli.common import chosen, clients_of, print_value
from promoter.cli.options import ConfigOption, EnvironmentArgument, OfModelOption, Output, OutputOption


def status(
    environments: Annotated[list[str] | None, typer.Argument(metavar="[ENV]...", help="By default every environment.")] = None,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the alias, the release in Git and what runs; exit code 30 if they disagree, 2, 3 or 4 if that is unknown."""
    from promoter.cli.text import status_text
    from promoter.commands.status import exit_code
    from promoter.commands.status import status as read

    clients = clients_of(config)
    standings = read(clients, chosen(clients, environments, model))
    print_value(output, standings, status_text)
    raise typer.Exit(exit_code(standings))


def gates(
    environment: EnvironmentArgument,
    reference: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="NAME@ALIAS or NAME:VERSION; by default what the alias means.")
    ] = None,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print what every gate decides about a model version; exit code 20 if one refuses it."""
    from promoter.cli import summary
    from promoter.cli.text import gates_text
    from promoter.commands.gates import asked as ask
    from promoter.errors import ExitCode
    from promoter.model_registry import ModelReference

    clients = clients_of(config)
    wanted = ModelReference.parse(reference) if reference else None
    env = clients.environment(environment, wanted.name if wanted else model)
    found = ask(clients, env, wanted or ModelReference(env.model.name))
    print_value(output, found, gates_text)
    summary.conclude(summary.asked(found))
    raise typer.Exit(ExitCode.DONE if found.allowed else ExitCode.REFUSED)
