"""A GitHub App's installation token, minted from the App's private key in the environment (docs.github.com, "Authenticating as
a GitHub App installation")."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from promoter.errors import AuthError, UnreachableError, UsageError
from promoter.machine.extras import install
from promoter.transport.boundary import reading
from promoter.transport.credential import PLAIN_HTTP, Credential, origins
from promoter.transport.typed import require_typed

_ID, _INSTALLATION, _KEY = "GITHUB_APP_ID", "GITHUB_APP_INSTALLATION_ID", "GITHUB_APP_PRIVATE_KEY"
_LIFE, _CLOCK_DRIFT = 540, 60  # seconds; GitHub takes no JWT that lives for more than ten minutes, or from the future
_MARGIN = 300.0  # a push that starts now must still be allowed when it ends


@dataclass(frozen=True, slots=True)
class _Minted:
    token: str
    expires: float


_minted: dict[tuple[str, str, str], _Minted] = {}  # of this process: a token lasts an hour, a promotion asks for it many times


def installation_token(environ: Mapping[str, str]) -> str | None:
    """The token of the installation that the environment names, None when it names no App; kept until it is about to expire.

    Raises:
        UsageError: variables are missing, the key can't be used, or PyJWT is not installed.
        AuthError: GitHub does not know the App or the installation.
        UnreachableError: GitHub did not answer.
    """
    if not environ.get(_ID):
        return None
    if missing := [name for name in (_INSTALLATION, _KEY) if not environ.get(name)]:
        raise UsageError(f"{_ID} is set, but {' and '.join(missing)} is not", hint="a GitHub App needs all three")
    from promoter.hosting.github import api_url

    place = (api_url(environ), environ[_ID], environ[_INSTALLATION])
    minted = _minted.get(place)
    if minted is None or minted.expires - _MARGIN < time.time():
        minted = _minted[place] = _mint(*place, environ)
    return minted.token


def _mint(api: str, app: str, installation: str, environ: Mapping[str, str]) -> _Minted:
    from promoter.hosting import github  # no other token needs requests
    from promoter.hosting.answers import error_message

    bound = origins([api], environ.get(PLAIN_HTTP, ""))
    token = Credential(_jwt(app, environ[_KEY]), bound, name="the GitHub App's JWT")
    http = github.connect(api, lambda: token)
    response = http.request("POST", f"/app/installations/{installation}/access_tokens", retry=True)
    if response.status_code in (401, 403, 404):
        raise AuthError(
            f"GitHub App {app} did not get a token for installation {installation} at {api}: {error_message(response)}",
            hint=f"check {_ID}, {_INSTALLATION} and that {_KEY} is a key of this App",
        )
    if not response.ok:
        raise UnreachableError(f"GitHub at {api} answered {response.status_code} when asked for a token", hint="run it again")
    with reading(http):
        answer = response.json()
        expires = datetime.fromisoformat(answer["expires_at"]).timestamp()
        return require_typed(_Minted(answer["token"], expires))


def _jwt(app: str, key: str) -> str:
    try:
        import jwt
    except ImportError:
        raise UsageError("a GitHub App needs PyJWT", hint=install("github-app")) from None
    now = int(time.time())
    try:
        return jwt.encode({"iat": now - _CLOCK_DRIFT, "exp": now + _LIFE, "iss": app}, _pem(key), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise UsageError(
            f"{_KEY} is not a private RSA key", hint="set it to the PEM text that GitHub made, or to its file"
        ) from None


def _pem(key: str) -> str:
    """The key itself, also with its line breaks written as `\\n`, or the file that holds it."""
    if "-----BEGIN" in key:
        return key.replace("\\n", "\n")
    try:
        return Path(key).read_text()
    except OSError as error:
        raise UsageError(
            f"{_KEY} is neither PEM text nor a file: {error.strerror}", hint="set it to the text or a path"
        ) from None
