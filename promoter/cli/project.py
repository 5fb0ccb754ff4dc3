"""What needs no environment: the schema of promoter.yaml, and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promoter.errors import UsageError


def schema() -> None:
    """Print the JSON Schema of promoter.yaml."""
    from promoter import config
    from promoter import output as out

    out.data(config.schema())
    out.require_written()


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where everything is made; replaced on the next run.")] = Path(
        "demo"
    ),
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster", help="On the cluster of KUBECONFIG and ARGOCD_SERVER instead of a sandbox; needs the next two."
        ),
    ] = False,
    git_url: Annotated[
        str | None, typer.Option("--git-url", help="A repository that Argo CD reads; a branch of it is made and removed.")
    ] = None,
    registry: Annotated[
        str | None, typer.Option("--registry", help="Container registry, as host and prefix; the images stay there.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", help="An image with promoter.serving and what the models need; without it one is built."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep branch, namespace and Application on the cluster.")] = False,
) -> None:
    """Show the whole story: three versions of a model are promoted, the last is aborted and Git restored."""
    from promoter import demo as story
    from promoter.cli.text import ending_text

    if cluster:
        story.demo_on_cluster(folder, story.options(git_url, registry, runtime, keep=keep), ending_text)
    elif git_url or registry or runtime or keep:
        raise UsageError("--git-url, --registry, --runtime and --keep are of a demo on a cluster", hint="add --cluster")
    else:
        story.demo(folder, ending_text)
