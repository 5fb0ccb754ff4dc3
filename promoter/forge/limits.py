"""A request to a forge: asked again when the forge says when, and its refusals in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests
from requests.auth import AuthBase

from promoter.errors import UnreachableError
from promoter.session import Http

_PATIENCE = 300.0  # seconds that all waits for one request may take together
_UNSAID = 60.0  # GitHub's advice where it names no time: "wait for at least one minute"


class Token(AuthBase):
    """Sends the Authorization header that `value` gives at that moment: a token may be renewed while a merge is waited for."""

    def __init__(self, value: Callable[[], str]) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._value()
        return request


class Requests:
    """Requests to one forge; `sleep` waits for some seconds."""

    def __init__(self, http: Http, sleep: Callable[[float], None]) -> None:
        self._http, self._sleep = http, sleep

    def send(self, method: str, path: str, *, json: Any = None, params: Any = None) -> requests.Response:
        """The answer, once the forge takes the request: what it limits by rate is not carried out, so that it may be repeated.

        Raises:
            UnreachableError: no answer, or the limit lasts longer than one waits.
        """
        waited = 0.0
        while True:
            response = self._http.request(method, path, json=json, params=params)
            wait = _wait(response)
            if wait is None:
                return response
            if waited + wait > _PATIENCE:
                raise UnreachableError(
                    f"{self._http.name} limits the rate of requests for another {wait:.0f} s: {said(response)}",
                    hint="run it again after that, or use a token with a higher limit",
                )
            waited += wait
            self._sleep(wait)


def said(response: requests.Response) -> str:
    """What the answer's body says, in one line."""
    body = json_of(response)
    message = body.get("message") if isinstance(body, dict) else None
    errors = body.get("errors") if isinstance(body, dict) else None
    details = [_detail(error) for error in errors] if isinstance(errors, list) else []
    return " ".join(f"{message or response.reason or response.status_code}: {'; '.join(details)}".rstrip(": ").split())


def json_of(response: requests.Response) -> Any:
    """The body as JSON, None where it is none."""
    try:
        return response.json()
    except requests.exceptions.JSONDecodeError:
        return None


def _detail(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    return str(error.get("message") or " ".join(str(error[key]) for key in ("resource", "field", "code") if error.get(key)))


def _wait(response: requests.Response) -> float | None:
    """Seconds until a request that was limited by its rate may be sent again (GitHub: "Rate limits for the REST API")."""
    if response.status_code not in (403, 429, 503):
        return None
    after = response.headers.get("Retry-After", "")
    if after.isdigit():
        return float(after)
    if response.headers.get("X-RateLimit-Remaining") == "0":
        reset = response.headers.get("X-RateLimit-Reset", "")
        return max(1.0, float(reset) - time.time()) if reset.isdigit() else _UNSAID
    limited = response.status_code == 429 or "secondary rate limit" in said(response).lower()
    return _UNSAID if limited else None
