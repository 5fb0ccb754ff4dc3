"""Which token a request to the host of a repository carries. One order, for git and for every API of the host:

1. the variable for the purpose: PROMOTER_GIT_TOKEN for git, commits, pull requests and notices, PROMOTER_DISPATCH_TOKEN for
   starting pipelines;
2. the password in the repository's URL, for git and for commits through GitHub's API;
3. the host's own: for GitHub a GitHub App's installation token, GITHUB_TOKEN, GH_TOKEN; for Azure DevOps SYSTEM_ACCESSTOKEN,
   AZURE_DEVOPS_EXT_PAT.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import urlsplit

from promoter.errors import AuthError
from promoter.hosting.github_app import installation_token
from promoter.models import ForgeKind

JOB_TOKEN = "SYSTEM_ACCESSTOKEN"  # noqa: S105 - the name of a variable
_OWN = {
    ForgeKind.GITHUB: ("GITHUB_TOKEN", "GH_TOKEN"),
    ForgeKind.AZURE_DEVOPS: (JOB_TOKEN, "AZURE_DEVOPS_EXT_PAT"),
}


class Purpose(StrEnum):
    """What a token is for: the variable that comes first."""

    GIT = "PROMOTER_GIT_TOKEN"
    DISPATCH = "PROMOTER_DISPATCH_TOKEN"


def is_github(host: str, environ: Mapping[str, str]) -> bool:
    """Whether the environment's GitHub tokens belong to `host`: to GITHUB_SERVER_URL's host, or to github.com."""
    return host == (urlsplit(environ.get("GITHUB_SERVER_URL", "")).hostname or "github.com")


def own_token(kind: ForgeKind, environ: Mapping[str, str]) -> str | None:
    """The host's own token, None when the environment has none.

    Raises:
        UsageError: a GitHub App is only partly configured, or its key can't be used.
        AuthError, UnreachableError: GitHub does not give the App a token.
    """
    app = installation_token(environ) if kind is ForgeKind.GITHUB else None
    return app or next((value for name in _OWN[kind] if (value := environ.get(name))), None)


def token(kind: ForgeKind, environ: Mapping[str, str], place: str, purpose: Purpose = Purpose.GIT) -> str:
    """The token for requests to the API about `place`.

    Raises:
        AuthError: there is none, or GitHub does not give the App one.
        UsageError, UnreachableError: as `own_token`.
    """
    if found := environ.get(purpose) or own_token(kind, environ):
        return found
    raise AuthError(f"no token for {place}", hint=f"set {names(kind, purpose)}")


def names(kind: ForgeKind, purpose: Purpose = Purpose.GIT) -> str:
    """The variables that may hold a token, for hints."""
    app = ["a GitHub App's variables"] if kind is ForgeKind.GITHUB else []
    *others, last = [str(purpose), *app, *_OWN[kind]]
    return f"{', '.join(others)} or {last}"


def azure_authorization(token: str) -> str:
    """A job's token and one of Entra are JWTs and Bearer tokens; a personal access token is a password without a user name."""
    if token.startswith("eyJ") and token.count(".") == 2:
        return f"Bearer {token}"
    return f"Basic {base64.b64encode(f':{token}'.encode()).decode()}"
