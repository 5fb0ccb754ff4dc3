"""What environments carry and run, without changing anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from promoter.cli.common import clients_of, print_value
from promoter.cli.options import ConfigOption, EnvironmentArgument, OfModelOption, Output, OutputOption
from promoter.errors import UsageError

if TYPE_CHECKING:
    from promoter.commands.status import EnvironmentStatus
    from promoter.models import Environment

_EVERY = 5.0
"""Seconds between two looks of `status --watch`."""


class StatusOutput(StrEnum):
    TEXT = "text"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def status(
    environments: Annotated[list[str] | None, typer.Argument(metavar="[ENV]...", help="By default every environment.")] = None,
    differing: Annotated[bool, typer.Option("--differing", help="Only those that disagree, or are unknown.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every five seconds, until Ctrl-C.")] = False,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: Annotated[StatusOutput, typer.Option("--output", "-o", help="Output format.")] = StatusOutput.TEXT,
) -> None:
    """Print the alias, the release in Git and what runs; exit code 30 if they disagree, 2, 3 or 4 if that is unknown."""
    from promoter import output as out
    from promoter.commands.overview import MANY, overview
    from promoter.commands.status import exit_code
    from promoter.commands.status import status as read

    clients = clients_of(config)
    wanted = clients.config.chosen(environments or (), model)

    def looking() -> Iterator[EnvironmentStatus]:
        found = overview(clients, wanted) if len(wanted) > MANY else iter(read(clients, wanted))
        return (one for one in found if not (differing and one.agree))

    def look() -> tuple[EnvironmentStatus, ...]:
        return tuple(looking())

    if watch and output in (StatusOutput.JSON, StatusOutput.YAML):
        raise UsageError(f"--watch can't go with -o {output}", hint="leave one of them out")
    if watch:
        _watch(lambda: _text(output, look()))
    if output is StatusOutput.TEXT and len(wanted) > MANY:
        standings = _as_it_learns(looking(), wanted)
        raise typer.Exit(exit_code(standings))
    standings = look()
    match output:
        case StatusOutput.JSON:
            out.as_json(standings)
        case StatusOutput.YAML:
            out.as_yaml(standings)
        case _:
            out.data(_text(output, standings))
    out.require_written()
    raise typer.Exit(exit_code(standings))


def _as_it_learns(found: Iterator[EnvironmentStatus], environments: Sequence[Environment]) -> tuple[EnvironmentStatus, ...]:
    """Prints a line for each as soon as it is known, then the notes of those that do not agree."""
    from promoter import output as out
    from promoter.cli.history_text import Form
    from promoter.cli.status_text import Lines

    lines, standings = Lines.of(environments, Form.here()), []
    out.data(lines.head)
    for one in found:
        out.data(lines.row(one))
        standings.append(one)
    if notes := lines.notes(standings):
        out.data(notes)
    out.require_written()
    return tuple(standings)


def _text(output: StatusOutput, standings: tuple[EnvironmentStatus, ...]) -> str:
    from promoter.cli.history_text import Form
    from promoter.cli.status_text import status_text, wide_text

    return wide_text(standings) if output is StatusOutput.WIDE else status_text(standings, Form.here())


def _watch(look: Callable[[], str]) -> NoReturn:
    """Shows what `look` returns again and again: on a terminal in its place, in a log when it has changed."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from promoter import output as out

    console = Console()
    if not console.is_terminal:
        shown = ""
        while True:
            if (text := look()) != shown:
                out.data(shown := text)
                out.require_written()
            time.sleep(_EVERY)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(Text(out.clean(look())), refresh=True)
            time.sleep(_EVERY)


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
