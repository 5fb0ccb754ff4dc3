"""What a registry asks for when it answers 401: a password, or a token from its token server.

https://distribution.github.io/distribution/spec/auth/token/ with a password, or with nothing;
https://distribution.github.io/distribution/spec/auth/oauth/ with an identity token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promoter.errors import AuthError, UnreachableError
from promoter.errors.redaction import redact
from promoter.transport.boundary import ODD
from promoter.transport.credential import Credential, hosts, is_loopback, origins
from promoter.transport.session import RETRIED, Http

if TYPE_CHECKING:
    import requests

TOKEN_SERVERS = "PROMOTER_TOKEN_SERVERS"  # noqa: S105 - the name of a variable
"""The variable that lists more hosts of token servers."""

_CHALLENGE = re.compile(r"\s*(?P<scheme>[A-Za-z]+)\s+(?P<parameters>.*)")
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Asking:
    """A repository whose registry at `url` asked: `name` as people write it. `insecure`: whether a host may be spoken to over
    plain http; `plain_http` lists the hosts that may get a login so, `token_servers` those that may get it though they are not
    of the registry's domain.
    """

    name: str
    url: str
    insecure: Callable[[str], bool]
    plain_http: str = ""
    token_servers: str = ""


def authorization(challenge: str, login: Credential | None, asking: Asking) -> str:
    """The Authorization header that answers this WWW-Authenticate header of RFC 9110, 11.6.1.

    Raises:
        AuthError: promoter can't answer it, the token server rejected our credentials, or the login may not be sent this way.
        UnreachableError: the token server can't answer now.
    """
    where = asking.name
    if login:
        login.require(asking.url)
    match = _CHALLENGE.fullmatch(challenge)
    scheme = match["scheme"].lower() if match else ""
    if match and scheme == "bearer":
        parameters = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(match["parameters"])}
        return "Bearer " + _token(parameters, login, asking)
    if scheme == "basic" and login and login.username is not None:
        return login.authorization(asking.url)
    if scheme == "basic":
        kept = ", and only an identity token is kept for it" if login else ""
        raise AuthError(
            f"{where}: the registry requires a password{kept}",
            hint=f"run `docker login {where.partition('/')[0]}` with a password",
        )
    raise AuthError(
        f"{where}: the registry requires an authorization that promoter does not support: '{scheme}'",
        hint="use Basic or Bearer",
    )


def _token(parameters: Mapping[str, str], login: Credential | None, asking: Asking) -> str:
    where, realm = asking.name, parameters.get("realm", "")
    url = urlsplit(realm)
    if url.scheme != "https" and not (url.scheme == "http" and asking.insecure(url.netloc)):
        raise AuthError(
            f"{where}: its token server {realm!r} is not https", hint="no password is sent there; name the host as insecure"
        )
    handed_on = delegated(login, realm, asking) if login else None
    response = _ask(Http(f"token server of {where}", realm), realm, parameters, handed_on)
    if response.status_code in RETRIED:
        raise UnreachableError(
            f"{where}: its token server {url.netloc} answered {response.status_code}", hint="run again later"
        )
    try:
        answer = response.json() if response.status_code == HTTPStatus.OK else {}
        token = answer.get("token") or answer.get("access_token")
    except ODD:
        token = None
    if not isinstance(token, str):
        registry = where.partition("/")[0]
        raise AuthError(
            f"{where}: its token server {url.netloc} returned no token {_who(login)}: {response.status_code}",
            hint=f"run `docker login {registry}`, or ask for the right to push to or pull from {where}",
        )
    redact.learn(token)
    return token


def delegated(login: Credential, realm: str, asking: Asking) -> Credential:
    """The login for the token server that the registry names: one of its own domain, or one that the operator allows.

    Raises:
        AuthError: it is neither. The answer of a registry could lead its password anywhere.
    """
    registry, server = urlsplit(asking.url).hostname or "", urlsplit(realm).hostname or ""
    here = is_loopback(asking.url) and is_loopback(realm)
    if not here and not _same_domain(registry, server) and not {server, urlsplit(realm).netloc} & hosts(asking.token_servers):
        raise AuthError(
            f"{asking.name}: the login is not sent to the token server {server}, which is not of the registry's domain",
            hint=f"if it is the registry's, name it where the login is set: {TOKEN_SERVERS}={server}",
        )
    return replace(login, origins=origins([realm], asking.plain_http))


def _same_domain(registry: str, server: str) -> bool:
    """Whether the server is the registry's host, below it, or next to it: auth.docker.io for registry-1.docker.io."""
    parent = registry.partition(".")[2]
    domains = [registry, *([parent] if "." in parent and not _is_address(registry) else [])]
    return any(server == domain or server.endswith(f".{domain}") for domain in domains)


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def _ask(server: Http, realm: str, parameters: Mapping[str, str], login: Credential | None) -> requests.Response:
    service = {key: value for key, value in parameters.items() if key == "service"}
    scope = parameters.get("scope", "")
    if login and login.username is None:
        login.require(realm)
        form = {
            **service,
            "scope": scope,
            "client_id": "promoter",
            "grant_type": "refresh_token",
            "refresh_token": login.secret,
        }
        return server.request("POST", realm, data=form, retry=True)
    headers = {"Authorization": login.authorization(realm)} if login else {}
    return server.request("GET", realm, params={**service, "scope": scope.split()}, headers=headers)


def _who(login: Credential | None) -> str:
    if login and login.username is not None:
        return f"as {login.username}"
    return "for our identity token" if login else "without a login"
