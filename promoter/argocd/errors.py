"""Error answers of Argo CD, or of something in front of it, as errors with a hint.

The body is `{"error": ..., "code": <gRPC code>, "message": ...}` (grpc-gateway), in logs and streams nested as
`{"error": {"grpc_code", "http_code", "message"}}`, and plain text for a path or a content type that it does not take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import requests

from promoter.errors import AuthError, ExitCode, PromoterError, UnexpectedAnswerError, UnreachableError

if TYPE_CHECKING:
    from promoter.transport.session import Http

_BUSY = frozenset({429, 502, 503, 504})
_NOT_FOUND, _PERMISSION_DENIED, _UNAUTHENTICATED = 5, 7, 16


class ArgoCDError(PromoterError):
    """Argo CD refused a call. `code` is the gRPC code of its answer, if it has one."""

    def __init__(self, message: str, *, hint: str = "", code: int | None = None) -> None:
        self.code = code
        super().__init__(message, hint=hint)


class NotFoundError(ArgoCDError):
    """No such Application in this project, or no such object below it."""


class UnwatchableError(UnexpectedAnswerError):
    """A Rollout that takes its pods from another object: its state does not show which release they run."""


class SyncWindowError(ArgoCDError):
    """A sync window does not let anybody sync now."""

    exit_code = ExitCode.NEEDS_PERSON


def of_response(response: requests.Response, http: Http, path: str, target: str) -> PromoterError | None:
    """The error that an answer means, or None if it is what was asked for. `target` is `project/application`, or empty."""
    if response.status_code in _BUSY:
        return UnreachableError(
            f"{http.name} answers HTTP {response.status_code} to {path}", hint="it may be restarting: try again"
        )
    sent = response.headers.get("Content-Type", "")
    usual = ("application/json", "text/event-stream") if response.ok else ("application/json", "text/plain")
    if 300 <= response.status_code < 400 or not sent.startswith(usual):
        return _not_argo_cd(response, http)
    return None if response.ok else _refused(response, path.rpartition("/")[2], target)


def _not_argo_cd(response: requests.Response, http: Http) -> AuthError:
    """An identity-aware proxy sends a login page, or the way to one."""
    what = "with a redirect" if 300 <= response.status_code < 400 else "with something else than JSON"
    return AuthError(
        f"{http.name} at {http.base_url} answered HTTP {response.status_code} {what}",
        hint="something in front of Argo CD asks for a login, or the path is wrong: use an address that accepts API tokens",
    )


def _refused(response: requests.Response, call: str, target: str) -> PromoterError:
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        body = {"message": response.text.strip() or response.reason}
    nested = body.get("error")
    return of_body(nested if isinstance(nested, dict) else body, response.status_code, call, target)


def of_body(detail: Mapping[str, Any], status: int, call: str, target: str) -> PromoterError:
    """The error for a refusal's body; `status` is the HTTP status, unless the body knows better."""
    code, status = detail.get("grpc_code", detail.get("code")), detail.get("http_code", status)
    reason = detail.get("message", "")
    message = f"Argo CD refused {call}{f' for {target}' if target else ''}: {reason}"
    if "blocked by sync window" in reason:
        return SyncWindowError(
            message, hint="wait for the window to pass, or ask its owner: argocd proj windows list", code=code
        )
    if status == 401 or code == _UNAUTHENTICATED:
        return AuthError(message, hint="ARGOCD_AUTH_TOKEN is wrong, expired or revoked")
    if status == 403 or code == _PERMISSION_DENIED:
        return AuthError(message, hint=_needed(call, target))
    if status == 404 or code == _NOT_FOUND or "not found as part of application" in reason:
        return NotFoundError(message, hint="check the Application's name, project and namespace", code=code)
    return ArgoCDError(f"{message} (HTTP {status})", code=code)


def _needed(call: str, target: str) -> str:
    action = "sync" if call in {"sync", "operation"} else "get"
    resource = "logs" if call == "logs" else "applications"
    return f"the token's role needs: p, <role>, {resource}, {action}, {target or '<project>/<application>'}, allow"
