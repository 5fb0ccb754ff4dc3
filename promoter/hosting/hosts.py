"""What each host of repositories has of its own: what its addresses look like, which variables hold its token, where that goes.

Another host is a class here, and its line in `HOSTS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import quote, urlsplit

from promoter.hosting.github_app import installation_token
from promoter.models import ForgeKind
from promoter.transport.credential import Credential

JOB_TOKEN = "SYSTEM_ACCESSTOKEN"  # noqa: S105 - the name of a variable
_GITHUB, _AZURE = "github.com", "dev.azure.com"


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
        """The repository's page, below which the forges have their commits at `/commit/SHA`."""
        return HOSTS[self.kind].web_url(self)


class Host(Protocol):
    """`variables` may hold its token, the first that is set does; `bind` is how an operator names one more of its servers."""

    @property
    def variables(self) -> Sequence[str]: ...
    @property
    def bind(self) -> str: ...

    def has(self, host: str, environ: Mapping[str, str]) -> bool:
        """Whether this host name, in lower case, is one of its own: its tokens belong to it."""

    def address(self, url: str, host: str, path: Sequence[str], environ: Mapping[str, str], api_url: str | None) -> Address:
        """The repository at `url`, whose host and parts of a path these are; "" for what they do not show."""

    def web_url(self, address: Address) -> str:
        """The repository's page."""

    def servers(self, url: str, environ: Mapping[str, str]) -> list[str]:
        """The addresses that its token may be sent to, when it is about to be sent to `url`."""

    def app_token(self, environ: Mapping[str, str]) -> str | None:
        """A token that goes before all variables; raises as `installation_token`."""

    def for_api(self, credential: Credential) -> Credential:
        """In the form that its API takes."""

    def for_git(self, credential: Credential, username: str) -> Credential:
        """In the form that its Git server takes, with this user name for a password."""


class GitHub:
    """github.com, or the Enterprise Server that GITHUB_SERVER_URL and GITHUB_API_URL name."""

    variables = ("GITHUB_TOKEN", "GH_TOKEN")
    bind = "GITHUB_SERVER_URL=https://HOST"

    def has(self, host: str, environ: Mapping[str, str]) -> bool:
        return host == (_enterprise(environ) or _GITHUB)

    def address(self, url: str, host: str, path: Sequence[str], environ: Mapping[str, str], api_url: str | None) -> Address:
        del url
        if api_url is None and host in (_GITHUB, f"ssh.{_GITHUB}"):
            api_url = f"https://api.{_GITHUB}"
        elif api_url is None:
            named = environ.get("GITHUB_API_URL", "").rstrip("/") if host == _enterprise(environ) else ""
            api_url = named or f"https://{host}/api/v3"
        owner, name = path[-2:] if len(path) >= 2 else ("", "")
        return Address(ForgeKind.GITHUB, api_url, owner, name)

    def web_url(self, address: Address) -> str:
        api = address.api_url
        root = f"https://{_GITHUB}" if api == f"https://api.{_GITHUB}" else api.removesuffix("/api/v3")
        return f"{root}/{quote(address.owner)}/{quote(address.repository)}"

    def servers(self, url: str, environ: Mapping[str, str]) -> list[str]:
        del url
        server = urlsplit(environ.get("GITHUB_SERVER_URL") or f"https://{_GITHUB}")
        apis = [environ.get("GITHUB_API_URL", ""), environ.get("GITHUB_GRAPHQL_URL", "")]
        return [server.geturl(), server._replace(netloc=f"api.{server.netloc}").geturl(), *filter(None, apis)]

    def app_token(self, environ: Mapping[str, str]) -> str | None:
        return installation_token(environ)

    def for_api(self, credential: Credential) -> Credential:
        return replace(credential, username=None)

    def for_git(self, credential: Credential, username: str) -> Credential:
        return replace(credential, username=username)


class AzureDevOps:
    """Azure DevOps Services, and the collection that SYSTEM_COLLECTIONURI names."""

    variables = (JOB_TOKEN, "AZURE_DEVOPS_EXT_PAT")
    bind = "set PROMOTER_GIT_TOKEN and PROMOTER_GIT_HOSTS in its place"

    def has(self, host: str, environ: Mapping[str, str]) -> bool:
        del environ
        return host in (_AZURE, f"ssh.{_AZURE}") or host.endswith(".visualstudio.com")

    def address(self, url: str, host: str, path: Sequence[str], environ: Mapping[str, str], api_url: str | None) -> Address:
        """`ORG/PROJECT/_git/NAME`, `ORG/_git/NAME` (the project's name, too), or by SSH `v3/ORG/PROJECT/NAME`."""
        del environ
        if [*path[:1]] == ["v3"] and len(path) == 4:
            organization, project, name = path[1:]
            root = f"https://{_AZURE}/{quote(organization)}"
        elif "_git" in path[:-1]:
            place = path.index("_git")
            name = path[place + 1]
            above = list(path[:place])
            on_its_own_host = host.endswith(".visualstudio.com")  # the organization is in the host's name
            project = above.pop() if len(above) > (0 if on_its_own_host else 1) and above[-1] != "DefaultCollection" else name
            split = urlsplit(url)
            root = f"{split.scheme}://{split.netloc.rpartition('@')[2]}/{'/'.join(quote(part) for part in above)}".rstrip("/")
        else:
            project, name = path[-2:] if len(path) >= 2 else ("", "")
            root = ""
        return Address(ForgeKind.AZURE_DEVOPS, api_url or root, project, name)

    def web_url(self, address: Address) -> str:
        return f"{address.api_url}/{quote(address.owner)}/_git/{quote(address.repository)}"

    def servers(self, url: str, environ: Mapping[str, str]) -> list[str]:
        """With the host of `url` if it is an organization's own."""
        own = [url] if self.has(urlsplit(url).hostname or "", environ) else []
        return [f"https://{_AZURE}", *filter(None, [environ.get("SYSTEM_COLLECTIONURI", "")]), *own]

    def app_token(self, environ: Mapping[str, str]) -> str | None:
        """None: a service principal's token is in a variable."""
        del environ
        return None

    def for_api(self, credential: Credential) -> Credential:
        """A job's token and one of Entra are JWTs, and bearer tokens; a personal access token is a password without a user."""
        bearer = credential.secret.startswith("eyJ") and credential.secret.count(".") == 2
        return replace(credential, username=None if bearer else "")

    def for_git(self, credential: Credential, username: str) -> Credential:
        return credential if credential.name == JOB_TOKEN else replace(credential, username=username)


HOSTS: Mapping[ForgeKind, Host] = {ForgeKind.GITHUB: GitHub(), ForgeKind.AZURE_DEVOPS: AzureDevOps()}


def _enterprise(environ: Mapping[str, str]) -> str | None:
    """The host of GITHUB_SERVER_URL."""
    return urlsplit(environ.get("GITHUB_SERVER_URL", "")).hostname
