"""Which token a request to the host of a repository carries. One order, for git and for every API of the host:

1. the variable for the purpose: PROMOTER_GIT_TOKEN for git, commits, pull requests and notices, PROMOTER_DISPATCH_TOKEN for
   starting pipelines;
2. the password in the repository's URL, for git and for commits through GitHub's API;
3. the host's own: for GitHub a GitHub App's installation token, GITHUB_TOKEN, GH_TOKEN; for Azure DevOps SYSTEM_ACCESSTOKEN,
   AZURE_DEVOPS_EXT_PAT.

The host's own go to that host: GITHUB_SERVER_URL's or github.com, Azure DevOps Services or SYSTEM_COLLECTIONURI's. The variable
for git goes to the hosts in PROMOTER_GIT_HOSTS, and without that list to the same hosts as the hosts' own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from urllib.parse import urlsplit

from promoter.errors import AuthError
from promoter.hosting.hosts import HOSTS
from promoter.models import ForgeKind
from promoter.transport.credential import PLAIN_HTTP, Credential, hosts, origins

GIT_HOSTS = "PROMOTER_GIT_HOSTS"


class Purpose(StrEnum):
    """What a token is for: the variable that comes first."""

    GIT = "PROMOTER_GIT_TOKEN"
    DISPATCH = "PROMOTER_DISPATCH_TOKEN"


def git_token(url: str, environ: Mapping[str, str]) -> Credential | None:
    """PROMOTER_GIT_TOKEN, bound to its hosts; None if it is not set. `url` is the address that it is about to be sent to."""
    value = environ.get(Purpose.GIT)
    if not value:
        return None
    bind = (
        f"if it is meant for that host, name it where the token is set: {GIT_HOSTS}={urlsplit(url).netloc.rpartition('@')[2]}"
    )
    return Credential(value, _bound(_git_addresses(url, environ), environ), None, Purpose.GIT, bind)


def own_token(kind: ForgeKind, environ: Mapping[str, str], url: str = "") -> Credential | None:
    """The host's own token, None when the environment has none. `url`: an organization of Azure DevOps may have its own host.

    Raises:
        UsageError: a GitHub App is only partly configured, or its key can't be used.
        AuthError, UnreachableError: GitHub does not give the App a token.
    """
    host, where = HOSTS[kind], own_origins(kind, environ, url)
    bind = f"name the server where the token is set: {host.bind}"
    if app := host.app_token(environ):
        return Credential(app, where, None, "the GitHub App's token", bind)
    named = ((name, environ.get(name)) for name in host.variables)
    return next((Credential(value, where, None, name, bind) for name, value in named if value), None)


def for_git(host: str, environ: Mapping[str, str], url: str, username: str) -> Credential | None:
    """The own token of the forge that has this host name, for its Git server; raises as `own_token`."""
    for kind, one in HOSTS.items():
        if one.has(host, environ) and (token := own_token(kind, environ, url)):
            return one.for_git(token, username)
    return None


def own_origins(kind: ForgeKind, environ: Mapping[str, str], url: str = "") -> frozenset[str]:
    """Where the host's own token may be sent."""
    return _bound(HOSTS[kind].servers(url, environ), environ)


def token(kind: ForgeKind, environ: Mapping[str, str], place: str, url: str) -> Credential:
    """The token for requests to the API at `url` about `place`.

    Raises:
        AuthError: there is none, or GitHub does not give the App one.
        UsageError, UnreachableError: as `own_token`.
    """
    return _found(kind, git_token(url, environ) or own_token(kind, environ, url), place, Purpose.GIT)


def dispatch_token(kind: ForgeKind, environ: Mapping[str, str], place: str, url: str) -> Credential:
    """The token for starting a pipeline at `url`, an address from the command line. Raises as `token`."""
    found = None
    if value := environ.get(Purpose.DISPATCH):
        found = Credential(value, _bound([url], environ), None, Purpose.DISPATCH)
    elif own := own_token(kind, environ, url):
        found = replace(own, origins=own.origins | _bound([url], environ))
    return _found(kind, found, place, Purpose.DISPATCH)


def granting(environ: Mapping[str, str], url: str) -> Mapping[str, str]:
    """The environment with the host of `url` among PROMOTER_GIT_HOSTS: the operator named that repository."""
    known = hosts(environ.get(GIT_HOSTS, "")) or {urlsplit(one).netloc for one in _git_addresses("", environ)}
    host = urlsplit(url).netloc.rpartition("@")[2] if "://" in url else ""
    return {**environ, GIT_HOSTS: " ".join(sorted(filter(None, {*known, host})))}


def names(kind: ForgeKind, purpose: Purpose = Purpose.GIT) -> str:
    """The variables that may hold a token, for hints."""
    app = ["a GitHub App's variables"] if kind is ForgeKind.GITHUB else []
    *others, last = [str(purpose), *app, *HOSTS[kind].variables]
    return f"{', '.join(others)} or {last}"


def _found(kind: ForgeKind, found: Credential | None, place: str, purpose: Purpose) -> Credential:
    if found is None:
        raise AuthError(f"no token for {place}", hint=f"set {names(kind, purpose)}")
    return HOSTS[kind].for_api(found)


def _bound(addresses: Iterable[str], environ: Mapping[str, str]) -> frozenset[str]:
    return origins(addresses, environ.get(PLAIN_HTTP, ""))


def _git_addresses(url: str, environ: Mapping[str, str]) -> list[str]:
    """Of the hosts that the operator allows, with GitHub's API of each; plain http is for `origins` to decide."""
    if named := hosts(environ.get(GIT_HOSTS, "")):
        return [f"{scheme}://{prefix}{host}" for host in named for prefix in ("", "api.") for scheme in ("https", "http")]
    return [server for host in HOSTS.values() for server in host.servers(url, environ)]
