"""A group of environments on the command line: what a run is about to do to it, and how that ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import typer

from promoter.cli.common import confirmed, print_value, say_unless_json
from promoter.cli.options import Output
from promoter.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from promoter.commands.group import Group, GroupOutcome
    from promoter.commands.plan import Plan
    from promoter.commands.waves import Wishes
    from promoter.models import Environment
    from promoter.promotion.clients import Clients


def plan_group(clients: Clients, environments: Sequence[Environment], reference: str, wishes: Wishes, output: Output) -> None:
    """Prints what promoting a version to the group would change, wave by wave."""
    from promoter import output as out
    from promoter.commands.waves import Waves, resolved
    from promoter.model_registry import ModelReference

    group = _group(clients, environments, output)
    plans = Waves(group, wishes, out.report).plans(resolved(group, ModelReference.parse(reference)))
    print_value(output, plans, plans_text, diff=True)


def promote_group(
    clients: Clients,
    environments: Sequence[Environment],
    reference: str,
    wishes: Wishes,
    output: Output,
    *,
    waits: bool,
    syncs: bool,
) -> NoReturn:
    """Promotes a version to the group, wave by wave, and ends as that did."""
    from promoter import output as out
    from promoter.commands.waves import Waves, resolved
    from promoter.model_registry import ModelReference

    group = _group(clients, environments, output, waits=waits, syncs=syncs)
    outcome = Waves(group, wishes, out.report).promote(resolved(group, ModelReference.parse(reference)))
    _end(output, outcome)


def rollback_group(
    clients: Clients, environments: Sequence[Environment], version: str | None, output: Output, *, yes: bool, waits: bool
) -> NoReturn:
    """Puts an earlier release back into every environment of the group, the last wave first, and ends as that did."""
    from promoter import output as out
    from promoter.cli.text import already_text, rollback_text
    from promoter.commands.go_back import plan_back, roll_back

    group = _group(clients, environments, output, waits=waits)
    planned = plan_back(group, version)
    for one in (one for wave in planned for one in wave):
        out.say(already_text(one) if one.already else rollback_text(one))
    if any(not one.already for wave in planned for one in wave) and not yes and not confirmed("rollback"):
        raise typer.Exit(ExitCode.REFUSED)
    _end(output, roll_back(group, planned))


def require_watched(*, follow: bool = True, plan: str = "", live: str | None = None) -> None:
    """Options that make no sense for a group.

    Raises:
        UsageError: one of them is there.
    """
    if not follow:
        hint = "leave --no-watch out; a run that is ended is finished by promoter reconcile"
        raise UsageError("a group is promoted to in waves, and each wave is watched", hint=hint)
    if live:
        raise UsageError("--from takes what is live in one environment to another one", hint="name the version: MODEL:VERSION")
    if plan:
        raise UsageError("--plan is the hash of one environment's plan, not of a group's", hint="promote without --plan")


def outcome_text(outcome: GroupOutcome) -> str:
    """A line for each environment, and how it ended."""
    from promoter.output import table

    rows = [
        (f"wave {one.wave}  {one.environment}" + (f" ({one.region})" if one.region else ""), one.detail)
        for one in outcome.environments
    ]
    heading = f"{outcome.model} in {outcome.group}: {outcome.detail}"
    return "\n".join([heading, *([table(rows)] if rows else [])]) + "\n"


def plans_text(plans: Sequence[Plan]) -> str:
    """Each environment's plan under its wave."""
    from promoter.cli.text import plan_text

    parts = []
    for one in plans:
        group = one.environment.group
        region = f" ({group.region})" if group and group.region else ""
        parts.append(f"wave {group.wave if group else 1}: {one.environment.name}{region}\n\n{plan_text(one)}")
    return "\n".join(parts)


def _end(output: Output, outcome: GroupOutcome) -> NoReturn:
    from promoter import output as out
    from promoter.cli import summary

    if output is Output.JSON:
        out.outcome(out.plain(outcome))
    say_unless_json(output, outcome_text(outcome))
    if outcome.waiting:
        names = " ".join(one.environment for one in outcome.environments[:1])
        out.say(f"hint: what is left is done by promoter reconcile {outcome.group or names}, as soon as it can be")
    summary.conclude(summary.grouped(outcome))
    raise typer.Exit(outcome.exit_code)


def _group(
    clients: Clients, environments: Sequence[Environment], output: Output, *, waits: bool = False, syncs: bool = False
) -> Group:
    from functools import partial

    from promoter import output as out
    from promoter.commands.group import Group

    progress = partial(out.Progress, in_json=output is Output.JSON)
    say = progress(environments[0].group.name if environments[0].group else "").say
    return Group(clients, environments, progress, say, waits=waits, syncs=syncs)
