"""Credentials as Docker keeps them: config.json, and helpers that are real programs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from promoter.errors import AuthError, ConfigError
from promoter.image.credentials import Credentials, docker_credentials

SECRET = "hunter2:with:colons"
AUTH = base64.b64encode(f"robot:{SECRET}".encode()).decode()
ROBOT = Credentials("robot", SECRET)

HELPER = """#!/bin/sh
read host
case "$1 $host" in
  "get helped.example") printf '{"ServerURL":"x","Username":"robot","Secret":"hunter2:with:colons"}';;
  "get token.example") printf '{"Username":"<token>","Secret":"hunter2:with:colons"}';;
  "get broken.example") printf 'hunter2:with:colons is the secret'; exit 3;;
  "get odd.example") printf '["hunter2:with:colons"]';;
  *) printf 'credentials not found in native keychain'; exit 1;;
esac
"""


def environment(tmp_path: Path, config: Any) -> dict[str, str]:
    """Docker's config.json in a folder of its own, and a helper called `test` on PATH."""
    helper = tmp_path / "docker-credential-test"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("config", "registry"),
    [
        ({"auths": {"ghcr.io": {"auth": AUTH}}}, "ghcr.io"),
        ({"auths": {"localhost:5000": {"auth": AUTH}}}, "localhost:5000"),
        ({"auths": {"https://ghcr.io/v2/": {"auth": AUTH}}}, "ghcr.io"),
        ({"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}}, "docker.io"),
        ({"credHelpers": {"helped.example": "test"}, "auths": {"helped.example": {}}}, "helped.example"),
        ({"credsStore": "test"}, "helped.example"),
        ({"credsStore": "test", "auths": {"ghcr.io": {"auth": AUTH}}}, "ghcr.io"),
    ],
)
def test_credentials_are_found_where_docker_finds_them(tmp_path: Path, config: Any, registry: str) -> None:
    assert docker_credentials(registry, environment(tmp_path, config)) == ROBOT


@pytest.mark.parametrize(
    "config",
    [{}, {"auths": {"other.example": {"auth": AUTH}}}, {"auths": {"ghcr.io": {}}}, {"credsStore": "test", "auths": None}],
)
def test_nobody_is_logged_in(tmp_path: Path, config: Any) -> None:
    assert docker_credentials("ghcr.io", environment(tmp_path, config)) is None
    assert docker_credentials("ghcr.io", {"DOCKER_CONFIG": str(tmp_path / "none")}) is None


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        {"auths": ["x"]},
        {"credHelpers": "x"},
        {"auths": {"ghcr.io": "x"}},
        {"auths": {"ghcr.io": {"auth": "%%%"}}},
        {"auths": {"ghcr.io": {"auth": base64.b64encode(SECRET.replace(":", "").encode()).decode()}}},
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, config: Any) -> None:
    with pytest.raises(ConfigError) as error:
        docker_credentials("ghcr.io", environment(tmp_path, config))
    assert str(tmp_path / "config.json") in error.value.message
    assert "hunter2" not in error.value.message


@pytest.mark.parametrize(
    ("config", "registry", "message"),
    [
        ({"credsStore": "absent"}, "ghcr.io", "not on PATH"),
        ({"credsStore": "test"}, "broken.example", "exit code 3"),
        ({"credsStore": "test"}, "odd.example", "no credentials"),
        ({"credsStore": "test"}, "token.example", "identity token"),
        ({"auths": {"ghcr.io": {"identitytoken": SECRET}}}, "ghcr.io", "identity token"),
    ],
)
def test_helpers_fail_without_telling_secrets(tmp_path: Path, config: Any, registry: str, message: str) -> None:
    with pytest.raises(AuthError, match=message) as error:
        docker_credentials(registry, environment(tmp_path, config))
    assert "hunter2" not in error.value.message + error.value.hint


def test_a_password_is_not_shown_with_its_owner() -> None:
    assert "hunter2" not in repr(ROBOT)
