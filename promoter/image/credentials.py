"""Who we are at a container registry: what `docker login` left in Docker's config.json, or nobody.

The file and the credential helpers: https://docs.docker.com/reference/cli/docker/login/#credential-stores
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promoter.errors import AuthError, ConfigError
from promoter.image.reference import DOCKER_HUB

_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 60
# What the helpers print when they know nothing of a host (github.com/docker/docker-credential-helpers/credentials/error.go).
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str = field(repr=False)

    def basic(self) -> str:
        """The Authorization header of RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def docker_credentials(registry: str, env: Mapping[str, str] | None = None) -> Credentials | None:
    """What Docker would use for this registry: its `credHelpers` entry, else the `credsStore`, else `auths`; None is anonymous.

    `env` stands for the process's environment: DOCKER_CONFIG names the folder of config.json, ~/.docker without it.

    Raises:
        ConfigError: config.json can't be read.
        AuthError: a credential helper is missing or failed, or what is kept is not a user and a password.
    """
    env = os.environ if env is None else env
    file = Path(env.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    config = _config(file)
    key = _HUB_KEY if registry == DOCKER_HUB else registry
    helper = _section(config, "credHelpers", file).get(registry) or config.get("credsStore")
    if helper:
        found = _from_helper(str(helper), key, env)
        if found is not None:
            return found
    for name, entry in _section(config, "auths", file).items():
        if name == key or _host(name) == registry:
            return _from_auths(entry, file, name)
    return None


def engine_auth(registry: str, env: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """The same as the Docker engine's API takes it (its `AuthConfig`), raising the same; None is anonymous."""
    found = docker_credentials(registry, env)
    key = _HUB_KEY if registry == DOCKER_HUB else registry
    return {"username": found.username, "password": found.password, "serveraddress": key} if found else None


def _config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"not readable as JSON: {type(error).__name__}", file=str(file), hint="run `docker login` again"
        ) from None
    if not isinstance(config, dict):
        raise ConfigError("not a JSON object", file=str(file), hint="run `docker login` again")
    return config


def _section(config: Mapping[str, Any], key: str, file: Path) -> dict[str, Any]:
    section = config.get(key) or {}
    if not isinstance(section, dict):
        raise ConfigError("not a JSON object", file=str(file), key=key, hint="run `docker login` again")
    return section


def _host(key: str) -> str:
    """The host of a key of `auths`, where old versions of Docker wrote a URL."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_auths(entry: Any, file: Path, name: str) -> Credentials | None:
    try:
        if not entry:
            return None
        if entry.get("identitytoken"):
            raise _identity_token(name)
        if not entry.get("auth"):
            return None
        username, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (AttributeError, TypeError, binascii.Error, UnicodeDecodeError):
        username, colon, password = "", "", ""
    if not colon:
        raise ConfigError(
            "not base64 of user:password", file=str(file), key=f"auths.{name}.auth", hint=f"run `docker login {name}`"
        )
    return Credentials(username, password.rstrip("\0"))


def _from_helper(helper: str, key: str, env: Mapping[str, str]) -> Credentials | None:
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
    if username == "<token>":
        raise _identity_token(key)
    return Credentials(username, secret)


def _identity_token(name: str) -> AuthError:
    return AuthError(
        f"for {name} Docker's config.json keeps an identity token, which can't be used here",
        hint=f"run `docker login {name}` with a user name and a password or access token",
    )
