"""How git gets at the remote: an address without secrets, and an environment that hands credentials to that origin alone.

A token travels in the environment only: git asks a one-line credential helper, which prints it from there (gitcredentials(7)),
or reads a header from its configuration there. Both are bound to one scheme and host: another host never gets the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from promoter.errors import UsageError
from promoter.gitops.process import with_settings
from promoter.hosting.address import is_azure_devops
from promoter.hosting.tokens import JOB_TOKEN, Purpose, is_github, own_token
from promoter.models import ForgeKind

_USERNAME, _PASSWORD = "PROMOTER_GIT_CREDENTIAL_USERNAME", "PROMOTER_GIT_CREDENTIAL_PASSWORD"
_HELPER = f"""!f() {{ test "$1" = get && printf 'username=%s\\npassword=%s\\n' "${_USERNAME}" "${_PASSWORD}"; }}; f"""

# What git sets for its hooks and what points it at another repository (`git rev-parse --local-env-vars`, less configuration).
_LOCAL = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
_SHORTEST_SECRET = 8
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15"


@dataclass(frozen=True, slots=True)
class Access:
    """`address` goes into arguments and messages; `environ` is for git alone; `secrets` must be seen nowhere."""

    address: str
    environ: Mapping[str, str]
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Credential:
    username: str
    password: str
    bearer: bool = False


def address(url: str) -> str:
    """The URL without what must be seen nowhere.

    Raises:
        UsageError: it can't be the address of a repository.
    """
    split = _split(url)
    if split.scheme in ("http", "https"):
        return split._replace(netloc=_host(split)).geturl()
    return url if split.password is None else split._replace(netloc=f"{split.username}@{_host(split)}").geturl()


def local(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for git commands that reach no remote: in English, asking nobody, bound to no other repository."""
    return {
        **{name: value for name, value in environ.items() if name not in _LOCAL},
        "LC_ALL": "C",
        "LANGUAGE": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_DEFAULT_REF_FORMAT": "files",
    }


def access(url: str, environ: Mapping[str, str]) -> Access:
    """How to reach `url`: PROMOTER_GIT_TOKEN first, then what the URL carries, then the CI's own token for its own hosts.

    With none of them git's own credential helpers and SSH keys are asked. What is given is good for some minutes: a GitHub
    App's token ends after an hour.

    Raises:
        UsageError: `url` can't be the address of a repository, or a GitHub App is named in half.
        AuthError, UnreachableError: GitHub gives the App no token.
    """
    split = _split(url)
    if split.scheme in ("http", "https"):
        return _http_access(split, local(environ))
    return Access(address(url), local(environ), _secrets(split.password))


def api_token(url: str, environ: Mapping[str, str]) -> str | None:
    """The token for the API of the GitHub that `url` is on, by the order of `access`; raises as `access`."""
    split = _split(url)
    named = environ.get(Purpose.GIT) or (unquote(split.password) if split.password else None)
    return named or own_token(ForgeKind.GITHUB, environ)


def ssh_settings(environ: Mapping[str, str], configured: bool) -> dict[str, str]:
    """GIT_SSH_COMMAND that never asks a person, unless the user chose an SSH command (`configured`: core.sshCommand is set)."""
    return {} if configured or {"GIT_SSH_COMMAND", "GIT_SSH"} & set(environ) else {"GIT_SSH_COMMAND": _SSH}


def _http_access(split: SplitResult, base: dict[str, str]) -> Access:
    origin = f"{split.scheme}://{_host(split)}"
    plain = split._replace(netloc=_host(split)).geturl()
    # A server that stops answering is noticed after a minute; a running hook keeps the line alive (receive.keepAlive).
    base.setdefault("GIT_HTTP_LOW_SPEED_LIMIT", "1")
    base.setdefault("GIT_HTTP_LOW_SPEED_TIME", "60")
    credential = _credential(split, base)
    if credential is None:
        named = [(f"credential.{origin}.username", unquote(split.username))] if split.username else []
        return Access(plain, with_settings(base, named), _secrets(split.username))
    # The empty helper first: the user's own helpers must neither answer in its place nor be asked to store it.
    settings = [(f"credential.{origin}.helper", "")]
    if credential.bearer:
        # git sends a header of its configuration wherever it is redirected to.
        settings.append((f"http.{origin}/.extraHeader", f"Authorization: Bearer {credential.password}"))
        settings.append(("http.followRedirects", "false"))
    else:
        settings.append((f"credential.{origin}.helper", _HELPER))
        base |= {_USERNAME: credential.username, _PASSWORD: credential.password}
    return Access(plain, with_settings(base, settings), _secrets(credential.password, split.password))


def _credential(split: SplitResult, environ: Mapping[str, str]) -> _Credential | None:
    username = environ.get("PROMOTER_GIT_USERNAME") or "x-access-token"
    if token := environ.get(Purpose.GIT):
        return _Credential(username, token)
    if split.password is not None:
        return _Credential(unquote(split.username or ""), unquote(split.password))
    if split.scheme != "https":
        return None
    host = split.hostname or ""
    if is_github(host, environ):
        token = own_token(ForgeKind.GITHUB, environ)
        return _Credential(username, token) if token else None
    if is_azure_devops(host) and (token := own_token(ForgeKind.AZURE_DEVOPS, environ)):
        bearer = token == environ.get(JOB_TOKEN)  # a job's token is not the password of any user
        return _Credential("" if bearer else username, token, bearer=bearer)
    return None


def _split(url: str) -> SplitResult:
    try:
        split = urlsplit(url) if "://" in url else SplitResult("", "", url, "", "")
    except ValueError:
        split = SplitResult("", "", "", "", "")
    if not split.path.strip("/") or url.startswith("-"):
        raise UsageError(f"'{url}' is not the URL of a Git repository", hint="give https://…, ssh://… or user@host:path")
    return split


def _host(split: SplitResult) -> str:
    return split.netloc.rpartition("@")[2]


def _secrets(*values: str | None) -> tuple[str, ...]:
    """The values as they stand and unquoted; a shorter one (a user's or an organisation's name) is no token."""
    return tuple({text for value in values if value for text in (value, unquote(value)) if len(text) >= _SHORTEST_SECRET})
