"""The command line: parse, one use-case call, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from promoter import __version__
from promoter.errors import ExitCode, PromoterError, UsageError

if TYPE_CHECKING:
    from promoter.clients import Clients
    from promoter.follow import Ending, Follower
    from promoter.models import Environment, Release
    from promoter.output import Told
    from promoter.plan import Plan
    from promoter.pull_request import Opened, Proposing
    from promoter.steps import Steps

T = TypeVar("T")

app = typer.Typer(
    name="promoter",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Takes an MLflow model version to Kubernetes through Git and Argo CD, and keeps Git true.",
)


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="promoter.yaml; by default the one in this folder or the nearest above it."),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="What stdout gets.")]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="NAME@ALIAS, NAME:VERSION, a models:/ URI, or NAME alone.")]
EnvironmentArgument = Annotated[str, typer.Argument(metavar="ENV", help="The environment, as promoter.yaml names it.")]
OfModelOption = Annotated[str | None, typer.Option("--model", help="Which model, where several have that environment.")]
ToOption = Annotated[str, typer.Option("--to", metavar="ENV", help="The environment, as promoter.yaml names it.")]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Where Git is written by pull request: stay until it is merged.")
]
RenderOption = Annotated[
    bool, typer.Option("--render/--no-render", help="Build the overlay before and after, and show the difference.")
]


def main() -> None:
    """The console script: errors become one message, one hint and their exit code."""
    try:
        app()
    except PromoterError as error:
        from promoter.output import complain

        complain(error, in_json=_asked_for_json(sys.argv))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.UNEXPECTED)


def _asked_for_json(argv: list[str]) -> bool:
    joined = " ".join(argv)
    return any(option in joined for option in ("-o json", "-ojson", "--output json", "--output=json"))


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def model(
    reference: ModelArgument,
    digest: Annotated[bool, typer.Option("--digest", help="Read every file and compute the content digest.")] = False,
    github_output: Annotated[
        bool, typer.Option("--github-output", help="Also set step outputs of a GitHub Actions job.")
    ] = False,
    azure_variables: Annotated[
        bool, typer.Option("--azure-variables", help="Also set output variables of an Azure Pipelines step.")
    ] = False,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print what a model version is: where from, what it takes and gives, how large."""
    from promoter import output as out
    from promoter.describe import facts as read
    from promoter.show import model_text

    facts = read(_clients_here(config), reference, os.environ, digest=digest)
    _print(output, facts, model_text)
    if github_output:
        out.github_output(facts.variables, os.environ)
    if azure_variables:
        out.azure_variables(facts.variables)


