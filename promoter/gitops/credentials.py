"""How git gets at the remote: an address without secrets, and an environment that hands credentials to that origin alone.

A token travels in the environment only: git asks a one-line credential helper, which prints it from there (gitcredentials(7)),
or reads a header from its configuration there. Both are bound to one scheme and host: another host never gets the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, unquote, urlsplit

from promoter.credential import PLAIN_HTTP, Credential, origins
from promoter.errors import UsageError
from promoter.gitops.process import with_settings
from promoter.hosting.address import is_azure_devops
from promoter.hosting.tokens import JOB_TOKEN, git_token, is_github, own_origins, own_token
from promoter.models import ForgeKind
from promoter.redaction import redact

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
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15"


@dataclass(frozen=True, slots=True)
class Access:
    """`address` goes into arguments and messages; `environ` is for git alone."""

    address: str
    environ: Mapping[str, str]


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
        AuthError: the token that is set is not for this host; GitHub refuses the App a token.
        UnreachableError: GitHub can't issue the App's token now.
    """
    split = _split(url)
    if split.scheme in ("http", "https"):
        return _http_access(split, local(environ))
    if split.password:
        redact.learn(unquote(split.password))
    return Access(address(url), local(environ))


def api_token(url: str, environ: Mapping[str, str]) -> Credential | None:
    """The token for the API of the GitHub that `url` is on, by the order of `access`; raises as `access`."""
    if token := git_token(url, environ):
        return token
    if found := _in_url(_split(url), environ):
        return replace(found, username=None, origins=found.origins | own_origins(ForgeKind.GITHUB, environ))
    return own_token(ForgeKind.GITHUB, environ)


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
        if not split.username:
            return Access(plain, base)
        redact.learn(username := unquote(split.username))  # a token may stand there
        return Access(plain, with_settings(base, [(f"credential.{origin}.username", username)]))
    header = credential.authorization(plain)
    # The empty helper first: the user's own helpers must neither answer in its place nor be asked to store it.
    settings = [(f"credential.{origin}.helper", "")]
    if credential.username is None:
        # git sends a header of its configuration wherever it is redirected to.
        settings.append((f"http.{origin}/.extraHeader", f"Authorization: {header}"))
        settings.append(("http.followRedirects", "false"))
    else:
        settings.append((f"credential.{origin}.helper", _HELPER))
        base |= {_USERNAME: credential.username, _PASSWORD: credential.secret.strip()}
    return Access(plain, with_settings(base, settings))


def _credential(split: SplitResult, environ: Mapping[str, str]) -> Credential | None:
    """A password with its user name; without one a bearer token: a pipeline job's is not the password of any user."""
    username = environ.get("PROMOTER_GIT_USERNAME") or "x-access-token"
    url = split._replace(netloc=_host(split)).geturl()
    if token := git_token(url, environ):
        return replace(token, username=username)
    if found := _in_url(split, environ):
        return found
    host = split.hostname or ""
    if split.scheme != "https":
        return None
    if is_github(host, environ) and (token := own_token(ForgeKind.GITHUB, environ, url)):
        return replace(token, username=username)
    if is_azure_devops(host) and (token := own_token(ForgeKind.AZURE_DEVOPS, environ, url)):
        return token if token.name == JOB_TOKEN else replace(token, username=username)
    return None


def _in_url(split: SplitResult, environ: Mapping[str, str]) -> Credential | None:
    """The password that the URL carries, for its own host."""
    if split.password is None:
        return None
    here = split._replace(netloc=_host(split)).geturl()
    where = origins([here], environ.get(PLAIN_HTTP, ""))
    return Credential(unquote(split.password), where, unquote(split.username or ""), f"the password in the URL of {here}")


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
