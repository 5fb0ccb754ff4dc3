"""Which forge, and which repository there, the address of a Git remote means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from promoter.errors import UsageError, without_credentials
from promoter.models import ForgeKind

_GITHUB, _AZURE = "github.com", "dev.azure.com"
_SCP = re.compile(r"(?:[^@/]+@)?(?P<host>[^:/]+):(?P<path>.+)")


@dataclass(frozen=True, slots=True)
class Address:
    """`owner` is GitHub's owner, or Azure DevOps' project. `api_url` is the root of GitHub's REST API, or the organization's
    (collection's) address. Neither has a slash at its end.
    """

    kind: ForgeKind
    api_url: str
    owner: str
    repository: str

    @property
    def place(self) -> str:
        return f"{self.owner}/{self.repository}"

    @property
    def web_url(self) -> str:
        """The repository's page, below which both forges have their commits at `/commit/SHA`."""
        if self.kind is ForgeKind.AZURE_DEVOPS:
            return f"{self.api_url}/{quote(self.owner)}/_git/{quote(self.repository)}"
        root = f"https://{_GITHUB}" if self.api_url == f"https://api.{_GITHUB}" else self.api_url.removesuffix("/api/v3")
        return f"{root}/{quote(self.owner)}/{quote(self.repository)}"


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
    kind = kind or _kind(host, environ)
    if kind is None:
        raise UsageError(
            f"cannot determine the forge from URL {without_credentials(url)}",
            hint="set forge.kind and forge.api-url in promoter.yaml",
        )
    api_url = api_url.rstrip("/") if api_url else None
    found = _github(host, path, environ, api_url) if kind is ForgeKind.GITHUB else _azure_devops(url, host, path, api_url)
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


def _kind(host: str, environ: Mapping[str, str]) -> ForgeKind | None:
    if host in (_GITHUB, f"ssh.{_GITHUB}") or (host and host == urlsplit(environ.get("GITHUB_SERVER_URL", "")).hostname):
        return ForgeKind.GITHUB
    return ForgeKind.AZURE_DEVOPS if is_azure_devops(host) else None


def is_azure_devops(host: str) -> bool:
    return host in (_AZURE, f"ssh.{_AZURE}") or host.endswith(".visualstudio.com")


def _github(host: str, path: list[str], environ: Mapping[str, str], api_url: str | None) -> Address:
    server = urlsplit(environ.get("GITHUB_SERVER_URL", "")).hostname
    if api_url is None and host in (_GITHUB, f"ssh.{_GITHUB}"):
        api_url = f"https://api.{_GITHUB}"
    elif api_url is None:
        named = environ.get("GITHUB_API_URL", "").rstrip("/") if host == server else ""
        api_url = named or f"https://{host}/api/v3"
    owner, name = path[-2:] if len(path) >= 2 else ("", "")
    return Address(ForgeKind.GITHUB, api_url, owner, name)


def _azure_devops(url: str, host: str, path: list[str], api_url: str | None) -> Address:
    """`ORG/PROJECT/_git/NAME`, `ORG/_git/NAME` (the project's name, too), or by SSH `v3/ORG/PROJECT/NAME`."""
    if path[:1] == ["v3"] and len(path) == 4:
        organization, project, name = path[1:]
        root = f"https://{_AZURE}/{quote(organization)}"
    elif "_git" in path[:-1]:
        place = path.index("_git")
        name = path[place + 1]
        above = path[:place]
        on_its_own_host = host.endswith(".visualstudio.com")  # the organization is in the host's name
        project = above.pop() if len(above) > (0 if on_its_own_host else 1) and above[-1] != "DefaultCollection" else name
        split = urlsplit(url)
        root = f"{split.scheme}://{split.netloc.rpartition('@')[2]}/{'/'.join(quote(part) for part in above)}".rstrip("/")
    else:
        project, name = path[-2:] if len(path) >= 2 else ("", "")
        root = ""
    return Address(ForgeKind.AZURE_DEVOPS, api_url or root, project, name)


def host_and_path(url: str) -> tuple[str, list[str]]:
    """Host in lower case, and the path's parts without `.git`."""
    split: SplitResult | None = urlsplit(url) if "://" in url else None
    if split is not None:
        host, path = split.hostname or "", split.path
    else:
        scp = _SCP.fullmatch(url)
        host, path = (scp["host"].lower(), scp["path"]) if scp else ("", url)
    return host, [unquote(part) for part in path.strip("/").removesuffix(".git").split("/") if part]
