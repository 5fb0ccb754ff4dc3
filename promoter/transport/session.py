"""One way to speak HTTP for every adapter: time limits, retries with jitter, no redirect followed with credentials."""

from __future__ import annotations

import io
import random
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from promoter.errors import UnexpectedAnswerError, UnreachableError, without_credentials
from promoter.machine import verbose
from promoter.transport.boundary import LARGEST_ANSWER, MOST_VALUES, OPENING, has_too_many_values, unlike, whole_number
from promoter.transport.credential import Credential

_PIECE = 64 * 1024
RETRIED = frozenset({429, 500, 502, 503, 504})
_LONGEST_WAIT = 120.0
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


class Authorization(AuthBase):
    """Sends this credential, to its origins only, or none: ~/.netrc does not decide. A function is called for each request.

    A request raises AuthError for any other place.
    """

    def __init__(self, credential: Credential | Callable[[], Credential] | None = None) -> None:
        self._credential = credential

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._credential is not None:
            credential = self._credential() if callable(self._credential) else self._credential
            request.headers["Authorization"] = credential.authorization(request.url or "")
        return request


class RateLimitedError(UnreachableError):
    """The server takes no more requests of this token for a while."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: to connect, to wait for an answer, for its whole body, for all tries (`total`), and to wait for rate limits."""

    connect: float = 5.0
    read: float = 30.0
    body: float = 120.0
    total: float = 20.0
    backoff: float = 0.25
    longest_backoff: float = 5.0
    rate_limits: float = 300.0


_STEP = 64 * 1024  # bytes of a stream that have to arrive in the time that its pace gives


class _Socket:
    """A socket whose reads end by a deadline, or whose bytes come at a least pace; all else is the socket's own."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain: Any = plain
        self.settimeout, self.sendall, self.fileno = plain.settimeout, plain.sendall, plain.fileno  # what is called the most
        self.shutdown, self.close = plain.shutdown, plain.close
        self._decref_socketios: Any = cast("Any", plain)._decref_socketios
        self._until: float | None = None
        self._patience: float | None = None
        self._waited, self._came = 0.0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def limit(self, seconds: float | None) -> None:
        """From now on all reads together take so many seconds."""
        self._until = None if seconds is None else time.monotonic() + seconds
        self._patience = None

    def pace(self, seconds: float) -> None:
        """From now on the next 64 KiB, and those after them, are waited for so many seconds."""
        self._until, self._patience = None, seconds
        self._waited, self._came = 0.0, 0

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        self._plain._io_refs += 1  # as socket.makefile does: closing the file then closes the socket
        return io.BufferedReader(socket.SocketIO(cast("socket.socket", self), "r"))

    def recv_into(self, buffer: Any) -> int:
        """Raises TimeoutError when the time is over."""
        usual = self._plain.gettimeout()
        started = time.monotonic()
        left = self._left(started)
        if left is not None:
            if left <= 0:
                raise TimeoutError("the answer did not arrive in time")
            self._plain.settimeout(left if usual is None else min(left, usual))
        try:
            count = cast("int", self._plain.recv_into(buffer))
        finally:
            self._plain.settimeout(usual)
        self._waited, self._came = self._waited + time.monotonic() - started, self._came + count
        if self._came >= _STEP:
            self._waited, self._came = 0.0, 0
        return count

    def _left(self, now: float) -> float | None:
        if self._until is not None:
            return self._until - now
        return None if self._patience is None else self._patience - self._waited


class _Timely:
    """Part of a connection: the head of an answer has to arrive, as a whole, within the read timeout.

    The limits of urllib3 are for a single read of the socket: a server that sends a byte now and then keeps them from passing.
    """

    sock: Any
    timeout: Any

    def connect(self) -> None:
        """A socket of TLS in TLS, for a proxy that speaks it, keeps the limits of single reads."""
        super().connect()  # type: ignore[misc]  # a part
        if isinstance(self.sock, socket.socket):
            self.sock = _Socket(self.sock)

    def getresponse(self) -> Any:
        timed = self.sock if isinstance(self.sock, _Socket) else None
        if timed and isinstance(self.timeout, int | float):
            timed.limit(self.timeout)
        response = super().getresponse()  # type: ignore[misc]
        if timed:
            timed.limit(None)
        return response


class _Connection(_Timely, HTTPConnection):
    """Over TCP."""


class _TlsConnection(_Timely, HTTPSConnection):
    """Over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Opens such connections, to proxies too."""

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **named)
        manager.pool_classes_by_scheme = _POOLS
        return manager


_POOLS = {"http": _Pool, "https": _TlsPool}


class _Session(requests.Session):
    """Follows no redirect; `requests` would read the whole body of one, only to know where it leads."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere, whatever `resp` names."""
        del resp


