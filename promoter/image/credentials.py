"""Registry credentials: docker config, environment, Azure identity, or anonymous.

Docker's config.json is read as the Docker SDK reads it. Helpers are run here, since the SDK waits for one without a limit:
https://docs.docker.com/reference/cli/docker/login/#credential-stores
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from promoter.errors import AuthError, ConfigError, UsageError
from promoter.image import acr
from promoter.image.reference import DOCKER_HUB
from promoter.machine import process
from promoter.machine.home import home
from promoter.transport.credential import PLAIN_HTTP, Credential, origins

HUB_HOST = "registry-1.docker.io"
"""The host of Docker Hub's API."""

_Found = tuple[str | None, str]  # user name (None: an identity token) and secret

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = frozenset({DOCKER_HUB, HUB_HOST, "index.docker.io"})
_HELPER_SECONDS = 60
_HELPER_VARIABLES = (
    process.NETWORK | process.FOLDERS | process.DESKTOP | {"DOCKER_CONFIG", "GNUPGHOME", "GPG_TTY", "PASSWORD_STORE_*"}
)
# The helpers of clouds log in with what the cloud's own tools read.
_CLOUD_VARIABLES = {
    "ecr-login": ("AWS_*",),
    "gcloud": ("CLOUDSDK_*", "GOOGLE_*"),
    "gcr": ("CLOUDSDK_*", "GOOGLE_*"),
    "acr-env": ("AZURE_*", "ACR_*"),
}
# What the helpers print when they have no login for a host (github.com/docker/docker-credential-helpers/credentials/error.go).
_NOT_FOUND = "credentials not found"
# The user name under which they keep an identity token.
_IDENTITY_TOKEN = "<token>"  # noqa: S105 - a name, not a token


def login(registry: str, secret: str, username: str | None, env: Mapping[str, str]) -> Credential:
    """A password for this registry and no other; without a user name an identity token, for the registry's token server."""
    host = HUB_HOST if registry == DOCKER_HUB else registry
    where = origins([f"https://{host}", f"http://{host}"], env.get(PLAIN_HTTP, ""))
    return Credential(secret, where, username, f"the login of {registry}", "run `docker login` for the registry that you mean")


def registry_login(registry: str, env: Mapping[str, str] | None = None) -> Credential | None:
    """The login for this registry (`host[:port]`, or `docker.io`); None is anonymous.

    Docker's configuration comes first, then PROMOTER_REGISTRY_USERNAME and _PASSWORD, then ACR_USERNAME and _PASSWORD, then at
    an Azure container registry the identity of the process. Asked again each time: what this returns may be short-lived.

    Raises:
        ConfigError: Docker's config.json can't be read.
        UsageError: of a user name and a password only one is set, or the `azure` extra is not installed.
        AuthError: a credential helper failed, or Azure does not know us.
        UnreachableError: the Azure container registry can't answer now.
    """
    env = os.environ if env is None else env
    cloud = acr.cloud_of(registry)
    found = docker_credentials(registry, env) or _from_variables(registry, env)
    if found is None and cloud is not None:
        return login(registry, acr.refresh_token(registry, cloud, env), None, env)
    return found