@app.command()
def plan(
    reference: ModelArgument,
    to: ToOption,
    config: ConfigOption = None,
    render: RenderOption = True,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print what promoting a model version would change, and change nothing."""
    from promoter import output as out
    from promoter.show import plan_text
    from promoter.steps import Steps

    made = _plan(_clients(config), reference, to, render, Steps(out.report))
    _print(output, made, plan_text)


@app.command()
def promote(
    reference: ModelArgument,
    to: ToOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    follow: Annotated[bool, typer.Option("--watch/--no-watch", help="Stay until it is live, or Git is restored.")] = True,
    wait: WaitOption = False,
    force: Annotated[bool, typer.Option("--force", help="Promote a quarantined version all the same.")] = False,
    config: ConfigOption = None,
    render: RenderOption = True,
    output: OutputOption = Output.TEXT,
) -> None:
    """Publish a model version's image, commit its release to an environment, and stay until it is live or Git is restored."""
    from promoter import output as out
    from promoter import releases
    from promoter.model_registry import ModelReference
    from promoter.models import Write
    from promoter.promote import promote as apply
    from promoter.promote import proposing
    from promoter.show import outcome_text, plan_text
    from promoter.steps import Steps

    clients = _clients(config)
    environment = clients.config.environment(to, ModelReference.parse(reference).name)
    follow = follow and (wait or environment.write is Write.PUSH)
    if follow and not dry_run:
        _require_argocd(clients)
    steps = Steps(out.report)
    made = _plan(clients, reference, to, render, steps, force=force)
    if dry_run:
        _print(output, made, plan_text)
        return
    outcome = apply(clients, made, steps)
    told = out.Told(made.environment.application.name, in_json=output is Output.JSON)
    follower = _follower(clients, made.environment, told, waits=wait)
    if outcome.pull_request and wait:
        work = proposing(clients, made, outcome.image)
        _await(output, told, follower, work, outcome.pull_request, outcome.release, out.plain(outcome), follow=follow)
    if not follow:
        told.outcome({**out.plain(outcome), "exit_code": ExitCode.DONE})
        _say_unless_json(output, outcome_text(outcome))
        return
    ending = follower.follow(releases.current(follower.repository, made.environment, outcome.commit))
    _end(output, told, ending, {**out.plain(outcome), "committed": outcome.commit})


@app.command()
def watch(
    environment: EnvironmentArgument,
    commit: Annotated[str | None, typer.Option("--commit", help="The commit to watch; by default the newest.")] = None,
    restoring: Annotated[bool, typer.Option("--restore/--no-restore", help="Restore Git where the release is aborted.")] = True,
    wait: WaitOption = False,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Watch the release that an environment carries until it is live, or Git is restored."""
    from promoter import output as out
    from promoter import releases

    clients = _clients(config)
    _require_argocd(clients)
    env = clients.environment(environment, model)
    told = out.Told(env.application.name, in_json=output is Output.JSON)
    follower = _follower(clients, env, told, waits=wait)
    ending = follower.follow(releases.current(follower.repository, env, commit), restoring=restoring)
    _end(output, told, ending)


@app.command()
def rollback(
    environment: EnvironmentArgument,
    to: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="Which version; by default the one before.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    follow: Annotated[bool, typer.Option("--watch/--no-watch", help="Stay until it is live.")] = True,
    wait: WaitOption = False,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Put an earlier release back into an environment."""
    from promoter import output as out
    from promoter.models import Write
    from promoter.rollback import plan_rollback, proposing_rollback
    from promoter.rollback import rollback as apply
    from promoter.show import opened_text, rollback_text

    clients = _clients(config)
    env = clients.environment(environment, model)
    follow = follow and (wait or env.write is Write.PUSH)
    if follow:
        _require_argocd(clients)
    told = out.Told(env.application.name, in_json=output is Output.JSON)
    follower = _follower(clients, env, told)
    planned = plan_rollback(follower.repository, env, to)
    out.say(rollback_text(planned))
    if not yes and not _confirmed():
        raise typer.Exit(ExitCode.REFUSED)
    if env.write is Write.PULL_REQUEST:
        work = proposing_rollback(follower.repository, clients.forge(env.application), planned)
        opened = work.run()
        release = planned.target.release
        if opened and wait:
            _await(output, told, follower, work, opened, release, {"release": release, "pull_request": opened}, follow=follow)
        told.outcome({"exit_code": ExitCode.DONE, "commit": None, "release": release, "pull_request": opened})
        _say_unless_json(output, opened_text(opened))
        return
    committed = apply(follower.repository, planned)
    out.say(f"committed {committed.commit.sha}")
    if not follow:
        told.outcome({"exit_code": ExitCode.DONE, "commit": committed.commit.sha, "release": committed.release})
        return
    ending = follower.follow(committed, restoring=False)
    _end(output, told, ending)


@app.command()
def reconcile(
    environments: Annotated[list[str] | None, typer.Argument(metavar="[ENV]...", help="By default every environment.")] = None,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Compare alias, Git and cluster, and do what is missing: restore after an abort, promote where an alias moved on."""
    from promoter import output as out
    from promoter.reconcile import Reconciler, exit_code
    from promoter.show import reconciled_text

    clients = _clients(config)
    _require_argocd(clients)
    done = Reconciler(clients, out.report, in_json=output is Output.JSON).run(_chosen(clients, environments, model))
    code = exit_code(done)
    if output is Output.JSON:
        out.event("outcome", {"exit_code": code, "environments": done})
    else:
        out.data(reconciled_text(done))
    raise typer.Exit(code)


@app.command()
def status(
    environments: Annotated[list[str] | None, typer.Argument(metavar="[ENV]...", help="By default every environment.")] = None,
    model: OfModelOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print what the alias says, what Git says and what runs; exit code 30 where they disagree."""
    from promoter.show import status_text
    from promoter.status import exit_code
    from promoter.status import status as read

    clients = _clients(config)
    standings = read(clients, _chosen(clients, environments, model))
    _print(output, standings, status_text)
    raise typer.Exit(exit_code(standings))


@app.command()
def history(
    environment: EnvironmentArgument,
    model: OfModelOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Releases at most.")] = 20,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the releases that an environment carried, newest first, from its commits' trailers."""
    from promoter.history import history as read
    from promoter.show import history_text

    clients = _clients(config)
    entries = read(clients, clients.environment(environment, model), limit)
    _print(output, entries, history_text)


@app.command()
def schema() -> None:
    """Print the JSON Schema of promoter.yaml."""
    from promoter import config
    from promoter import output as out

    out.data(config.schema())


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where everything is made; replaced on the next run.")] = Path(
        "demo"
    ),
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster", help="On the cluster of KUBECONFIG and ARGOCD_SERVER instead of a sandbox; needs the next three."
        ),
    ] = False,
    git_url: Annotated[
        str | None, typer.Option("--git-url", help="A repository that Argo CD reads; a branch of it is made and removed.")
    ] = None,
    registry: Annotated[
        str | None, typer.Option("--registry", help="Container registry, as host and prefix; the images stay there.")
    ] = None,
    base_image: Annotated[
        str | None, typer.Option("--base-image", help="An image that serves the model in /opt/model; promoter builds none yet.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep branch, namespace and Application on the cluster.")] = False,
) -> None:
    """Tell the whole story: three versions of a model are promoted, the last is aborted and Git restored."""
    from promoter import demo as story

    if cluster:
        story.demo_on_cluster(folder, story.options(git_url, registry, base_image, keep=keep))
    elif git_url or registry or base_image or keep:
        raise UsageError("--git-url, --registry, --base-image and --keep are of a demo on a cluster", hint="add --cluster")
    else:
        story.demo(folder)


