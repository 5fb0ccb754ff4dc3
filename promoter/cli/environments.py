"""What environments carry and run, without changing anything."""

from __future__ import annotations

from typing import Annotated

import typer

from promoter.cli.common import chosen, clients_of, print_value
from promoter.cli.options import ConfigOption, OfModelOption, Output, OutputOption


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
