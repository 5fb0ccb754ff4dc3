"""What several commands do: read the configuration, choose environments, print a value."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from promoter.cli.options import Output
from promoter.errors import NotHereError, UsageError

if TYPE_CHECKING:
    from promoter.notify.outbox import Outbox
    from promoter.promotion.clients import Clients
    from promoter.webhook import ConfigSource

T = TypeVar("T")


def print_value(output: Output, value: T, text: Callable[[T], str], *, diff: bool = False) -> None:
    """Prints the command's result on stdout, as JSON or as `text`; `diff`: the text contains unified diffs."""
    from promoter import output as out

    if output is Output.JSON:
        out.as_json(value)
    else:
        out.data(text(value), diff=diff)
    out.require_written()


def say_unless_json(output: Output, text: str) -> None:
    """The last word for people; programs got theirs as an event."""
    from promoter import output as out

    if output is not Output.JSON:
        out.data(text)


def confirmed(command: str) -> bool:
    """The answer of whoever is asked before this command commits.

    Raises:
        UsageError: nobody is there.
    """
    import typer

    if not sys.stdin.isatty():
        raise UsageError(f"{command} needs confirmation, but stdin is not a terminal", hint="confirm it with --yes")
    return typer.confirm("Commit this?", err=True)


def require_argocd(clients: Clients, *, or_else: str = "") -> None:
    """Before anything is read; `or_else` is what this command accepts instead.

    Raises:
        UsageError: Argo CD is not configured.
    """
    if not clients.argocd_server:
        hint = "set ARGOCD_SERVER and ARGOCD_AUTH_TOKEN" + (f", or {or_else}" if or_else else "")
        raise UsageError("Argo CD is not configured, so a release can't be watched", hint=hint)


def clients_of(path: Path | None, trailers: Iterable[str] = (), reason: str = "") -> Clients:
    """Of the promoter.yaml named, else of the nearest; `trailers` are KEY=VALUE, `reason` is why commits are made.

    Raises: as `config.find` and `config.load`, and UsageError if a trailer is not of this form.
    """
    from promoter import config
    from promoter.output import progress
    from promoter.promotion.clients import Clients

    given = tuple(_trailer(text) for text in trailers)
    return Clients(config.load(config_file(path)), os.environ, progress, trailers=given, reason=reason)


def config_file(path: Path | None) -> Path:
    """The promoter.yaml that is named, by an option or by PROMOTER_CONFIG, else the nearest.

    Raises:
        NotHereError: there is none.
    """
    from promoter import config

    named = os.environ.get("PROMOTER_CONFIG")
    return path or (Path(named) if named else config.find(Path.cwd()))


def _trailer(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not value.strip() or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", key):
        raise UsageError(f"--trailer {text!r} is not KEY=VALUE", hint="for example --trailer Ticket=OPS-123")
    return key, value.strip()


def source_of(path: Path | None, repo: str | None, branch: str, folder: str, outbox: Outbox | None = None) -> ConfigSource:
    """Where promoter.yaml is: here (`path`, else the nearest), or in `folder` at the tip of `branch` of `repo`.

    `outbox`: where notices of this process wait, if not in one of their own.

    Raises:
        UsageError: both are named, or there is none here.
    """
    from promoter.hosting.tokens import granting
    from promoter.notify.outbox import Outbox
    from promoter.webhook import Folder, Remote

    outbox = outbox or Outbox()
    if repo is None:
        return Folder(config_file(path), os.environ, outbox)
    if path is not None:
        raise UsageError("--config and --repo exclude each other", hint="promoter.yaml is read here, or from the repository")
    return Remote(repo, branch, folder, granting(os.environ, repo), outbox)


def clients_here(path: Path | None) -> Clients | None:
    """None without promoter.yaml: some commands need only the environment's variables."""
    try:
        return clients_of(config_file(path))
    except NotHereError:
        return None