def _print(output: Output, value: T, text: Callable[[T], str]) -> None:
    from promoter import output as out

    if output is Output.JSON:
        out.as_json(value)
    else:
        out.data(text(value))


def _say_unless_json(output: Output, text: str) -> None:
    from promoter import output as out

    if output is not Output.JSON:
        out.data(text)


def _end(output: Output, told: Told, ending: Ending, before: Mapping[str, object] | None = None) -> NoReturn:
    """How a release that was followed ended; `before` is what was known of it before that."""
    from promoter import output as out
    from promoter.show import ending_text

    told.outcome({**(before or {}), **out.plain(ending)})
    _say_unless_json(output, ending_text(ending))
    raise typer.Exit(ending.exit_code)


def _require_argocd(clients: Clients) -> None:
    if not clients.argocd_server:
        hint = "set ARGOCD_SERVER and ARGOCD_AUTH_TOKEN, or commit without watching: --no-watch"
        raise UsageError("no Argo CD is configured to watch the release", hint=hint)


def _chosen(clients: Clients, names: list[str] | None, model: str | None) -> list[Environment]:
    """The environments of these names (all, without names), in the file's order."""
    config = clients.config
    for name in names or ():
        config.environment(name, model) if model else config.named(name)
    wanted = [env for env in config.environments if not names or env.name in names]
    return [env for env in wanted if model in (None, env.model.name)]


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("a rollback wants to be confirmed, and there is no terminal to ask", hint="confirm it with --yes")
    return typer.confirm("Commit this?", err=True)


def _follower(clients: Clients, environment: Environment, told: Told, *, waits: bool = False) -> Follower:
    from promoter.follow import Follower

    return Follower(clients, environment, told.verdict, told.say, waits=waits)


def _await(
    output: Output,
    told: Told,
    follower: Follower,
    work: Proposing,
    opened: Opened,
    release: Release,
    before: Mapping[str, object],
    *,
    follow: bool,
) -> NoReturn:
    """Waits for the merge of a pull request and, where it is to be watched, for the end of what it brought."""
    from promoter import releases

    told.say(f"{opened.done} {opened.url}: {opened.title}")
    ended = follower.merge(work, opened)
    if ended.merged is None or not follow:
        told.outcome({**before, "exit_code": ended.exit_code, "merged": ended.merged, "note": ended.detail})
        _say_unless_json(output, ended.detail)
        raise typer.Exit(ended.exit_code)
    told.say(ended.detail)
    committed = releases.merged(follower.repository, follower.environment, ended.merged, release)
    _end(output, told, follower.follow(committed), {**before, "merged": ended.merged})


def _plan(clients: Clients, reference: str, to: str, render: bool, steps: Steps, *, force: bool = False) -> Plan:
    from promoter.model_registry import ModelReference
    from promoter.plan import plan as make

    wanted = ModelReference.parse(reference)
    environment = clients.environment(to, wanted.name)
    return make(clients, environment, wanted, steps, rendering=render, force=force)


def _clients(path: Path | None) -> Clients:
    from promoter import config
    from promoter.clients import Clients

    return Clients(config.load(path or config.find(Path.cwd())), os.environ)


def _clients_here(path: Path | None) -> Clients | None:
    """None where there is no promoter.yaml: some commands do with the environment's variables alone."""
    from promoter import config

    if path is None and not any((folder / config.FILE).is_file() for folder in (Path.cwd(), *Path.cwd().parents)):
        return None
    return _clients(path)
