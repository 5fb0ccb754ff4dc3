"""Another model, or another environment, in a repository that has a promoter.yaml: lines added to it, and new files."""

from __future__ import annotations

from promoter.commands.scaffold.repository import environment_entry, model_files, models_entry
from promoter.commands.scaffold.wanted import Wanted
from promoter.config.values import FILE
from promoter.config.yaml import Document, documents
from promoter.errors import UsageError


def added(configuration: str, wanted: Wanted) -> dict[str, bytes]:
    """The new files, and promoter.yaml with the lines that name them; every other byte of it stays.

    Raises:
        ConfigError: promoter.yaml is not YAML.
        UsageError: it has such an environment already, or is written so that lines can't be added.
    """
    document = _document(configuration)
    known = [one.get("name") for one in document.value["environments"] if one.get("model") in (None, wanted.model)]
    if twice := [name for name in wanted.environments if name in known and wanted.model in document.value["models"]]:
        raise UsageError(f"{FILE} has environment {twice[0]!r} of {wanted.model!r} already", hint="choose another name")
    environments = [line for name in wanted.environments for line in environment_entry(wanted, name)]
    text = _inserted(configuration, "environments", environments)
    if wanted.model not in document.value["models"]:
        text = _inserted(text, "models", models_entry(wanted))
    return {**model_files(wanted), FILE: text.encode()}


def _document(text: str) -> Document:
    (document,) = documents(text, FILE)
    return document


def _inserted(text: str, key: str, lines: list[str]) -> str:
    """With the lines at the end of the key's block."""
    start, end = _document(text).block((key,))
    rows = text.splitlines(keepends=True)
    if rows[start - 1].partition(":")[2].partition("#")[0].strip():
        raise UsageError(
            f"{FILE}:{start}: {key} is written on one line", hint=f"write it as a block, or add there: {lines[0].strip()}"
        )
    while end > start and (not rows[end - 1].strip() or rows[end - 1].lstrip().startswith("#")):
        end -= 1
    if not rows[end - 1].endswith("\n"):
        rows[end - 1] += "\n"
    return "".join([*rows[:end], *(f"{line}\n" for line in lines), *rows[end:]])
