"""One model version: what it is."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from promoter.cli.common import clients_here, print_value
from promoter.cli.options import ConfigOption, ModelArgument, Output, OutputOption


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

    facts = read(clients_here(config), reference, os.environ, digest=digest)
    print_value(output, facts, model_text)
    if github_output:
        out.github_output(facts.variables, os.environ)
    if azure_variables:
        out.azure_variables(facts.variables)
