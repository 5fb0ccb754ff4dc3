"""What the tests of pull requests share: a forge server for a bare repository, and how promoter.yaml names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from promoter.hosting.forge import Address, Forge, connect
from promoter.hosting.hosts import HOSTS
from promoter.models import ForgeKind
from promoter.transport.credential import Credential, origins
from tests.support.forge_server import TOKEN, ForgeServer

KINDS = (ForgeKind.GITHUB, ForgeKind.AZURE_DEVOPS)


def variables(server: ForgeServer) -> dict[str, str]:
    """The token, and that it is for this server."""
    return {"PROMOTER_GIT_TOKEN": TOKEN, "PROMOTER_GIT_HOSTS": urlsplit(server.github).netloc}


def address(server: ForgeServer, kind: ForgeKind) -> Address:
    if kind is ForgeKind.GITHUB:
        return Address(kind, server.github, "org", "repository")
    return Address(kind, server.azure, "project", "repository")


def settings(server: ForgeServer, kind: ForgeKind) -> str:
    """The `forge:` section of promoter.yaml."""
    found = address(server, kind)
    return f"\nforge:\n  kind: {kind}\n  api-url: {found.api_url}\n  repository: {found.place}\n"


def client(server: ForgeServer, kind: ForgeKind, token: str = TOKEN, slept: list[float] | None = None) -> Forge:
    """A client that waits in no time; `slept` gets what it waited."""
    found = address(server, kind)
    credential = HOSTS[kind].for_api(Credential(token, origins([found.api_url])))
    return connect(found, lambda: credential, (slept if slept is not None else []).append)


def edit(file: Path, *changes: tuple[str, str], more: str = "") -> None:
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text + more)


def outcome(events: str) -> dict[str, Any]:
    """The last of the JSON Lines that promoter printed."""
    found = json.loads(events.splitlines()[-1])
    assert isinstance(found, dict)
    return found
