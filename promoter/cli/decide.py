"""What a person decides about a version: that it is not wanted, or wanted after all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from promoter.cli.common import clients_of, confirmed
from promoter.cli.options import ConfigOption, Output, OutputOption, TrailerOption
from promoter.errors import ExitCode, PromoterError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from promoter.commands.reject import Rejection
    from promoter.model_registry import ModelReference
    from promoter.promotion.clients import Clients


def reject(
    reference: Annotated[str, typer.Argument(metavar="MODEL:VERSION", help="The version; NAME@ALIAS for the one it names.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for everybody who comes after.")],
    environments: Annotated[
        list[str] | None, typer.Option("--env", metavar="ENV", help="Only there; may be repeated. By default everywhere.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Take a rejection back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    trailer: TrailerOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Keep a version from being deployed, in every environment; where it is deployed the release before comes back."""
    from promoter import output as out
    from promoter.cli import summary
    from promoter.cli.text import rejected_text, rejection_text
    from promoter.commands.reject import plan_rejections
    from promoter.commands.reject import reject as apply

    clients = clients_of(config, trailer or ())
    if not reason.strip():
        raise UsageError("--reason is empty", hint="say why: the next person reads it in promotion.yaml and in the commit")
    wanted = _wanted(clients, reference, environments or [], reason, lift=lift)
    planned, failed = plan_rejections(clients, wanted)
    out.say(rejection_text(planned))
    if not yes and not all(one.already for one in planned) and not confirmed("reject"):
        raise typer.Exit(ExitCode.REFUSED)
    done = [*failed, *(apply(clients, one) for one in planned)]
    code = next((one.exit_code for one in done if one.exit_code), ExitCode.DONE)
    if output is Output.JSON:
        out.outcome({"exit_code": code, "environments": done})
    else:
        out.data(rejected_text(done))
    summary.conclude(summary.rejected(done, reason, code))
    raise typer.Exit(code)


def _wanted(clients: Clients, reference: str, names: list[str], reason: str, *, lift: bool) -> list[Rejection]:
    from promoter.commands.reject import Rejection
    from promoter.model_registry import ModelReference

    parsed = ModelReference.parse(reference)
    found = [one for one in clients.config.environments if one.model.name == parsed.name]
    for name in names:
        clients.config.environment(name, parsed.name)
    found = [one for one in found if not names or one.name in names]
    if not found:
        raise UsageError(f"promoter.yaml has no environment of model {parsed.name!r}", hint="check the model's name")
    version, created = _version(clients, parsed)
    return [Rejection(one, version, created, reason, clients.actor, lift) for one in found]


def _version(clients: Clients, reference: ModelReference) -> tuple[str, datetime | None]:
    """Its number and when it was created. By number it is rejected without MLflow too: then whenever it was created."""
    try:
        found = clients.model_registry.registered(reference)
        return found.version, found.created.replace(microsecond=0)
    except PromoterError:
        if reference.version is None:
            raise
        return reference.version, None
