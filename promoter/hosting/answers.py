"""What the APIs of GitHub and Azure DevOps answer: reasons of a refusal, and how long a rate limit lasts."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from promoter.transport.boundary import whole_number

if TYPE_CHECKING:
    import requests

_OBJECT_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_DEFAULT_WAIT = 60.0  # seconds; GitHub's advice when it names no time: "wait for at least one minute"


def error_message(response: requests.Response) -> str:
    """The reason in the answer's body, in one line."""
    body = json_of(response)
    message = body.get("message") if isinstance(body, dict) else None
    errors = body.get("errors") if isinstance(body, dict) else None
    details = [_detail(error) for error in errors] if isinstance(errors, list) else []
    return " ".join(f"{message or response.reason or response.status_code}: {'; '.join(details)}".rstrip(": ").split())


def json_of(response: requests.Response) -> Any:
    """The body as JSON, None when it is not JSON."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def object_id(value: Any) -> str:
    """The id of a commit.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not _OBJECT_ID.fullmatch(value):
        raise ValueError(f"{value!r:.100} is not the id of a commit")
    return value


def rate_limit(response: requests.Response) -> float | None:
    """Seconds until a request that a rate limit refused may be sent again; None when the answer is not about a rate limit.

    docs.github.com, "Rate limits for the REST API"; learn.microsoft.com, Azure DevOps "Rate and usage limits".
    """
    if response.status_code not in (403, 429, 503):
        return None
    if (after := whole_number(response.headers.get("Retry-After", ""))) is not None:
        return float(after)
    if response.headers.get("X-RateLimit-Remaining") == "0":
        reset = whole_number(response.headers.get("X-RateLimit-Reset", ""))
        return max(1.0, reset - time.time()) if reset is not None else _DEFAULT_WAIT
    limited = response.status_code == 429 or "rate limit" in error_message(response).lower()
    return _DEFAULT_WAIT if limited else None


def _detail(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    return str(error.get("message") or " ".join(str(error[key]) for key in ("resource", "field", "code") if error.get(key)))
