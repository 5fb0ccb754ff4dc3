"""What a registry asks for when it answers 401: a password, or a token from its token server.

https://distribution.github.io/distribution/spec/auth/token/ with a password, or with nothing;
https://distribution.github.io/distribution/spec/auth/oauth/ with an identity token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promoter.errors import AuthError, UnreachableError
from promoter.image.credentials import Credentials, IdentityToken, Login
from promoter.session import RETRIED, Http

if TYPE_CHECKING:
    import requests

_CHALLENGE = re.compile(r"\s*(?P<scheme>[A-Za-z]+)\s+(?P<parameters>.*)")
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def authorization(challenge: str, login: Login | None, where: str, plain_http_allowed: Callable[[str], bool]) -> str:
    """The Authorization header that answers this WWW-Authenticate header of RFC 9110, 11.6.1.

    Raises:
        AuthError: there is no answer to it, the token server does not know us, or it is not to be trusted with a password.
        UnreachableError: the token server can't answer now.
    """
    match = _CHALLENGE.fullmatch(challenge)
    scheme = match["scheme"].lower() if match else ""
    if match and scheme == "bearer":
        parameters = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(match["parameters"])}
        return "Bearer " + _token(parameters, login, where, plain_http_allowed)
    if scheme == "basic" and isinstance(login, Credentials):
        return login.basic()
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


def _token(parameters: Mapping[str, str], login: Login | None, where: str, plain_http_allowed: Callable[[str], bool]) -> str:
    realm = parameters.get("realm", "")
    url = urlsplit(realm)
    if url.scheme != "https" and not (url.scheme == "http" and plain_http_allowed(url.netloc)):
        raise AuthError(
            f"{where}: its token server {realm!r} is not https", hint="no password is sent there; name the host as insecure"
        )
    response = _ask(Http(f"token server of {where}", realm), realm, parameters, login)
    if response.status_code in RETRIED:
        raise UnreachableError(
            f"{where}: its token server {url.netloc} answered {response.status_code}", hint="run again later"
        )
    try:
        answer = response.json() if response.status_code == HTTPStatus.OK else {}
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not isinstance(token, str):
        registry = where.partition("/")[0]
        raise AuthError(
            f"{where}: its token server {url.netloc} returned no token {_who(login)}: {response.status_code}",
            hint=f"run `docker login {registry}`, or ask for the right to push to or pull from {where}",
        )
    return token


def _ask(server: Http, realm: str, parameters: Mapping[str, str], login: Login | None) -> requests.Response:
    service = {key: value for key, value in parameters.items() if key == "service"}
    scope = parameters.get("scope", "")
    if isinstance(login, IdentityToken):
        form = {**service, "scope": scope, "client_id": "promoter", "grant_type": "refresh_token", "refresh_token": login.token}
        return server.request("POST", realm, data=form, retry=True)
    headers = {"Authorization": login.basic()} if login else {}
    return server.request("GET", realm, params={**service, "scope": scope.split()}, headers=headers)


def _who(login: Login | None) -> str:
    if isinstance(login, Credentials):
        return f"as {login.username}"
    return "for our identity token" if login else "without a login"
