"""init, and the questions that it asks on a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from configparser import ConfigParser, Error
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promoter.cli.options import Output, OutputOption
from promoter.errors import ExitCode, UsageError
from promoter.errors.redaction import without_credentials
from promoter.models import Ci, Serving, Workload

if TYPE_CHECKING:
    from promoter.commands.init import Scaffold
    from promoter.commands.scaffold import Wanted


FolderArgument = Annotated[Path, typer.Argument(metavar="[DIR]", help="The repository's folder; by default this one.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", "--add-model", help="The registered model; another one where promoter.yaml exists.")
]
RegistryOption = Annotated[
    str | None, typer.Option("--registry", help="Container registry and prefix of the images: registry.example.com/models.")
]
GitOption = Annotated[
    str | None,
    typer.Option("--repo", metavar="URL", help="The repository that Argo CD reads; by default the folder's origin."),
]
TrackedBranchOption = Annotated[str, typer.Option("--branch", help="Its branch.")]
EnvironmentsOption = Annotated[
    str,
    typer.Option("--environments", "--add-environment", metavar="NAME,…", help="In the order in which a version passes them."),
]
WorkloadOption = Annotated[Workload, typer.Option("--workload", help="How a release replaces the one before it.")]
ArgoCDOption = Annotated[str, typer.Option("--argocd", metavar="HOST", help="Argo CD's address, if ARGOCD_SERVER is not set.")]
MLflowOption = Annotated[str, typer.Option("--mlflow", metavar="URL", help="MLflow, if MLFLOW_TRACKING_URI is not set.")]
ServingOption = Annotated[Serving, typer.Option("--serving", help="own: adopt overlays that exist, with a server of your own.")]
OverlayOption = Annotated[
    str, typer.Option("--overlay", metavar="DIR", help="The overlays to adopt, with {environment} in the path.")
]
ContainerOption = Annotated[
    str, typer.Option("--container", metavar="[WORKLOAD/]NAME", help="Which of their containers serves the model.")
]
CiOption = Annotated[Ci, typer.Option("--ci", help="Pipelines to write.")]
ActionOption = Annotated[str, typer.Option("--action", metavar="OWNER/REPO@REF", help="Where the pipelines find promoter.")]
DiffOption = Annotated[
    bool,
    typer.Option("--diff", help="Show what this version would change in files that an earlier one wrote; --yes writes it."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def init(
    folder: FolderArgument = Path(),
    model: ModelOption = None,
    registry: RegistryOption = None,
    repo: GitOption = None,
    branch: TrackedBranchOption = "main",
    environments: EnvironmentsOption = "staging,production",
    workload: WorkloadOption = Workload.ROLLOUT,
    argocd: ArgoCDOption = "",
    mlflow: MLflowOption = "",
    serving: ServingOption = Serving.PROMOTER,
    overlay: OverlayOption = "overlays/{environment}",
    container: ContainerOption = "",
    ci: CiOption = Ci.NONE,
    action: ActionOption = "",
    diff: DiffOption = False,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Write the files of a GitOps repository for a model, or add a model or an environment to one; overwrites nothing."""
    asks = sys.stdin.isatty() and not yes

    def wanted() -> Wanted:
        from promoter.commands.scaffold import Wanted

        return Wanted(
            model=_given(model, "--model", "Registered model in MLflow", asks=asks),
            registry=_given(registry, "--registry", "Container registry and prefix", asks=asks),
            repo=_given(repo, "--repo", "Repository that Argo CD reads", asks=asks, default=_origin(folder)),
            environments=tuple(filter(None, (name.strip() for name in environments.split(",")))),
            branch=branch,
            argocd=argocd,
            mlflow=mlflow,
            workload=workload,
            ci=ci,
            action=action or (_published() if ci is not Ci.NONE else ""),
            serving=serving,
            overlays=overlay,
            container=container,
            named=True,
        )

    if diff:
        _renew(folder, wanted, output, yes=yes, asks=asks)
    else:
        _write(folder, wanted(), output, asks=asks)


