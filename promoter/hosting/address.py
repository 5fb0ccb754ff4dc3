"""Which forge, and which repository there, the address of a Git remote means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from promoter.errors import UsageError, without_credentials
from promoter.hosting.hosts import HOSTS, Address
from promoter.models import ForgeKind

_ALWAYS_GITHUB = ("github.com", "ssh.github.com")  # also where GITHUB_SERVER_URL names another
_SCP = re.compile(r"(?:[^@/]+@)?(?P<host>[^:/]+):(?P<path>.+)")


def address_of(
    url: str,
    environ: Mapping[str, str],
    *,
    kind: ForgeKind | None = None,
    api_url: str | None = None,
    repository: str | None = None,
) -> Address:
    """The forge of the repository at `url`; the keyword arguments are the configured values, which come first.

    github.com, the GitHub Enterprise Server that GITHUB_SERVER_URL and GITHUB_API_URL name, and Azure DevOps Services are known
    by their hosts.

    Raises:
        UsageError: the address does not show it, and it is not configured.
    """
    host, path = host_and_path(url)
    kind = kind or kind_of(host, environ)
    if kind is None:
        raise UsageError(
            f"cannot determine the forge from URL {without_credentials(url)}",
            hint="set forge.kind and forge.api-url in promoter.yaml",
        )
    api_url = api_url.rstrip("/") if api_url else None
    found = HOSTS[kind].address(url, host, path, environ, api_url)
    if repository:
        owner, _, name = repository.partition("/")
        found = Address(found.kind, found.api_url, owner, name)
    if not found.api_url:
        raise UsageError(
            f"{without_credentials(url)} does not contain the address of its forge's API",
            hint="set forge.api-url in promoter.yaml",
        )
    if not found.owner or not found.repository:
        raise UsageError(
            f"{without_credentials(url)} does not contain the repository's name on {found.api_url} it is",
            hint="set forge.repository in promoter.yaml: owner/name, or project/repository",
        )
    return found


def kind_of(host: str, environ: Mapping[str, str]) -> ForgeKind | None:
    """The forge that has this host name; None for an unknown one."""
    if host in _ALWAYS_GITHUB:
        return ForgeKind.GITHUB
    return next((kind for kind, one in HOSTS.items() if one.has(host, environ)), None)


def host_and_path(url: str) -> tuple[str, list[str]]:
    """Host in lower case, and the path's parts without `.git`."""
    split: SplitResult | None = urlsplit(url) if "://" in url else None
    if split is not None:
        host, path = split.hostname or "", split.path
    else:
        scp = _SCP.fullmatch(url)
        host, path = (scp["host"].lower(), scp["path"]) if scp else ("", url)
    return host, [unquote(part) for part in path.strip("/").removesuffix(".git").split("/") if part]
