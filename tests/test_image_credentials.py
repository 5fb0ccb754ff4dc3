"""Credentials as Docker keeps them: config.json, and helpers that are real programs."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promoter.errors import AuthError, ConfigError, UsageError
from promoter.image.credentials import docker_credentials, engine_auth, login, registry_login
from promoter.image.registry_token import Asking, authorization, delegated
from promoter.transport.credential import Credential

SECRET = "hunter2:with:colons"
AUTH = base64.b64encode(f"robot:{SECRET}".encode()).decode()
ROBOT = ("robot", SECRET)


def of(found: Credential | None) -> tuple[str | None, str] | None:
    return (found.username, found.secret) if found else None


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
    found = docker_credentials(registry, environment(tmp_path, config))
    assert of(found) == ROBOT
    assert found is not None
    found.require(f"https://{'registry-1.docker.io' if registry == 'docker.io' else registry}/v2/")
    with pytest.raises(AuthError):
        found.require("https://other.example/v2/")


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
    ],
)
def test_helpers_fail_without_telling_secrets(tmp_path: Path, config: Any, registry: str, message: str) -> None:
    with pytest.raises(AuthError, match=message) as error:
        docker_credentials(registry, environment(tmp_path, config))
    assert "hunter2" not in error.value.message + error.value.hint


@pytest.mark.parametrize(
    ("config", "registry"),
    [
        ({"credsStore": "test"}, "token.example"),
        ({"auths": {"ghcr.io": {"identitytoken": SECRET}}}, "ghcr.io"),
        ({"auths": {"ghcr.io": {"auth": base64.b64encode(b"robot:").decode(), "identitytoken": SECRET}}}, "ghcr.io"),
    ],
)
def test_an_identity_token_is_kept_in_a_password_s_place(tmp_path: Path, config: Any, registry: str) -> None:
    assert of(docker_credentials(registry, environment(tmp_path, config))) == (None, SECRET)


def test_a_password_goes_over_plain_http_only_where_that_is_allowed(tmp_path: Path) -> None:
    registry, url = "registry.tools:5000", "http://registry.tools:5000"
    env = environment(tmp_path, {"auths": {registry: {"auth": AUTH}}})
    asking = Asking(f"{registry}/m", f"{url}/v2/m", lambda _: True)
    for challenge in ("Basic realm=x", f'Bearer realm="{url}/token"', 'Bearer realm="https://other.example/token"'):
        with pytest.raises(AuthError, match=r"is not sent to http://registry\.tools:5000") as caught:
            authorization(challenge, docker_credentials(registry, env), asking)
        assert "PROMOTER_PLAIN_HTTP_HOSTS=registry.tools:5000" in caught.value.hint
    allowed = docker_credentials(registry, env | {"PROMOTER_PLAIN_HTTP_HOSTS": registry})
    assert authorization("Basic realm=x", allowed, asking).startswith("Basic ")


@pytest.mark.parametrize(
    ("registry", "realm", "sent"),
    [
        ("registry-1.docker.io", "https://auth.docker.io/token", True),
        ("registry.gitlab.corp.example", "https://gitlab.corp.example/jwt/auth", True),
        ("quay.io", "https://quay.io/v2/auth", True),
        ("quay.io", "https://auth.quay.io/v2", True),
        ("quay.io", "https://other.io/v2/auth", False),
        ("registry.corp.example", "https://corp.example.evil.net/token", False),
        ("registry.corp.example", "https://notcorp.example/token", False),
        ("10.1.2.3:5000", "https://10.1.2.4/token", False),
        ("10.1.2.3:5000", "https://9.1.2.3/token", False),
    ],
)
def test_a_login_goes_to_token_servers_of_the_registry_s_domain(registry: str, realm: str, sent: bool) -> None:
    given = login(registry, "hunter2", "robot", {})
    asking = Asking(f"{registry}/m", f"https://{registry}/v2/m", lambda _: False)
    server = realm.partition("://")[2].partition("/")[0]
    allowed = delegated(given, realm, replace(asking, token_servers=f"x.example {server}"))
    assert allowed.origins == {f"https://{server}"}
    if sent:
        assert delegated(given, realm, asking) == allowed
    else:
        with pytest.raises(AuthError, match="not sent to the token server") as caught:
            delegated(given, realm, asking)
        assert caught.value.hint.endswith(f"PROMOTER_TOKEN_SERVERS={server}")


# -- the variables of Azure container registries ------------------------------------------------------------------------

VARIABLES = {"ACR_USERNAME": "robot", "ACR_PASSWORD": SECRET, "DOCKER_CONFIG": "nowhere"}


@pytest.mark.parametrize(
    ("server", "registry", "expected"),
    [
        ("", "contoso.azurecr.io", ROBOT),
        ("", "Contoso.AzureCR.us", ROBOT),
        ("", "ghcr.io", None),
        ("", "azurecr.io.example.com", None),
        ("contoso.azurecr.io", "contoso.azurecr.io", ROBOT),
        ("https://Contoso.azurecr.io/", "contoso.azurecr.io", ROBOT),
        ("contoso.azurecr.io", "ghcr.io", None),
        ("registry.example.com:5000", "registry.example.com:5000", ROBOT),
    ],
)
def test_acr_username_and_password(server: str, registry: str, expected: tuple[str, str] | None) -> None:
    assert of(registry_login(registry, VARIABLES | {"ACR_LOGIN_SERVER": server})) == expected


@pytest.mark.parametrize(
    ("server", "registry", "expected"),
    [
        ("ghcr.io", "ghcr.io", ROBOT),
        ("ghcr.io", "docker.io", None),
        ("docker.io", "docker.io", ROBOT),
        ("https://index.docker.io/v1/", "docker.io", ROBOT),
        ("123.dkr.ecr.eu-west-1.amazonaws.com", "123.dkr.ecr.eu-west-1.amazonaws.com", ROBOT),
        ("https://Europe-docker.pkg.dev/", "europe-docker.pkg.dev", ROBOT),
        ("contoso.azurecr.io", "contoso.azurecr.io", ROBOT),
        ("", "ghcr.io", None),
    ],
)
def test_the_login_of_any_registry_by_variables(server: str, registry: str, expected: tuple[str, str] | None) -> None:
    own = {"PROMOTER_REGISTRY_USERNAME": "robot", "PROMOTER_REGISTRY_PASSWORD": SECRET, "DOCKER_CONFIG": "nowhere"}
    assert of(registry_login(registry, own | {"PROMOTER_REGISTRY": server})) == expected


@pytest.mark.parametrize("missing", ["ACR_USERNAME", "ACR_PASSWORD"])
def test_half_a_login_is_named(missing: str) -> None:
    env = {name: value for name, value in VARIABLES.items() if name != missing}
    with pytest.raises(UsageError, match=f"{missing} is not set") as error:
        registry_login("contoso.azurecr.io", env)
    assert "hunter2" not in error.value.message + error.value.hint
    assert registry_login("ghcr.io", env) is None


# -- the Docker engine --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("ghcr.io", {"username": "robot", "password": SECRET, "serveraddress": "ghcr.io"}),
        ("docker.io", {"username": "robot", "password": SECRET, "serveraddress": "https://index.docker.io/v1/"}),
        ("token.example", {"identitytoken": SECRET, "serveraddress": "token.example"}),
        ("quay.io", None),
    ],
)
def test_the_engine_is_given_the_same(tmp_path: Path, registry: str, expected: dict[str, str] | None) -> None:
    auths = {"ghcr.io": {"auth": AUTH}, "https://index.docker.io/v1/": {"auth": AUTH}}
    env = environment(tmp_path, {"credsStore": "test", "auths": auths})
    assert engine_auth(registry, env) == expected
