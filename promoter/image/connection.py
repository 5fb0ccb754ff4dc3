"""HTTP with one image repository of a container registry: authentication, redirects, and errors."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError
from promoter.image.credentials import HUB_HOST, registry_login
from promoter.image.reference import DOCKER_HUB, ImageReference
from promoter.image.registry_token import TOKEN_SERVERS, Asking, authorization
from promoter.transport.boundary import ODD, Server, odd_answers_are_errors
from promoter.transport.credential import PLAIN_HTTP, origin
from promoter.transport.session import RETRIED, Http, Limits

if TYPE_CHECKING:
    import requests

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# The specification has no code for quotas and full disks: these are the words of Harbor, Artifactory, Docker's registry and S3.
_FULL = re.compile(r"quota|no space left|storage limit|disk full|insufficient storage", re.IGNORECASE)


@odd_answers_are_errors
class Connection:
    """See `RegistryRepository` for the arguments. Not for use by several threads at once."""

    def __init__(
        self, reference: ImageReference, insecure: Collection[str], env: Mapping[str, str] | None, limits: Limits | None
    ) -> None:
        self._reference, self._insecure, self._env = reference, frozenset(insecure), env
        host = HUB_HOST if reference.registry == DOCKER_HUB else reference.registry
        scheme = "http" if self._plain_http_allowed(host) else "https"
        base_url = f"{scheme}://{host}/v2/{reference.repository}"
        self._http = Http(f"container registry {reference.registry}", base_url, limits=limits)
        self._authorization: str | None = None

    @property
    def name(self) -> str:
        """The repository, as people write it."""
        return self._reference.name

    @property
    def server(self) -> Server:
        """Who is asked, for errors about its answers."""
        return self._http

    @property
    def base_url(self) -> str:
        return self._http.base_url

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request (`Http.request`), done again once with a new authorization when the registry asks for one.

        Raises:
            AuthError: promoter can't provide the authorization that it asks for.
            UnreachableError: no answer at all.
        """
        response = self._send(method, path, **options)
        if response.status_code != HTTPStatus.UNAUTHORIZED or not self._is_own(path):
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        response.close()
        login = registry_login(self._reference.registry, self._env)
        env = os.environ if self._env is None else self._env
        allowed = env.get(PLAIN_HTTP, ""), env.get(TOKEN_SERVERS, "")
        asking = Asking(self.name, self.base_url, self._plain_http_allowed, *allowed)
        self._authorization = authorization(challenge, login, asking)
        return self._send(method, path, **options)

    def follow(self, method: str, path: str) -> requests.Response:
        """A read that the registry may hand over to its storage; raises as `request` and `location`."""
        for _ in range(_MOST_REDIRECTS):
            response = self.request(method, path, stream=True)
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            path = self.location(response)
        raise RefusedError(
            f"{self.name}: redirected more than {_MOST_REDIRECTS} times", hint="check the registry's storage settings"
        )

    def location(self, response: requests.Response) -> str:
        """The answer's Location, which may be relative.

        Raises:
            RefusedError: to plain http that is not allowed.
        """
        location = urljoin(response.url, response.headers.get("Location", ""))
        parts = urlsplit(location)
        if parts.scheme == "https" or (parts.scheme == "http" and self._plain_http_allowed(parts.netloc)):
            return location
        raise RefusedError(
            f"{self.name} points to {parts.scheme}://{parts.netloc}, which is not https",
            hint="name that host as insecure, or fix it",
        )

    def own(self, url: str) -> str:
        """An address that an answer names, if it is the registry's own.

        Raises:
            RefusedError: it is another host's.
        """
        if not self._is_own(url):
            raise RefusedError(f"{self.name} points to another host: {url}", hint="see the registry's own settings")
        return url

    def wait(self, attempt: int, response: requests.Response | None = None) -> bool:
        """See `Http.wait`."""
        return self._http.wait(attempt, response)

    def confirmed(self, response: requests.Response, digest: str) -> None:
        """Checks that the registry stored or sent the expected bytes, if it reports a digest.

        Raises:
            RefusedError: it has others.
        """
        theirs = response.headers.get("Docker-Content-Digest", digest)
        if theirs != digest:
            raise self.mismatch(digest, theirs)

    def mismatch(self, expected: str, found: str) -> RefusedError:
        return RefusedError(
            f"{self.name}: {expected} was expected, the registry has {found}", hint="a proxy or the registry changes content"
        )

    def require_success(self, response: requests.Response, doing: str) -> requests.Response:
        """The answer if it is a success.

        Raises:
            AuthError, UnreachableError, RefusedError: as the registry answers; `doing` names the request in the message.
        """
        if response.ok:
            return response
        raise self.failure(response, doing)

    def _send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> requests.Response:
        """One request; credentials go to the registry itself, never to another host that it points to."""
        headers = {"Accept-Encoding": "identity", **(headers or {})}
        if self._authorization is not None and self._is_own(path):
            headers["Authorization"] = self._authorization
        return self._http.request(method, path, headers=headers, **options)

    def _is_own(self, path: str) -> bool:
        return "://" not in path or origin(path) == origin(self.base_url)

    def _plain_http_allowed(self, host: str) -> bool:
        return urlsplit(f"//{host}").hostname in _LOCAL or host in self._insecure

    def failure(self, response: requests.Response, doing: str) -> PromoterError:
        """The error of an unsuccessful answer; an UnreachableError if a later attempt may succeed."""
        status, registry, reason = response.status_code, self._reference.registry, _reason(response)
        message = f"{self.name}: can't {doing}: {status} {reason}"
        if status == HTTPStatus.INSUFFICIENT_STORAGE or _FULL.search(reason):
            return RefusedError(message, hint=f"{registry} is full: delete images there, or ask for more space, then run again")
        if status == HTTPStatus.UNAUTHORIZED:
            return AuthError(message, hint=f"run `docker login {registry}`")
        if status == HTTPStatus.FORBIDDEN:
            return AuthError(message, hint=f"ask for the right to push to or pull from {self.name}")
        if status in RETRIED:
            return UnreachableError(message, hint="run again later")
        if status == HTTPStatus.NOT_FOUND:
            return RefusedError(message, hint=f"check that {self.name} exists")
        return RefusedError(message, hint="see the registry's own log")


def codes(response: requests.Response) -> frozenset[str]:
    """The codes of the errors in the answer."""
    return frozenset(code for code, _ in _errors(response))


def _reason(response: requests.Response) -> str:
    """`CODE: message` of each error in the answer; else the status's own words."""
    return ", ".join(": ".join(filter(None, error)) for error in _errors(response)) or response.reason or ""


def _errors(response: requests.Response) -> list[tuple[str, str]]:
    """Code and message of each error, as the specification defines them; empty if the answer is something else."""
    try:
        return [(str(error["code"]), str(error.get("message", ""))) for error in response.json()["errors"]]
    except ODD:
        return []
