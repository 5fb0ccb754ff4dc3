"""What writes to an environment, or stays until a release has ended; and the plan of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from promoter.cli.common import clients_of, confirmed, print_value, require_argocd, say_unless_json, source_of
from promoter.cli.ending import await_merge, end
from promoter.cli.options import (
    BranchOption,
    ConfigOption,
    EnvironmentArgument,
    FromOption,
    ModelArgument,
    OfModelOption,
    Output,
    OutputOption,
    OverrideOption,
    PathOption,
    PlanOption,
    ReasonOption,
    RenderOption,
    RepoOption,
    SyncOption,
    TagOption,
    ToOption,
    TrailerOption,
    WaitOption,
)
from promoter.cli.run import RUN
from promoter.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from promoter.commands.plan import Plan
    from promoter.commands.rollback import Rollback
    from promoter.models import Environment
    from promoter.output import Progress
    from promoter.promotion.clients import Clients
    from promoter.promotion.follow import Follower
    from promoter.promotion.gates.override import Overrides
    from promoter.promotion.record import Made
    from promoter.promotion.steps import Steps


def plan(
    reference: ModelArgument,
    to: ToOption,
    live: FromOption = None,
    config: ConfigOption = None,
    tag: TagOption = "",
    render: RenderOption = True,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print what promoting a model version would change, and change nothing."""
    from promoter import output as out
    from promoter.cli import waves
    from promoter.promotion.steps import Steps

    clients = clients_of(config)
    if group := _group_of(clients, reference, to):
        from promoter.commands.waves import Wishes

        waves.require_watched(live=live)
        waves.plan_group(clients, group, reference, Wishes(rendering=render, tag=tag), output)
        return
    _print_plan(output, _plan(clients, reference, to, render, Steps(out.report), tag=tag, live=live))


def promote(
    reference: ModelArgument,
    to: ToOption,
    live: FromOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    follow: Annotated[bool, typer.Option("--watch/--no-watch", help="Stay until it is live, or Git is restored.")] = True,
    wait: WaitOption = False,
    sync: SyncOption = False,
    force: Annotated[bool, typer.Option("--force", help="Promote even if the version is quarantined.")] = False,
    override: OverrideOption = None,
    reason: ReasonOption = "",
    plan: PlanOption = "",
    tag: TagOption = "",
    trailer: TrailerOption = None,
    config: ConfigOption = None,
    render: RenderOption = True,
    output: OutputOption = Output.TEXT,
) -> None:
    """Publish a model version's image, commit its release to an environment, and stay until it is live or Git is restored."""
    from promoter import output as out
    from promoter.cli import summary, waves
    from promoter.cli.text import outcome_text
    from promoter.commands import plan_hash
    from promoter.commands.promote import promote as apply
    from promoter.commands.promote import proposing
    from promoter.model_registry import ModelReference
    from promoter.promotion import releases
    from promoter.promotion.gates.override import of as override_of
    from promoter.promotion.record import Made
    from promoter.promotion.steps import Steps

    expected = plan_hash.checked(plan) if plan else ""
    clients = clients_of(config, trailer or (), reason)
    if group := _group_of(clients, reference, to):
        from promoter.commands.waves import Wishes

        wishes = Wishes(force=force, rendering=render, tag=tag, overrides=override_of(override or (), reason, clients.actor))
        waves.require_watched(follow=follow or dry_run, plan=plan, live=live)
        if dry_run:
            waves.plan_group(clients, group, reference, wishes, output)
            return
        require_argocd(clients)
        waves.promote_group(clients, group, reference, wishes, output, waits=wait, syncs=sync)
    follow = follow and _stays(clients.config.environment(to, ModelReference.parse(reference).name), wait=wait)
    if follow and not dry_run:
        require_argocd(clients, or_else="commit without watching: --no-watch")
    steps = Steps(out.report)
    overrides = override_of(override or (), reason, clients.actor)
    made = _plan(clients, reference, to, render, steps, force=force, tag=tag, overrides=overrides, live=live)
    if expected:
        plan_hash.require_same(made, expected)
    if dry_run:
        _print_plan(output, made)
        return
    outcome = apply(clients, made, steps, pinned=bool(expected))
    progress = out.Progress(made.environment.application.name, in_json=output is Output.JSON)
    known = Made(made.gates, outcome.steps)
    follower = _follower(clients, made.environment, progress, waits=wait, syncs=sync, made=known)
    if outcome.pull_request and wait:
        work = proposing(clients, made, outcome.image, pinned=bool(expected))
        await_merge(output, progress, follower, work, outcome.pull_request, outcome.release, out.plain(outcome), follow=follow)
    if not follow:
        progress.outcome({**out.plain(outcome), "exit_code": ExitCode.DONE})
        say_unless_json(output, outcome_text(outcome))
        summary.conclude(summary.committed(made.environment, outcome))
        return
    if outcome.commit:
        RUN.follows(clients.config, made.environment, outcome.commit, config)
    committed = releases.current(follower.repository, made.environment, outcome.commit)
    RUN.follows(clients.config, made.environment, committed.commit.sha, config)
    ending = follower.follow(committed)
    end(output, progress, made.environment, ending, {**out.plain(outcome), "committed": outcome.commit}, outcome.steps)


