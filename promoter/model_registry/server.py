"""One MLflow server over HTTP, and what its answers mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from promoter.errors import AuthError, PromoterError, UnreachableError, UsageError
from promoter.model_registry.settings import Settings
from promoter.model_registry.store import NotFound
from promoter.transport.boundary import ODD, Server, odd
from promoter.transport.session import Authorization, Http

if TYPE_CHECKING:
    import requests

_CREDENTIALS = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
_T = TypeVar("_T")


class TrackingServer:
    """An MLflow server; `uri` may hold user and password, which then win over the settings' (as requests has it for MLflow)."""

    def __init__(self, uri: str, settings: Settings, *, anonymous: bool = False) -> None:
        self.uri, credential = settings.login(uri)
        self._settings, self._cert = settings, None if anonymous else settings.cert
        self._auth = Authorization(None if anonymous else credential)
        self._sent = settings.sent if credential is settings.credential else "the user in the URI was sent"
        if anonymous:
            self._sent = "no credentials were sent, since this is not the server they belong to"
        self._http = self.http()
        self.asked: Server = self._http  # for errors about answers

    def http(self) -> Http:
        """A connection of its own, for one more thread."""
        settings = self._settings
        return Http(
            "MLflow",
            self.uri,
            auth=self._auth,
            headers={"X-MLFLOW-WORKSPACE": settings.workspace} if settings.workspace else None,
            verify=settings.verify,
            cert=self._cert,
            limits=settings.limits,
        )

    def get(self, path: str, read: Callable[[Any], _T], /, **params: str) -> _T:
        """What `read` makes of the JSON that the server answers under /api/2.0.

        Raises:
            NotFound: MLflow has nothing by that name.
            AuthError, UnreachableError, UsageError: see `require_success`.
        """
        return self._read(self._http.request("GET", f"/api/2.0/{path}", params=params), read)

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], _T]) -> _T:
        """As `get`, for what MLflow wants as a POST; sent twice it does no more than sent once, so it is tried again too."""
        return self._read(self._http.request("POST", f"/api/2.0/{path}", json=body, retry=True), read)

    def send(self, method: str, path: str, body: Mapping[str, Any], read: Callable[[Any], _T]) -> _T:
        """As `post`, for what must not be sent twice where an answer got lost."""
        return self._read(self._http.request(method, f"/api/2.0/{path}", json=body, retry=False), read)

    def _read(self, response: requests.Response, read: Callable[[Any], _T]) -> _T:
        self.require_success(response)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise AuthError(
                f"MLflow at {self.uri} answered with a web page: a login page, or not MLflow",
                hint=f"check the address; if a proxy asks people to log in there, {_CREDENTIALS} that it accepts",
            )
        try:
            return read(response.json())
        except ODD as error:
            raise odd(self._http, error) from error

    @contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str], http: Http | None = None) -> Iterator[requests.Response]:
        """A file's answer whose body is read as it comes.

        Raises:
            NotFound, AuthError, UnreachableError, UsageError: see `require_success`.
        """
        response = (http or self._http).request("GET", path, headers=headers, stream=True)
        try:
            self.require_success(response)
            yield response
        finally:
            response.close()

    def require_success(self, response: requests.Response) -> None:
        """Passes a good answer.

        Raises:
            NotFound: it does not exist; MLflow answers 404 for a model or version, and 400 for an alias.
            AuthError: 401, 403, or a redirect to a login page.
            UsageError: no MLflow API at this address.
            UnreachableError: any other answer.
        """
        if response.ok and not response.is_redirect:
            return
        status, (code, message) = response.status_code, _error(response)
        if 300 <= status < 400:
            raise self._redirected(response)
        if status == 401:
            raise AuthError(f"MLflow at {self.uri} rejected our credentials (401): {self._sent}", hint=_CREDENTIALS)
        if status == 403:
            raise self._forbidden(message)
        if code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise NotFound(f"MLflow at {self.uri}: {message}")
        if status == 404:
            raise UsageError(
                f"{response.url} does not exist (404): no MLflow API at {self.uri}",
                hint="check the address, and the path prefix if a proxy stands before MLflow",
            )
        raise UnreachableError(
            f"MLflow answered {status} to {response.url}: {message}",
            hint="see its log; for a file, the artifact store behind it may be down",
        )

    def _redirected(self, response: requests.Response) -> PromoterError:
        here, there = urlsplit(self.uri), urlsplit(response.headers.get("Location", ""))
        if there.hostname in (None, here.hostname) and there.scheme in ("http", "https") and there.scheme != here.scheme:
            return UsageError(
                f"MLflow at {self.uri} redirects to {there.scheme}",
                hint=f"write {there.scheme}://{there.netloc} as its address",
            )
        return AuthError(
            f"MLflow at {self.uri} redirects to {there.hostname or there.path}, as a proxy does that asks people to log in",
            hint=f"{_CREDENTIALS} that the proxy accepts, or give an address of MLflow behind it",
        )

    def _forbidden(self, message: str) -> AuthError:
        host = urlsplit(self.uri).netloc
        if "Invalid Host header" in message:
            return AuthError(
                f"MLflow at {self.uri} does not answer to the name {host} (403): {message}",
                hint=f"start it with --allowed-hosts {host} (or MLFLOW_SERVER_ALLOWED_HOSTS); the port is part of the name",
            )
        return AuthError(
            f"MLflow at {self.uri} forbids it (403): {message}; {self._sent}",
            hint="give that user READ on the model and its experiment, or " + _CREDENTIALS,
        )


def _error(response: requests.Response) -> tuple[str, str]:
    """The error code and the message in one line; MLflow answers some errors as text or as a web page."""
    try:
        body = response.json()
        return str(body["error_code"]), str(body["message"]).partition("\n")[0] or response.reason
    except ODD:
        text = response.text.strip()
        short = response.reason if not text or text.startswith("<") else text.splitlines()[0][:200]
        return "", short or "no reason given"
