"""Requests to a channel's address, which may be a secret itself: errors show scheme and host, and no redirect is followed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from promoter.errors import UnreachableError, UsageError
from promoter.notify.notice import one_line
from promoter.transport.credential import PLAIN_HTTP, Credential, origin, origins
from promoter.transport.session import Http, Limits

LIMITS = Limits(connect=3.0, read=5.0, body=5.0, total=10.0)
"""Seconds. A promotion does not wait for them, and a process that ends less long than these: see `Outbox`."""

_LONGEST_ANSWER = 256 * 1024
_SAID = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is what came of the body, up to a limit."""

    status: int
    text: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def value(self) -> Any:
        """The body as JSON, None if it is not JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    def get(self, key: str) -> Any:
        """A member of the body's JSON object, None if it does not exist."""
        value = self.value
        return value.get(key) if isinstance(value, dict) else None


class Endpoint:
    """What is reached at `url`, called `name` in errors."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str] | None = None, limits: Limits = LIMITS) -> None:
        self.name, self.host = name, host_of(url)
        self._url = url
        self._http = Http(name, self.host, headers=headers, limits=limits, secret_path=True)

    def send(
        self,
        method: str,
        path: str = "",
        *,
        body: Any = None,
        data: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        token: Credential | None = None,
        retry_lost: bool = False,
    ) -> Answer:
        """The answer, whatever its status; `path` is below the address. 429 and 5xx are tried again while there is time.

        `body` is sent as JSON, `data` as it is. `retry_lost`: may be carried out twice, so it is sent again if its answer got
        lost.

        Raises:
            UnreachableError: no answer, or an incomplete one.
        """
        content = data if body is None else as_json(body)
        given = {"Content-Type": "application/json; charset=utf-8"} if content is not None else {}
        if token is not None:
            given["Authorization"] = token.authorization(self._url + path)
        response = self._http.request(
            method,
            self._url + path,
            data=content,
            params=params,
            headers={**given, **(headers or {})},
            retry=True,
            retry_lost=retry_lost,
        )
        return Answer(response.status_code, response.content[:_LONGEST_ANSWER].decode("utf-8", "replace"))

    def refusal(self, answer: Answer, reason: str = "") -> UnreachableError:
        """The error for a refusal; `reason` replaces the body's text."""
        words = one_line(reason or answer.text, _SAID) or "no reason given"
        return UnreachableError(f"{self.name} at {self.host} answered {answer.status}: {words}", hint="see docs/notices.md")


def as_json(value: Any) -> bytes:
    """In UTF-8, also where a text holds half of a surrogate pair."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def host_of(url: str) -> str:
    """Scheme and host of a URL: all that is ever shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def require_https(url: str, variable: str, plain_http: str = "") -> str:
    """Returns the URL if it is an https one, or of this machine, or of a host in the list `plain_http`.

    Raises:
        UsageError: it is not. No more of its value is shown than the host.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not url.isprintable() or " " in url or parts.scheme not in ("http", "https"):
        raise UsageError(f"{variable} does not contain a URL", hint="write the whole address into it: https://…")
    if origin(url) not in origins([url], plain_http):
        hint = f"whoever listens on the way could use it: write https://…, or allow it: {PLAIN_HTTP}={host_of(url)[7:]}"
        raise UsageError(f"{variable} is not https", hint=hint)
    return url
