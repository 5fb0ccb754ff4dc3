"""One model version: what it is, and its image."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from promoter.cli.common import clients_here, clients_of, print_value
from promoter.cli.options import ConfigOption, ModelArgument, Output, OutputOption
from promoter.errors import UsageError


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
    from promoter.cli.text import model_text
    from promoter.commands.model import facts as read
    from promoter.output import ci

    facts = read(clients_here(config), reference, os.environ, digest=digest)
    print_value(output, facts, model_text)
    if github_output:
        ci.github_output(facts.variables, os.environ)
    if azure_variables:
        ci.azure_variables(facts.variables)


def image(
    reference: ModelArgument,
    to: Annotated[str | None, typer.Option("--to", metavar="ENV", help="In the repository of this environment.")] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Publish one more image of the version, on today's runtime, with its own tag.")
    ] = False,
    why: Annotated[
        bool, typer.Option("--explain", help="Print why the image is reused, copied or made, and change nothing.")
    ] = False,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Find a model version's image or publish it, and print what it is; no environment is changed."""
    from promoter import output as out
    from promoter.cli.text import publication_text, reasons_text
    from promoter.commands.image import explain, publish
    from promoter.promotion.steps import Steps

    if why and rebuild:
        raise UsageError("--explain changes nothing, and --rebuild publishes", hint="leave one of them out")
    clients, steps = clients_of(config), Steps(out.report)
    if why:
        print_value(output, explain(clients, reference, steps, to=to), reasons_text)
    else:
        print_value(output, publish(clients, reference, steps, to=to, rebuild=rebuild), publication_text)
