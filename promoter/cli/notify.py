"""Notices: whether they arrive."""

from __future__ import annotations

import typer

from promoter.cli.anywhere import Commands
from promoter.cli.common import clients_of, print_value
from promoter.cli.options import ConfigOption, Output, OutputOption
from promoter.errors import ExitCode, UsageError

notify = Commands(name="notify", no_args_is_help=True, help="Notices of how promotions go: test.")


@notify.callback()
def _group() -> None:
    """A group, although it has one command."""


@notify.command("test")
def send_test(config: ConfigOption = None, output: OutputOption = Output.TEXT) -> None:
    """Send a test notice to every channel of promoter.yaml, and print what each answered; exit code 4 where one did not."""
    from promoter.cli.text import told_text
    from promoter.promotion.announce import example

    clients = clients_of(config)
    if not clients.config.notices:
        raise UsageError("promoter.yaml names no channel under notices:", hint="see docs/notices.md")
    tested = clients.notifier.test(example(clients))
    print_value(output, tested, told_text)
    raise typer.Exit(ExitCode.DONE if all(one.sent for one in tested) else ExitCode.UNREACHABLE)
