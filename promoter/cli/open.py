"""From a terminal to the pages where people see a release."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from promoter.cli.common import clients_of, print_value
from promoter.cli.options import ConfigOption, EnvironmentArgument, OfModelOption, Output, OutputOption
from promoter.notify.links import Page


def open_(
    environment: EnvironmentArgument,
    page: Annotated[Page, typer.Argument(help="Which page.")] = Page.ARGOCD,
    browser: Annotated[
        bool | None, typer.Option("--browser/--no-browser", help="Start a browser; by default on a terminal only.")
    ] = None,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the address of a page about what an environment deploys, and open it in a browser."""
    from promoter.commands.open import Opened, address, start
    from promoter.output import say

    clients = clients_of(config)
    url = address(clients, clients.config.environment(environment, model), page)
    wanted = sys.stdout.isatty() if browser is None else browser
    started = wanted and start(url, os.environ)
    if browser and not started:
        say("no browser could be started here")
    print_value(output, Opened(page, url, started), lambda found: f"{found.url}\n")
