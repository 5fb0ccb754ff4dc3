"""What a registry asks for when it answers 401: a password, or a token from its token server.

https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promoter.errors import AuthError, UnreachableError
from promoter.http import RETRIED, Http

if TYPE_CHECKING:
    from promoter.image.credentials import Credentials

_CHALLENGE = re.compile(r"\s*(?P<scheme>[A-Za-z]+)\s+(?P<parameters>.*)")
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def authorization(
    challenge: str, credentials: Credentials | None, where: str, plain_http_allowed: Callable[[str], bool]
) -> str:
    """The Authorization header that answers this WWW-Authenticate header of RFC 9110, 11.6.1.

    Raises:
        AuthError: there is no answer to it, the token server does not know us, or it is not to be trusted with a password.
        UnreachableError: the token server can't answer now.
    """
    match = _CHALLENGE.fullmatch(challenge)
    scheme = match["scheme"].lower() if match else ""
    if match and scheme == "bearer":
        parameters = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(match["parameters"])}
        return "Bearer " + _token(parameters, credentials, where, plain_http_allowed)
    if scheme == "basic" and credentials is not None:
        return credentials.basic()
    if scheme == "basic":
        raise AuthError(f"{where}: the registry wants a password", hint=f"run `docker login {where.partition('/')[0]}`")
    raise AuthError(
        f"{where}: the registry wants an authorization that is not known here: '{scheme}'", hint="use Basic or Bearer"
    )


def _token(
    parameters: dict[str, str], credentials: Credentials | None, where: str, plain_http_allowed: Callable[[str], bool]
) -> str:
    realm = parameters.pop("realm", "")
    url = urlsplit(realm)
    if url.scheme != "https" and not (url.scheme == "http" and plain_http_allowed(url.netloc)):
        raise AuthError(
            f"{where}: its token server {realm!r} is not https", hint="no password is sent there; name the host as insecure"
        )
    headers = {"Authorization": credentials.basic()} if credentials else {}
    asked = {key: value for key, value in parameters.items() if key in ("service", "scope")}
    response = Http(f"token server of {where}", realm).request("GET", "", params=asked, headers=headers)
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
        who = f"as {credentials.username}" if credentials else "without a login"
        raise AuthError(
            f"{where}: its token server {url.netloc} gave no token {who}: {response.status_code}",
            hint=f"run `docker login {where.partition('/')[0]}`",
        )
    return token
