"""Another model, or another environment, in a repository that has a promoter.yaml: lines added to it, and new files."""

from __future__ import annotations

from promoter.commands.scaffold.lines import inserted, single
from promoter.commands.scaffold.repository import environment_entry, model_files, models_entry
from promoter.commands.scaffold.wanted import Wanted
from promoter.config.values import FILE
from promoter.errors import UsageError


def added(configuration: str, wanted: Wanted) -> dict[str, bytes]:
    """The new files, and promoter.yaml with the lines that name them; every other byte of it stays.

    Raises:
        ConfigError: promoter.yaml is not YAML.
        UsageError: it has such an environment already, or is written so that lines can't be added.
    """
    document = single(configuration, FILE)
    known = [one.get("name") for one in document.value["environments"] if one.get("model") in (None, wanted.model)]
    if twice := [name for name in wanted.environments if name in known and wanted.model in document.value["models"]]:
        raise UsageError(f"{FILE} has environment {twice[0]!r} of {wanted.model!r} already", hint="choose another name")
    environments = [line for name in wanted.environments for line in environment_entry(wanted, name)]
    text = inserted(configuration, FILE, "environments", environments)
    if wanted.model not in document.value["models"]:
        text = inserted(text, FILE, "models", models_entry(wanted))
    return {**model_files(wanted), FILE: text.encode()}
