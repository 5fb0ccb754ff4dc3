"""Registry credentials: docker config, environment, Azure identity, or anonymous.

Docker's config.json is read as the Docker SDK reads it. Helpers are run here, since the SDK waits for one without a limit:
https://docs.docker.com/reference/cli/docker/login/#credential-stores
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promoter.errors import AuthError, ConfigError, UsageError
from promoter.image import acr
from promoter.image.reference import DOCKER_HUB

_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 60
# What the helpers print when they know nothing of a host (github.com/docker/docker-credential-helpers/credentials/error.go).
_NOT_FOUND = "credentials not found"
# The user name under which they keep an identity token.
_IDENTITY_TOKEN = "<token>"  # noqa: S105 - a name, not a token


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str = field(repr=False)

    def basic(self) -> str:
        """The Authorization header of RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """A refresh token for the registry's token server, kept in a password's place."""

    token: str = field(repr=False)


Login = Credentials | IdentityToken


def registry_login(registry: str, env: Mapping[str, str] | None = None) -> Login | None:
    """Who we are at this registry (`host[:port]`, or `docker.io`); None is anonymous.

    Docker's configuration comes first, then ACR_USERNAME and ACR_PASSWORD, then at an Azure container registry the identity of
    the process. Asked again each time: what this returns may be short-lived.

    Raises:
        ConfigError: Docker's config.json can't be read.
        UsageError: of ACR_USERNAME and ACR_PASSWORD only one is set, or the `azure` extra is not installed.
        AuthError: a credential helper failed, or Azure does not know us.
        UnreachableError: the Azure container registry can't answer now.
    """
    env = os.environ if env is None else env
    cloud = acr.cloud_of(registry)
    found = docker_credentials(registry, env) or _from_variables(registry, env)
    if found is None and cloud is not None:
        return IdentityToken(acr.refresh_token(registry, cloud, env))
    return found


def engine_auth(registry: str, env: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """`registry_login` as the Docker engine's API takes it (its `AuthConfig`), raising the same; None is anonymous."""
    login = registry_login(registry, env)
    if isinstance(login, Credentials):
        return {"username": login.username, "password": login.password, "serveraddress": _key(registry)}
    return {"identitytoken": login.token, "serveraddress": _key(registry)} if login else None


def docker_credentials(registry: str, env: Mapping[str, str] | None = None) -> Login | None:
    """What Docker would use for this registry: its `credHelpers` entry, else the `credsStore`, else `auths`; None is anonymous.

    `env` stands for the process's environment: DOCKER_CONFIG names the folder of config.json, ~/.docker without it.

    Raises:
        ConfigError: config.json can't be read.
        AuthError: a credential helper is missing or failed.
    """
    from docker.auth import AuthConfig, resolve_index_name

    env = os.environ if env is None else env
    file = Path(env.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    config = _config(file)
    helper = AuthConfig(config).get_credential_store(registry)
    if helper and (found := _from_helper(str(helper), _key(registry), env)) is not None:
        return found
    names = [name for name in config["auths"] if registry in (name, resolve_index_name(name))]
    return _from_auths(names[0], config["auths"][names[0]], file) if names else None


def _from_variables(registry: str, env: Mapping[str, str]) -> Credentials | None:
    """ACR_USERNAME and ACR_PASSWORD, which are for the host in ACR_LOGIN_SERVER; without that, for Azure's registries."""
    from docker.auth import convert_to_hostname

    server = env.get("ACR_LOGIN_SERVER")
    meant = registry.lower() == convert_to_hostname(server.lower()) if server else acr.cloud_of(registry) is not None
    if not meant:
        return None
    username, password = env.get("ACR_USERNAME"), env.get("ACR_PASSWORD")
    if bool(username) != bool(password):
        missing = "ACR_PASSWORD" if username else "ACR_USERNAME"
        raise UsageError(f"{registry}: {missing} is not set, its counterpart is", hint="set both of them, or neither")
    return Credentials(username, password) if username and password else None


def _key(registry: str) -> str:
    """What Docker calls the registry in its configuration."""
    return _HUB_KEY if registry == DOCKER_HUB else registry


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


def _from_auths(name: str, entry: Any, file: Path) -> Login | None:
    from docker.auth import AuthConfig
    from docker.errors import DockerException

    try:
        found = AuthConfig.parse_auth({name: entry or {}}, raise_on_error=True)[name]
    except (DockerException, ValueError, TypeError):
        raise ConfigError(
            "not base64 of user:password", file=str(file), key=f"auths.{name}.auth", hint=f"run `docker login {name}`"
        ) from None
    if token := found.get("IdentityToken"):
        return IdentityToken(str(token))
    return Credentials(found["username"], found["password"].rstrip("\0")) if "username" in found else None


def _from_helper(helper: str, key: str, env: Mapping[str, str]) -> Login | None:
    """Asks `docker-credential-<helper> get`; neither its output nor its errors are shown, they may hold a secret."""
    program = f"docker-credential-{helper}"
    hint = f"see what `echo {key} | {program} get` says"
    try:
        done = subprocess.run(
            [program, "get"], input=key, capture_output=True, text=True, timeout=_HELPER_SECONDS, env=dict(env), check=False
        )
    except FileNotFoundError:
        raise AuthError(
            f"{program}, named in Docker's config.json, is not on PATH", hint=f"install it, or run `docker login {key}`"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AuthError(f"{program} did not answer: {type(error).__name__}", hint=hint) from None
    if done.returncode != 0 and _NOT_FOUND in done.stdout.lower():
        return None
    try:
        answer: Any = json.loads(done.stdout) if done.returncode == 0 else None
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, TypeError, KeyError):
        raise AuthError(f"{program} has no credentials for {key}: exit code {done.returncode}", hint=hint) from None
    return IdentityToken(secret) if username == _IDENTITY_TOKEN else Credentials(username, secret)
