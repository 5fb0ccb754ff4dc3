"""check: what would keep a promotion from succeeding, and how to fix it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from promoter.cli.common import clients_of, print_value
from promoter.cli.options import ConfigOption, OfModelOption, Output, OutputOption

if TYPE_CHECKING:
    from promoter.commands.check import Checked


def check(
    environments: Annotated[list[str] | None, typer.Argument(metavar="[ENV]...", help="By default every environment.")] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only what needs no network: files and what they render to.")
    ] = False,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Look for what would keep a promotion from succeeding, and print how to fix it; exit code by the first error."""
    from promoter.commands.check import check as look
    from promoter.output import say

    clients = clients_of(config)
    clients.config.require_valid()
    checked = look(clients, clients.config.chosen(environments or (), model), offline=offline, say=say)
    print_value(output, checked, _text)
    raise typer.Exit(checked.exit_code)


def _text(checked: Checked) -> str:
    lines = [f"ok       {what}" for what in checked.passed]
    lines += [f"secret   {one.name}: may be sent to {', '.join(one.origins) or 'no place'}" for one in checked.credentials]
    for one in checked.findings:
        lines += [f"{'error' if one.exit_code else 'warning':8} {one.where}: {one.problem}", f"         fix: {one.fix}"]
    return "\n".join(lines)
