"""How git gets at the remote: an address without secrets, and an environment that hands credentials to that origin alone.

A token travels in the environment only: git asks a one-line credential helper, which prints it from there (gitcredentials(7)),
or reads a header from its configuration there. Both are bound to one scheme and host: another host never gets the token.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from urllib.parse import SplitResult, unquote, urlsplit

from promoter.errors import UsageError
from promoter.errors.redaction import redact
from promoter.gitops.process import PROMPT, with_settings
from promoter.hosting.tokens import for_git, git_token, own_origins, own_token
from promoter.machine import process
from promoter.models import ForgeKind
from promoter.transport.credential import PLAIN_HTTP, Credential, origins

_USERNAME, _PASSWORD = "PROMOTER_GIT_CREDENTIAL_USERNAME", "PROMOTER_GIT_CREDENTIAL_PASSWORD"
_HELPER = f"""!f() {{ test "$1" = get && printf 'username=%s\\npassword=%s\\n' "${_USERNAME}" "${_PASSWORD}"; }}; f"""

# What git, ssh, gpg and credential helpers read. Neither what git sets for its hooks and what points it at another repository
# (`git rev-parse --local-env-vars`), nor a token of another system.
_VARIABLES = (
    process.NETWORK
    | process.FOLDERS
    | process.DESKTOP
    | {
        *("GIT_CONFIG_*", "GIT_AUTHOR_*", "GIT_COMMITTER_*", "EMAIL"),
        *("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "SSH_AUTH_SOCK", "SSH_AGENT_PID", "SSH_SK_PROVIDER"),
        *("GIT_SSL_*", "GIT_HTTP_*", "GIT_PROXY_*", "GIT_ALLOW_PROTOCOL", "GIT_PROTOCOL_FROM_USER", "GIT_EXEC_PATH"),
        *("GIT_TRACE*", "GIT_CURL_VERBOSE", "GIT_REDACT_COOKIES"),
        *("GNUPGHOME", "GPG_TTY", "PASSWORD_STORE_*", "KRB5CCNAME", "KRB5_CONFIG"),
        *("GCM_*", "GH_CONFIG_DIR", "AZURE_CONFIG_DIR", "CLOUDSDK_CONFIG", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
        *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    }
)
_TIMES = "-o ConnectTimeout=15 -o ServerAliveInterval=15"
_BATCH = "-o BatchMode=yes"


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
    if not split.scheme and ":" not in url.partition("/")[0]:
        return str(Path(url).absolute())  # a folder: git runs in another one
    return url if split.password is None else split._replace(netloc=f"{split.username}@{_host(split)}").geturl()


def local(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for git commands that reach no remote: in English, asking nobody, bound to no other repository.

    With `process.INTERACTIVE` a person may be asked, at the terminal alone.
    """
    return {
        **process.needed(environ, _VARIABLES, more=True),
        "LC_ALL": "C",
        "LANGUAGE": "C",
        PROMPT: "1" if environ.get(process.INTERACTIVE) else "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_DEFAULT_REF_FORMAT": "files",
    }


def access(url: str, environ: Mapping[str, str], base: Mapping[str, str] | None = None) -> Access:
    """How to reach `url`: PROMOTER_GIT_TOKEN first, then what the URL carries, then the CI's own token for its own hosts.

    `base` is `local(environ)`, if the caller has it.

    With none of them git's own credential helpers and SSH keys are asked. What is given is good for some minutes: a GitHub
    App's token ends after an hour.

    Raises:
        UsageError: `url` can't be the address of a repository, or a GitHub App is named in half.
        AuthError: the token that is set is not for this host; GitHub refuses the App a token.
        UnreachableError: GitHub can't issue the App's token now.
    """
    split = _split(url)
    if split.scheme in ("http", "https"):
        return _http_access(split, environ, dict(base or local(environ)))
    if split.password:
        redact.learn(unquote(split.password))
    return Access(address(url), base or local(environ))


def api_token(url: str, environ: Mapping[str, str]) -> Credential | None:
    """The token for the API of the GitHub that `url` is on, by the order of `access`; raises as `access`."""
    if token := git_token(url, environ):
        return token
    if found := _in_url(_split(url), environ):
        return replace(found, username=None, origins=found.origins | own_origins(ForgeKind.GITHUB, environ))
    return own_token(ForgeKind.GITHUB, environ)


def in_url(url: str, environ: Mapping[str, str]) -> Credential | None:
    """The password that the URL of a repository carries, for its own host; None without one, and for SSH."""
    split = _split(url)
    return _in_url(split, environ) if split.scheme in ("http", "https") else None


def ssh_settings(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """GIT_SSH_COMMAND that asks no person, also where the user chose an SSH command, if it is OpenSSH's. Unless one may ask."""
    named = shlex.quote(environ["GIT_SSH"]) if environ.get("GIT_SSH") else ""
    chosen = environ.get("GIT_SSH_COMMAND") or settings.get("core.sshcommand") or named
    if environ.get(PROMPT) == "1":
        return {"GIT_SSH_COMMAND": chosen or f"ssh {_TIMES}"}
    if not chosen:
        return {"GIT_SSH_COMMAND": f"ssh {_BATCH} {_TIMES}"}
    variant = environ.get("GIT_SSH_VARIANT") or settings.get("ssh.variant") or "auto"
    openssh = variant == "ssh" or (variant == "auto" and _is_openssh(chosen))
    return {"GIT_SSH_COMMAND": f"{chosen} {_BATCH}"} if openssh else {}


def _is_openssh(command: str) -> bool:
    """Whether it is ssh itself, with options: not another program, and not a script around it."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return PurePath(words[0]).name == "ssh"


def _http_access(split: SplitResult, environ: Mapping[str, str], base: dict[str, str]) -> Access:
    origin = f"{split.scheme}://{_host(split)}"
    plain = split._replace(netloc=_host(split)).geturl()
    # A server that stops answering is noticed after a minute; a running hook keeps the line alive (receive.keepAlive).
    base.setdefault("GIT_HTTP_LOW_SPEED_LIMIT", "1")
    base.setdefault("GIT_HTTP_LOW_SPEED_TIME", "60")
    credential = _credential(split, environ)
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
    return for_git(host, environ, url, username)


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
