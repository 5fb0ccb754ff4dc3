"""What GitHub Actions and Azure Pipelines show in addition to the log: annotations, outputs of the step, a summary.

Both read commands from the lines that a step prints (GitHub: "Workflow commands"; Azure: "Logging commands").
They go to stderr, for stdout is data.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from promoter.errors import UsageError
from promoter.errors.redaction import clean, redact, visible

_GITHUB_CODES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_AZURE_CODES = {"%": "%AZP25", "\r": "%0D", "\n": "%0A", ";": "%3B", "]": "%5D"}
_SIGNS = re.compile("#(?=#)")
_GITHUB_COMMAND = re.compile(r"^([^\S\n]*)::", re.MULTILINE)


class Level(StrEnum):
    """How an annotation is shown."""

    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


def defused(text: str) -> str:
    """The text as a log may show it: nothing in it is a command to the pipeline that reads the log.

    GitHub takes `::name::` at the start of a line and `##[name]` anywhere for one, Azure `##vso[name]` anywhere; what pods and
    servers say is in the log as well.
    """
    if not (_on_github() or _on_azure()):
        return text
    return _SIGNS.sub("# ", _GITHUB_COMMAND.sub(r"\1: :", text))


def annotate(level: Level, message: str) -> None:
    """A message at the top of the run. Azure knows warnings and errors, not notices."""
    message = clean(message)
    if _on_github():
        _command(f"::{level}::{_escaped(message, _GITHUB_CODES)}")
    if _on_azure() and level is not Level.NOTICE:
        _command(f"##vso[task.logissue type={level}]{_escaped(' '.join(message.split()), _AZURE_CODES)}")


def outputs(values: Mapping[str, str]) -> None:
    """Values for the steps that follow, where a pipeline runs us: `exit_code` is `exit-code` on GitHub."""
    values = {name: redact(value) for name, value in values.items()}
    if os.environ.get("GITHUB_OUTPUT"):
        with _tolerant("the step's outputs"):
            github_output(values, os.environ)
    if _on_azure():
        azure_variables(values)


@contextmanager
def _tolerant(what: str) -> Iterator[None]:
    """A page that can't be written changes nothing about how the command ends."""
    try:
        yield
    except OSError as error:
        _command(f"warning: {what} can't be written: {error.strerror}")


def summarize(text: str) -> None:
    """One more part of the run's summary page, in Markdown."""
    text = clean(text.rstrip("\n")) + "\n\n"
    with _tolerant("the run's summary"):
        _summarize(text)


def _summarize(text: str) -> None:
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as page:
            page.write(text)
    if _on_azure():
        # The agent uploads it when it reads the command, which may be after our end; it empties this folder after the job.
        folder = os.environ.get("AGENT_TEMPDIRECTORY")
        with tempfile.NamedTemporaryFile(dir=folder, prefix="promoter-", suffix=".md", delete=False) as file:
            file.write(text.encode())
        _command(f"##vso[task.uploadsummary]{file.name}")


def markdown(text: str) -> str:
    """Text from anywhere as one line of Markdown: in a table cell, too, and as text only.

    Nobody is mentioned and nothing is closed by it: an `@`, and the `#` of a number, are cut off from what follows, by a space
    without width. GitHub finds both in the text that it shows, where no backslash is left.
    """
    escaped = re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(visible(text).split()))
    return re.sub(r"((?<!\w)@(?=\w)|#(?=\d))", r"\1&#8203;", escaped)


def github_output(values: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Step outputs of a GitHub Actions job.

    Raises:
        UsageError: not in such a job, or a value that the file's format can't hold on one line.
    """
    path = environ.get("GITHUB_OUTPUT")
    if not path:
        raise UsageError(
            "--github-output needs GITHUB_OUTPUT, which GitHub Actions sets", hint="leave the option out elsewhere"
        )
    for name, value in values.items():
        if "\n" in value or "\r" in value:
            raise UsageError(f"the value of {name} has a line break and can't be a step output", hint="use -o json instead")
    with Path(path).open("a", encoding="utf-8") as file:
        file.writelines(f"{name.replace('_', '-')}={value}\n" for name, value in values.items())


def azure_variables(values: Mapping[str, str]) -> None:
    """Output variables of an Azure Pipelines step."""
    for name, value in values.items():
        _command(f"##vso[task.setvariable variable={name};isOutput=true]{_escaped(value, _AZURE_CODES)}")


def _on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _on_azure() -> bool:
    return bool(os.environ.get("TF_BUILD"))


def _command(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _escaped(text: str, codes: Mapping[str, str]) -> str:
    return "".join(codes.get(char, char) for char in text)