class Http:
    """A server at `base_url`, called `name` in errors. Not for use by several threads at once.

    `secret_path`: who knows a URL may use it, so that errors show no more of one than scheme and host. `rate_limit`: seconds
    until a request that a rate limit refused may be sent again; None for every other answer.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        auth: AuthBase | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
        cert: str | None = None,
        limits: Limits | None = None,
        secret_path: bool = False,
        rate_limit: Callable[[requests.Response], float | None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._last = self.base_url
        self.limits = limits or Limits()
        self._sleep, self._clock = sleep, clock
        self._session = _Session()
        self._session.auth = auth or Authorization()
        self._session.headers["User-Agent"] = "promoter"
        self._session.headers.update(headers or {})
        self._verify, self._cert = verify, cert
        self._secret_path, self._rate_limit = secret_path, rate_limit

    @property
    def answered(self) -> str:
        """The address that was asked last, as it may be shown."""
        return self._shown(self._last)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        retry: bool | None = None,
        retry_lost: bool = True,
        paced: bool = True,
        read_timeout: float | None = None,
        send_timeout: float | None = None,
        times: int = 1,
    ) -> requests.Response:
        """The server's answer, whatever its status; 429, 5xx and broken connections are tried again until `limits.total`.

        `path` is appended to the base URL, unless it is a whole URL. `retry` defaults to the idempotent methods, and
        is never done for a `data` that can be read only once. `retry_lost`: also where no answer came, so that it may have been
        carried out. `send_timeout` is for connecting and for each piece of `data`.

        What a rate limit refused was not carried out, so it is sent again, whatever the method.
        `stream`: the body of a success is left to the caller; `paced`: 64 KiB of it have to arrive in every `limits.body`
        seconds that are waited for it. Every other body is read here, within `times` LARGEST_ANSWER and `limits.body`.

        Raises:
            UnreachableError: no answer at all within the limits; RateLimitedError when a rate limit lasts too long;
                UnexpectedAnswerError when an answer is too large.
        """
        url = path if "://" in path else self.base_url + path
        self._last = url
        again = (method in _IDEMPOTENT if retry is None else retry) and not hasattr(data, "read")
        ask = partial(
            self._ask,
            method,
            url,
            stream=stream,
            paced=paced,
            times=times,
            params=params,
            json=json,
            data=data,
            headers=dict(headers or {}),
            timeout=(send_timeout or self.limits.connect, read_timeout or self.limits.read),
        )
        return self._persistently(ask, url, again=again, retry_lost=retry_lost)

    def _persistently(
        self, ask: Callable[[], requests.Response | Exception], url: str, *, again: bool, retry_lost: bool
    ) -> requests.Response:
        """The answer of one try, or of another one while that can help; raises as `request`."""
        deadline, limited_for = self._clock() + self.limits.total, 0.0
        for attempt in range(1_000_000):
            answer = ask()
            response = answer if isinstance(answer, requests.Response) else None
            if response is not None and (seconds := self._rate_limit(response)) is not None:
                limited_for += seconds
                self._wait_for_limit(seconds, limited_for)
                deadline += seconds
                continue
            if response is not None and response.status_code not in RETRIED:
                return response
            wait = self._backoff(attempt, response)
            if not again or (response is None and not retry_lost) or self._clock() + wait > deadline:
                if isinstance(answer, requests.Response):
                    return answer
                raise self._unreachable(url, answer) from None
            if response is not None:
                response.close()
            self._sleep(wait)
        raise AssertionError("unreachable: the deadline ends the loop")

    def _ask(
        self, method: str, url: str, *, stream: bool, paced: bool, times: int, **options: Any
    ) -> requests.Response | Exception:
        """One try: the answer, read unless the caller does it, or why there is none although another try may get one.

        Raises: as `request`, for what no other try changes.
        """
        try:
            response = self._sent(method, url, options)
            if not stream or not response.ok:
                self._read(response, url, times)
            elif paced and (timed := _socket_of(response)):
                timed.pace(self.limits.body)
        except (requests.exceptions.SSLError, requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
            raise self._unreachable(url, error) from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            return error
        return response

    def _sent(self, method: str, url: str, options: Mapping[str, Any]) -> requests.Response:
        started, answer = time.monotonic(), "no answer"
        try:
            response = self._session.request(
                method, url, stream=True, allow_redirects=False, verify=self._verify, cert=self._cert, **options
            )
            answer = str(response.status_code)
        finally:
            if verbose.VOLUME.level:
                verbose.took(f"{method} {self._shown(url)} {answer}", started)
        if verbose.VOLUME.level > 1:
            _show_headers(response)
        return response

    def _read(self, response: requests.Response, url: str, times: int) -> None:
        """The whole body, so that `content`, `text` and `json()` wait for nothing."""
        if timed := _socket_of(response):
            timed.limit(self.limits.body)
        body, deadline = bytearray(), self._clock() + self.limits.body
        try:
            while piece := response.raw.read1(_PIECE, decode_content=True):
                body += piece
                if len(body) > times * LARGEST_ANSWER:
                    raise unlike(self.name, self._shown(url), f"more than {times * LARGEST_ANSWER // 1024**2} MiB")
                if self._clock() > deadline:
                    raise self._late(url)
        except urllib3.exceptions.ReadTimeoutError:
            response.close()
            if self._clock() > deadline:
                raise self._late(url) from None
            raise
        except BaseException:
            response.close()
            raise
        most = times * MOST_VALUES
        if sum(map(body.count, OPENING)) > most and has_too_many_values(body, most):
            raise unlike(self.name, self._shown(url), f"more than {most} values")
        response._content, response._content_consumed = bytes(body), True  # type: ignore[attr-defined]

    def _late(self, url: str) -> UnexpectedAnswerError:
        return unlike(self.name, self._shown(url), f"no end of it within {self.limits.body:.0f} s")

    def _wait_for_limit(self, seconds: float, together: float) -> None:
        if together > self.limits.rate_limits:
            raise RateLimitedError(
                f"{self.name} limits the rate of requests for another {seconds:.0f} s",
                hint=f"run it again in {seconds:.0f} seconds, or use a token with a higher limit",
            )
        self._sleep(seconds)

    def wait(self, attempt: int, response: requests.Response | None = None) -> bool:
        """Waits as `request` does before it tries again; False, at once, where the server asks for more than two minutes."""
        seconds = self._backoff(attempt, response)
        if seconds > _LONGEST_WAIT:
            return False
        self._sleep(seconds)
        return True

    def _backoff(self, attempt: int, response: requests.Response | None) -> float:
        """Full jitter, or what the server asked for in Retry-After (seconds)."""
        asked = response.headers.get("Retry-After", "") if response is not None else ""
        if (seconds := whole_number(asked)) is not None:
            return float(seconds)
        return random.uniform(0, min(self.limits.longest_backoff, self.limits.backoff * 2**attempt))  # noqa: S311 - jitter, not a secret

    def _unreachable(self, url: str, error: Exception | None) -> UnreachableError:
        host = urlsplit(url).netloc.rpartition("@")[2]
        if isinstance(error, requests.exceptions.SSLError):
            hint = "the certificate is not trusted here: name its CA bundle, or check the host name"
        elif isinstance(error, requests.exceptions.ProxyError):
            hint = "the proxy refused or did not answer: check HTTPS_PROXY and NO_PROXY"
        else:
            hint = f"check that {host} is right and can be reached from here"
        reason = _reason(error)
        return UnreachableError(f"{self.name} at {self._shown(url)} can't be reached: {reason}", hint=hint)

    def _shown(self, url: str) -> str:
        """A signed URL is a password."""
        parts = urlsplit(url)
        host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return host if self._secret_path else without_credentials(url.partition("?")[0])


_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SECRET_WORDS = re.compile("token|secret|key|signature|location", re.IGNORECASE)  # a signed address is a password


def _show_headers(response: requests.Response) -> None:
    """Those of the request and of its answer, as `curl -v` shows them; the value of one that may be a secret is left out."""
    for sign, headers in ((">", response.request.headers), ("<", response.headers)):
        for name, value in headers.items():
            hidden = name.lower() in _SECRET or _SECRET_WORDS.search(name)
            verbose.show(f"  {sign} {name}: {'***' if hidden else value}", 2)


def _socket_of(response: requests.Response) -> _Socket | None:
    connected = getattr(response.raw.connection, "sock", None)
    return connected if isinstance(connected, _Socket) else None


def _reason(error: Exception | None) -> str:
    """The innermost cause in one line; requests wraps it in four layers of its own."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection within the time limit"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer within the time limit"
    cause: BaseException | None = error
    while cause is not None:
        inner = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
        if not isinstance(inner, BaseException) or inner is cause:
            break
        cause = inner
    return str(cause).splitlines()[0] if cause and str(cause) else type(cause).__name__