def engine_auth(registry: str, env: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """`registry_login` as the Docker engine's API takes it (its `AuthConfig`), raising the same; None is anonymous."""
    found = registry_login(registry, env)
    return _engine_form(found, _key(registry)) if found else None


def _engine_form(login: Credential, server: str) -> dict[str, str]:
    who = {"identitytoken": login.secret} if login.username is None else {"username": login.username, "password": login.secret}
    return {**who, "serveraddress": server}


def engine_logins(env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Every login of Docker's configuration as a build takes them, by registry. One whose helper fails is left out.

    Raises:
        ConfigError: config.json can't be read.
    """
    from docker.auth import convert_to_hostname

    config = _config(_config_file(env))
    found = {}
    for name in sorted({*config["auths"], *config["credHelpers"]}):
        with suppress(AuthError):
            if login := docker_credentials(DOCKER_HUB if name == _HUB_KEY else convert_to_hostname(name), env):
                found[name] = _engine_form(login, name)
    return found


def docker_credentials(registry: str, env: Mapping[str, str] | None = None) -> Credential | None:
    """What Docker would use for this registry: its `credHelpers` entry, else the `credsStore`, else `auths`; None is anonymous.

    `env` stands for the process's environment: DOCKER_CONFIG names the folder of config.json, ~/.docker without it.

    Raises:
        ConfigError: config.json can't be read.
        AuthError: a credential helper is missing or failed.
    """
    from docker.auth import AuthConfig, resolve_index_name

    env = os.environ if env is None else env
    file = _config_file(env)
    config = _config(file)
    helper = AuthConfig(config).get_credential_store(registry)
    found = _from_helper(str(helper), _key(registry), env) if helper else None
    if found is None:
        names = [name for name in config["auths"] if registry in (name, resolve_index_name(name))]
        found = _from_auths(names[0], config["auths"][names[0]], file) if names else None
    return login(registry, found[1], found[0], env) if found else None


def _from_variables(registry: str, env: Mapping[str, str]) -> Credential | None:
    """A user name and password for the host in PROMOTER_REGISTRY, or of Azure's for that in ACR_LOGIN_SERVER.

    Without ACR_LOGIN_SERVER Azure's are for every Azure container registry.
    """
    for prefix, server in (("PROMOTER_REGISTRY", env.get("PROMOTER_REGISTRY")), ("ACR", env.get("ACR_LOGIN_SERVER"))):
        if not (_is(registry, server) if server else prefix == "ACR" and acr.cloud_of(registry) is not None):
            continue
        username, password = env.get(f"{prefix}_USERNAME"), env.get(f"{prefix}_PASSWORD")
        if bool(username) != bool(password):
            missing = f"{prefix}_PASSWORD" if username else f"{prefix}_USERNAME"
            raise UsageError(f"{registry}: {missing} is not set, its counterpart is", hint="set both of them, or neither")
        if username and password:
            return login(registry, password, username, env)
    return None


def _is(registry: str, server: str) -> bool:
    """Whether the variable names this registry: as a host, or as an address of it."""
    from docker.auth import convert_to_hostname

    host = convert_to_hostname(server.lower())
    return registry.lower() in {host, DOCKER_HUB if host in _HUB_NAMES else host}


def _key(registry: str) -> str:
    """What Docker calls the registry in its configuration."""
    return _HUB_KEY if registry == DOCKER_HUB else registry


def _config_file(env: Mapping[str, str]) -> Path:
    return Path(env.get("DOCKER_CONFIG") or home(env) / ".docker") / "config.json"


def _config(file: Path) -> dict[str, Any]:
    """The parts of config.json about credentials, each a JSON object."""
    try:
        config = json.loads(file.read_bytes())
    except FileNotFoundError:
        config = {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"not readable as JSON: {type(error).__name__}", file=str(file), hint="run `docker login` again"
        ) from None
    whole = _object(config, file)
    return {**whole, **{key: _object(whole.get(key) or {}, file, key) for key in ("auths", "credHelpers")}}


def _object(value: Any, file: Path, key: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError("not a JSON object", file=str(file), key=key, hint="run `docker login` again")
    return value


def _from_auths(name: str, entry: Any, file: Path) -> _Found | None:
    from docker.auth import AuthConfig
    from docker.errors import DockerException

    try:
        found = AuthConfig.parse_auth({name: entry or {}}, raise_on_error=True)[name]
    except (DockerException, ValueError, TypeError):
        raise ConfigError(
            "not base64 of user:password", file=str(file), key=f"auths.{name}.auth", hint=f"run `docker login {name}`"
        ) from None
    if token := found.get("IdentityToken"):
        return None, str(token)
    return (found["username"], found["password"].rstrip("\0")) if "username" in found else None


def _from_helper(helper: str, key: str, env: Mapping[str, str]) -> _Found | None:
    """Asks `docker-credential-<helper> get`; neither its output nor its errors are shown, they may hold a secret."""
    program = f"docker-credential-{helper}"
    hint = f"run `echo {key} | {program} get` to see its error"
    environ = process.needed(env, {*_HELPER_VARIABLES, *_CLOUD_VARIABLES.get(helper, ())}, more=True)
    try:
        done = process.run([program, "get"], environ=environ, stdin=key.encode(), seconds=_HELPER_SECONDS)
    except FileNotFoundError:
        raise AuthError(
            f"{program}, named in Docker's config.json, is not on PATH", hint=f"install it, or run `docker login {key}`"
        ) from None
    except process.HungError:
        raise AuthError(f"{program} did not answer in {_HELPER_SECONDS} s", hint=hint) from None
    except OSError as error:
        raise AuthError(f"{program} can't be run: {error.strerror}", hint=hint) from None
    if done.status != 0 and _NOT_FOUND in done.output.lower():
        return None
    try:
        answer: Any = json.loads(done.output) if done.status == 0 else None
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, TypeError, KeyError):
        raise AuthError(f"{program} has no credentials for {key}: exit code {done.status}", hint=hint) from None
    return (None if username == _IDENTITY_TOKEN else username), secret
