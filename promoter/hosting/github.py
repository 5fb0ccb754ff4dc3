"""GitHub's API, as all of its clients reach it: headers, addresses of github.com and of an Enterprise Server, rate limits.

docs.github.com/rest, "Getting started with the REST API"; docs.github.com/graphql, "Forming calls".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from promoter.hosting.answers import rate_limit
from promoter.transport.credential import Credential
from promoter.transport.session import Authorization, Http, Limits

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


def api_url(environ: Mapping[str, str]) -> str:
    """The REST API: GITHUB_API_URL as GitHub Actions sets it, or github.com's."""
    return environ.get("GITHUB_API_URL", "").rstrip("/") or "https://api.github.com"


def graphql_url(api_url: str) -> str:
    """The GraphQL API of the server that has this REST API: `/api/graphql` on an Enterprise Server."""
    return f"{api_url.removesuffix('/v3')}/graphql" if api_url.endswith("/api/v3") else f"{api_url}/graphql"


def connect(
    api_url: str, token: Callable[[], Credential], *, limits: Limits | None = None, sleep: Callable[[float], None] = time.sleep
) -> Http:
    """The REST API at `api_url`; `token` is asked for each request, since an App's token may be renewed meanwhile."""
    return Http(
        "GitHub", api_url, auth=Authorization(token), headers=HEADERS, limits=limits, sleep=sleep, rate_limit=rate_limit
    )