def _write(folder: Path, wanted: Wanted, output: Output, *, asks: bool) -> None:
    from promoter import output as out
    from promoter.commands import init as use_case

    scaffold = use_case.plan_init(folder, wanted)
    out.say(_tree(scaffold))
    if asks and not typer.confirm("Write these files?", err=True):
        raise typer.Exit(ExitCode.REFUSED)
    use_case.init(scaffold)
    if output is Output.JSON:
        out.as_json({"folder": str(folder), "written": sorted({*scaffold.new, *scaffold.changed})})
    else:
        out.data(_next(scaffold))


def _renew(folder: Path, wanted: Callable[[], Wanted], output: Output, *, yes: bool, asks: bool) -> None:
    from promoter import output as out
    from promoter.commands.renew import plan_renewal, renew
    from promoter.commands.scaffold.record import RECORD

    renewal = plan_renewal(folder, None if (folder / RECORD).exists() else wanted(), os.environ)
    if output is Output.TEXT:
        for one in renewal.updates:
            out.data(one.diff, diff=True)
    for one in renewal.conflicts:
        out.say(f"{one.path} stays as it is: {one.conflict}")
    count = len(renewal.updates) - len(renewal.conflicts)
    write = bool(count) and (yes or (asks and typer.confirm(f"Write {count} files?", err=True)))
    if write:
        renew(renewal)
    out.say(f"{count or 'no'} files {'were written' if write else 'would change'}")
    if output is Output.JSON:
        files = [{"path": one.path, "conflict": one.conflict, "diff": one.diff} for one in renewal.updates]
        out.as_json({"folder": str(folder), "written": write, "files": files})


def _given(value: str | None, option: str, question: str, *, asks: bool, default: str | None = None) -> str:
    if value is None and asks:
        return str(typer.prompt(question, default=default, err=True))
    if not (found := value or default):
        raise UsageError(
            f"{option} is missing", hint="run promoter init on a terminal to be asked, or see promoter init --help"
        )
    return found


def _origin(folder: Path) -> str | None:
    """The address of the remote `origin`, which a clone has."""
    parser = ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        parser.read(folder / ".git" / "config")
        address = parser.get('remote "origin"', "url", fallback=None)
        return without_credentials(address) if address and address.startswith("http") else address
    except (Error, UnicodeDecodeError):
        return None


def _published() -> str:
    """Where this very version is, if its package was built by the pipeline of a repository on GitHub."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        package = metadata("model-promoter")
    except PackageNotFoundError:  # a checkout that is not installed
        return ""
    found = re.search(r"^Source, https://github\.com/([\w.-]+/[\w.-]+)$", "\n".join(package.get_all("Project-URL") or ()), re.M)
    return f"{found[1]}@v{package['Version']}" if found else ""


def _tree(scaffold: Scaffold) -> str:
    lines = [f"{scaffold.folder.resolve()}:"]
    lines += [f"  {path}" for path in sorted(scaffold.new)]
    lines += [f"  {path} (lines are added)" for path in sorted(scaffold.changed)]
    return "\n".join(lines)


def _next(scaffold: Scaffold) -> str:
    wanted = scaffold.wanted
    first = wanted.environments[0]
    apply = f"  kubectl apply -f environments/{wanted.name}-project.yaml -f {wanted.application(first)}"
    here = "" if scaffold.folder == Path() else f"cd {scaffold.folder} && "
    return "\n".join(
        (
            f"wrote {len(scaffold.new) + len(scaffold.changed)} files; next:",
            f"  {here}git add -A && git commit -m 'Add {wanted.name}' && git push origin {wanted.branch}",
            "  promoter check",
            *((apply,) if wanted.serving is Serving.PROMOTER else ()),
            f"  promoter promote {wanted.model}@{wanted.alias(first)} --to {first}",
        )
    )