def watch(
    environment: EnvironmentArgument,
    commit: Annotated[str | None, typer.Option("--commit", help="The commit to watch; by default the newest.")] = None,
    restoring: Annotated[bool, typer.Option("--restore/--no-restore", help="Restore Git if the release is aborted.")] = True,
    wait: WaitOption = False,
    sync: SyncOption = False,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Watch the release that an environment deploys until it is live, or Git is restored."""
    from promoter import output as out
    from promoter.promotion import releases

    clients = clients_of(config)
    require_argocd(clients)
    env = clients.environment(environment, model)
    progress = out.Progress(env.application.name, in_json=output is Output.JSON)
    follower = _follower(clients, env, progress, waits=wait, syncs=sync)
    committed = releases.current(follower.repository, env, commit)
    RUN.follows(clients.config, env, committed.commit.sha, config)
    ending = follower.follow(committed, restoring=restoring)
    end(output, progress, env, ending)


def rollback(
    environment: EnvironmentArgument,
    to: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="Which version; by default the one before.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    follow: Annotated[bool, typer.Option("--watch/--no-watch", help="Stay until it is live.")] = True,
    wait: WaitOption = False,
    sync: SyncOption = False,
    trailer: TrailerOption = None,
    reason: ReasonOption = "",
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Put an earlier release back into an environment. Safe to repeat: to go back further, name the version."""
    from promoter import output as out
    from promoter.cli.text import already_text, rollback_text
    from promoter.commands.rollback import plan_rollback
    from promoter.commands.rollback import rollback as apply
    from promoter.models import Write
    from promoter.promotion.freezes import held_up

    clients = clients_of(config, trailer or (), reason)
    if group := clients.config.group(environment, model):
        from promoter.cli import waves

        waves.require_watched(follow=follow)
        require_argocd(clients)
        waves.rollback_group(clients, group, to, output, yes=yes, waits=wait)
    env = clients.config.environment(environment, model)
    follow = follow and _stays(env, wait=wait)
    if follow:
        require_argocd(clients, or_else="commit without watching: --no-watch")
    env = clients.with_source(env)
    progress = out.Progress(env.application.name, in_json=output is Output.JSON)
    follower = _follower(clients, env, progress, syncs=sync)
    planned = plan_rollback(follower.repository, env, to)
    out.say(already_text(planned) if planned.already else rollback_text(planned))
    if clients.argocd_server and (note := held_up(env.application, lambda: clients.argocd().sync_windows(env.application))):
        out.say(note)
    if not planned.already and not yes and not confirmed("rollback"):
        raise typer.Exit(ExitCode.REFUSED)
    if env.write is Write.PULL_REQUEST and not planned.already:
        _propose_rollback(output, progress, follower, planned, wait=wait, follow=follow)
        return
    committed = apply(follower.repository, planned)
    if not planned.already:
        out.say(f"committed {committed.commit.sha}")
    RUN.follows(clients.config, env, committed.commit.sha, config)
    if not follow:
        progress.outcome({"exit_code": ExitCode.DONE, "commit": committed.commit.sha, "release": committed.release})
        return
    ending = follower.follow(committed, restoring=False)
    end(output, progress, env, ending)


def reconcile(
    environments: Annotated[list[str] | None, typer.Argument(metavar="[ENV]...", help="By default every environment.")] = None,
    model: OfModelOption = None,
    config: ConfigOption = None,
    repo: RepoOption = None,
    branch: BranchOption = "main",
    path: PathOption = ".",
    output: OutputOption = Output.TEXT,
) -> None:
    """Compare alias, Git and cluster, and do what is missing: restore after an abort, promote where an alias moved on."""
    from promoter import output as out
    from promoter.cli import summary
    from promoter.cli.text import reconciled_text
    from promoter.commands.reconcile import Reconciler, exit_code

    clients = source_of(config, repo, branch, path).clients() if repo else clients_of(config)
    require_argocd(clients)
    progress = partial(out.Progress, in_json=output is Output.JSON)
    done = Reconciler(clients, out.report, progress).run(clients.config.chosen(environments or (), model))
    code = exit_code(done)
    if output is Output.JSON:
        out.outcome({"exit_code": code, "environments": done})
    else:
        out.data(reconciled_text(done))
    summary.conclude(summary.reconciled(done, code))
    raise typer.Exit(code)


def changed(
    environments: Annotated[list[str] | None, typer.Argument(metavar="[ENV]...", help="By default every environment.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="COMMIT", help="Only what changed after this commit.")] = None,
    commit: Annotated[str | None, typer.Option("--commit", help="As of this commit; by default the newest.")] = None,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the environments whose release came by a commit that nobody watches: for a pipeline that watches merges."""
    from promoter import output as out
    from promoter.cli.text import changed_text
    from promoter.commands.changed import changed as read
    from promoter.output import ci

    clients = clients_of(config)
    found = read(clients, clients.config.chosen(environments or (), model), since=since, commit=commit)
    print_value(output, found, changed_text)
    ci.outputs({"environments": out.json_text(found)})


def _print_plan(output: Output, made: Plan) -> None:
    from promoter import output as out
    from promoter.cli import summary
    from promoter.cli.text import plan_text
    from promoter.commands.plan_hash import plan_hash
    from promoter.promotion.checks import checks

    if output is Output.JSON:
        print_value(output, {**out.plain(made), "hash": plan_hash(made), "checks": checks(made.version)}, str)
    else:
        print_value(output, made, plan_text, diff=True)
    summary.conclude(summary.planned(made, plan_text(made)))


def _group_of(clients: Clients, reference: str, to: str) -> tuple[Environment, ...]:
    """The environments of the group that `to` names for this model, the first wave first; empty if it names none."""
    from promoter.model_registry import ModelReference

    return clients.config.group(to, ModelReference.parse(reference).name)


def _stays(environment: Environment, *, wait: bool) -> bool:
    """Whether there is something to watch before this command ends: what is proposed has first to be merged."""
    from promoter.models import Write

    return wait or environment.write is Write.PUSH


def _follower(
    clients: Clients,
    environment: Environment,
    progress: Progress,
    *,
    waits: bool = False,
    syncs: bool = False,
    made: Made | None = None,
) -> Follower:
    from promoter.promotion.follow import Follower

    return Follower(
        clients, environment, progress.verdict, progress.say, waits=waits, syncs=syncs, made=made, on_look=progress.look
    )


def _propose_rollback(
    output: Output, progress: Progress, follower: Follower, planned: Rollback, *, wait: bool, follow: bool
) -> None:
    from promoter.cli import summary
    from promoter.cli.text import opened_text
    from promoter.commands.rollback import proposing_rollback
    from promoter.promotion.announce import Announcer

    forge = follower.clients.forge(planned.environment.application)
    work = proposing_rollback(follower.repository, forge, planned)
    opened, release = work.run(), planned.target.release
    Announcer(follower.clients, planned.environment).proposed(release, opened, planned.current.release)
    known = {"environment": planned.environment.name, "release": release, "commit": None, "pull_request": opened}
    if opened and wait:
        await_merge(output, progress, follower, work, opened, release, known, follow=follow)
    progress.outcome({**known, "exit_code": ExitCode.DONE})
    say_unless_json(output, opened_text(opened))
    if opened:
        summary.conclude(summary.proposed(planned.environment, release, opened.url, f"{opened.done} {opened.url}"))


def _plan(
    clients: Clients,
    reference: str,
    to: str,
    render: bool,
    steps: Steps,
    *,
    force: bool = False,
    tag: str = "",
    overrides: Overrides | None = None,
    live: str | None = None,
) -> Plan:
    """`live`: the environment in which the version and image are live that are meant."""
    from promoter.commands.live import live_in
    from promoter.commands.plan import plan as make
    from promoter.model_registry import ModelReference
    from promoter.promotion.gates.override import NONE

    wanted = ModelReference.parse(reference)
    environment = clients.environment(to, wanted.name)
    made = partial(make, clients, environment, steps=steps, rendering=render, force=force, overrides=overrides or NONE)
    if live is None:
        return made(wanted, tag=tag)
    if tag:
        raise UsageError("--from and --tag each name an image", hint="leave one out")
    require_argocd(clients, or_else=f"promote the version by its number: {wanted.name}:VERSION")
    source = live_in(clients, live, wanted)
    planned = made(source.reference, version=source.version, tag=source.tag)
    source.require_same(planned)
    return planned
