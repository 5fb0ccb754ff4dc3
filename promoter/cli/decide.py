"""What a person decides: that a version is not wanted, or that nothing is promoted for now; and what takes that back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from promoter.cli.common import clients_of, confirmed
from promoter.cli.options import ConfigOption, OfModelOption, Output, OutputOption, TrailerOption
from promoter.errors import ExitCode, PromoterError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from promoter.commands.freeze import Freezing
    from promoter.commands.reject import Rejection
    from promoter.model_registry import ModelReference
    from promoter.models import Environment
    from promoter.promotion.clients import Clients

_Environments = Annotated[list[str] | None, typer.Argument(metavar="[ENV]...", help="The environments, or --all.")]
_All = Annotated[bool, typer.Option("--all", help="Every environment of promoter.yaml.")]


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

    clients = clients_of(config, trailer or (), reason)
    _require(reason)
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
    found = list(clients.config.environments.of(parsed.name))
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


def freeze(
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for everybody who comes after.")],
    environments: _Environments = None,
    every: _All = False,
    model: OfModelOption = None,
    until: Annotated[
        str,
        typer.Option("--until", metavar="TIME", help="When it ends by itself: 2026-12-01T06:00:00Z, or 2h, 3d from now on."),
    ] = "",
    trailer: TrailerOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Promote nothing to an environment until that time, or until it is thawed. Rollbacks, rejections and restores go on."""
    from datetime import UTC, datetime

    from promoter.commands.freeze import Freezing
    from promoter.commands.freeze import until as parsed

    clients = clients_of(config, trailer or (), reason)
    _require(reason)
    end = parsed(until, datetime.now(UTC)) if until else None
    wanted = [Freezing(one, clients.actor, reason, end) for one in _meant(clients, environments, model, every=every)]
    _freeze(clients, wanted, output)


def thaw(
    environments: _Environments = None,
    every: _All = False,
    model: OfModelOption = None,
    trailer: TrailerOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Take a freeze back: what waits is promoted by reconcile and the receiver at their next look."""
    from promoter.commands.freeze import Freezing

    clients = clients_of(config, trailer or ())
    meant = _meant(clients, environments, model, every=every)
    _freeze(clients, [Freezing(one, clients.actor, thaw=True) for one in meant], output)


def _require(reason: str) -> None:
    if not reason.strip():
        raise UsageError("--reason is empty", hint="say why: the next person reads it in promotion.yaml and in the commit")


def _meant(clients: Clients, names: list[str] | None, model: str | None, *, every: bool) -> list[Environment]:
    if bool(names) is every:
        raise UsageError(
            "name environments, or --all" if not names else "--all and names of environments exclude each other",
            hint="for example promoter freeze production --reason TEXT",
        )
    found = clients.config.chosen(names or (), model)
    if not found:
        raise UsageError(f"promoter.yaml has no environment of model {model!r}", hint="check the model's name")
    return found


def _freeze(clients: Clients, wanted: list[Freezing], output: Output) -> None:
    from promoter import output as out
    from promoter.cli import summary
    from promoter.cli.text import frozen_text
    from promoter.commands.freeze import exit_code
    from promoter.commands.freeze import freeze as apply

    done = [apply(clients, one) for one in wanted]
    code = exit_code(done)
    if output is Output.JSON:
        out.outcome({"exit_code": code, "environments": done})
    else:
        out.data(frozen_text(done))
    summary.conclude(summary.frozen(done, wanted[0].reason, code))
    raise typer.Exit(code)
