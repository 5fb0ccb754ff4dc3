"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="promoter.yaml; by default PROMOTER_CONFIG, or the one in this folder or the nearest above it."
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]
RepoOption = Annotated[
    str | None,
    typer.Option("--repo", metavar="URL", help="Read promoter.yaml from this repository; no checkout is needed."),
]
BranchOption = Annotated[str, typer.Option("--branch", help="Its branch.")]
PathOption = Annotated[str, typer.Option("--path", help="The folder of promoter.yaml in it.")]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="NAME@ALIAS, NAME:VERSION, a models:/ URI, or NAME alone.")]
EnvironmentArgument = Annotated[str, typer.Argument(metavar="ENV", help="The environment, as promoter.yaml names it.")]
OfModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Which model, if several have that environment.")
]
ToOption = Annotated[str, typer.Option("--to", metavar="ENV", help="The environment, or the group, as promoter.yaml names it.")]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="ENV", help="The version and the image that are live in this environment; MODEL is a name."),
]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Where Git is written by pull request: stay until it is merged.")
]
SyncOption = Annotated[
    bool, typer.Option("--sync/--no-sync", help="Ask Argo CD for one sync if the Application's auto-sync is off.")
]
TrailerOption = Annotated[
    list[str] | None,
    typer.Option("--trailer", metavar="KEY=VALUE", help="Add a trailer to the commit, as Ticket=OPS-123; may be repeated."),
]
OverrideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--override", metavar="GATE", help="Let this gate's refusal pass, if gates.override allows it; with --reason."
    ),
]
PlanOption = Annotated[
    str, typer.Option("--plan", metavar="HASH", help="Refuse if anything changed since the plan whose JSON has this hash.")
]
ReasonOption = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="Why: history shows it, and the commit has it as the trailer Reason."),
]
TagOption = Annotated[
    str, typer.Option("--tag", metavar="TAG", help="An image of the version that `promoter image --rebuild` has published.")
]
RenderOption = Annotated[
    bool, typer.Option("--render/--no-render", help="Build the overlay before and after, and show the difference.")
]
