"""What registries ask for when they answer 401, in their own words, and what each is given, over real TLS."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from promoter.errors import AuthError, UnreachableError
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from tests.support.internet import Answer, Internet, Request, internet

PASSWORD, IDENTITY, ACCESS = "s3cret-password", "s3cret-identity-token", "s3cret-access-token"
MANIFEST = b"{}"


@dataclass(frozen=True)
class Registry:
    """A registry as it introduces itself: `image` is a repository there, `scope` what it wants a token for."""

    image: str
    realm: str
    service: str
    scope: str
    username: str = "robot"
    answer: Mapping[str, Any] | None = None
    host: str = ""

    @property
    def name(self) -> str:
        return self.image.partition("/")[0]

    @property
    def challenge(self) -> str:
        return f'Bearer realm="{self.realm}",service="{self.service}",scope="{self.scope}"'


def token(name: str = "token") -> dict[str, Any]:
    return {name: ACCESS, "expires_in": 300}


REGISTRIES = [
    Registry("ghcr.io/octo/model", "https://ghcr.io/token", "ghcr.io", "repository:octo/model:pull"),
    Registry(
        "docker.io/library/python",
        "https://auth.docker.io/token",
        "registry.docker.io",
        "repository:library/python:pull",
        answer={"token": ACCESS, "access_token": ACCESS, "issued_at": "2026-01-01T00:00:00Z"},
        host="registry-1.docker.io",
    ),
    Registry(
        "europe-west1-docker.pkg.dev/project/models/fraud",
        "https://europe-west1-docker.pkg.dev/v2/token",
        "europe-west1-docker.pkg.dev",
        "repository:project/models/fraud:pull",
        username="oauth2accesstoken",
    ),
    Registry("public.ecr.aws/x/model", "https://public.ecr.aws/token/", "public.ecr.aws", "aws", username="AWS"),
    Registry(
        "registry.gitlab.com/group/project",
        "https://gitlab.com/jwt/auth",
        "container_registry",
        "repository:group/project:pull",
    ),
    Registry("quay.io/org/model", "https://quay.io/v2/auth", "quay.io", "repository:org/model:pull", username="org+robot"),
    Registry(
        "harbor.example.com/models/fraud",
        "https://harbor.example.com/service/token",
        "harbor-registry",
        "repository:models/fraud:pull",
        username="robot$models",
    ),
    Registry(
        "contoso.azurecr.io/team/model",
        "https://contoso.azurecr.io/oauth2/token",
        "contoso.azurecr.io",
        "repository:team/model:pull",
        answer=token("access_token"),
    ),
]
GHCR, ECR = REGISTRIES[0], "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
HOSTS = {ECR, *(registry.host or registry.name for registry in REGISTRIES), *(urlsplit(r.realm).netloc for r in REGISTRIES)}


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with internet(tmp_path_factory.mktemp("internet"), tuple(sorted(HOSTS))) as world:
        yield world


@pytest.fixture
def world(loopback: Internet, monkeypatch: pytest.MonkeyPatch) -> Internet:
    loopback.services.clear()
    loopback.requests.clear()
    loopback.reach(monkeypatch)
    return loopback


def serve(world: Internet, registry: Registry, token_server: Any = None) -> None:
    """The registry, and its token server on the same host or on another."""
    host, realm = registry.host or registry.name, urlsplit(registry.realm)

    def answer(request: Request) -> Answer:
        if (request.host, request.path) == (realm.netloc, realm.path):
            return token_server(request) if token_server else _json(200, registry.answer or token())
        if request.headers.get("Authorization") == f"Bearer {ACCESS}":
            return 200, {}, MANIFEST
        return 401, {"WWW-Authenticate": registry.challenge}, b""

    world.services |= {host: answer, realm.netloc: answer}


def read(image: str, tmp_path: Path, config: Mapping[str, Any] | None = None) -> bytes | None:
    """The manifest, for somebody with this Docker configuration."""
    (tmp_path / "config.json").write_text(json.dumps(config or {}))
    return RegistryRepository(ImageReference.parse(image), env={"DOCKER_CONFIG": str(tmp_path)}).read_manifest("v1")


def basic(username: str) -> str:
    return base64.b64encode(f"{username}:{PASSWORD}".encode()).decode()


def login(registry: Registry, **entry: str) -> dict[str, Any]:
    key = "https://index.docker.io/v1/" if registry.host else registry.name
    return {"auths": {key: entry}}


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.name)
def test_a_password_gets_a_token(world: Internet, tmp_path: Path, registry: Registry) -> None:
    serve(world, registry)
    assert read(registry.image, tmp_path, login(registry, auth=basic(registry.username))) == MANIFEST
    asked = world.requests[1]
    assert (asked.method, asked.url) == ("GET", registry.realm)
    assert dict(asked.query) == {"service": registry.service, "scope": registry.scope}
    assert asked.headers["Authorization"] == f"Basic {basic(registry.username)}"


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.name)
def test_an_identity_token_gets_a_token(world: Internet, tmp_path: Path, registry: Registry) -> None:
    serve(world, registry)
    assert read(registry.image, tmp_path, login(registry, identitytoken=IDENTITY)) == MANIFEST
    asked = world.requests[1]
    assert (asked.method, asked.url, asked.query) == ("POST", registry.realm, ())
    wanted = {"service": registry.service, "scope": registry.scope, "client_id": "promoter"}
    assert asked.form == {"grant_type": "refresh_token", "refresh_token": IDENTITY, **wanted}
    assert asked.headers.get("Authorization") is None


def test_nobody_gets_a_token_for_what_is_public(world: Internet, tmp_path: Path) -> None:
    serve(world, GHCR)
    assert read(GHCR.image, tmp_path) == MANIFEST
    assert [request.headers.get("Authorization") for request in world.requests] == [None, None, f"Bearer {ACCESS}"]


def test_each_scope_of_a_challenge_is_asked_for(world: Internet, tmp_path: Path) -> None:
    both = "repository:octo/model:pull,push repository:octo/runtime:pull"
    serve(world, Registry(GHCR.image, GHCR.realm, GHCR.service, both))
    assert read(GHCR.image, tmp_path) == MANIFEST
    assert world.requests[1].query[1:] == (("scope", both.split()[0]), ("scope", both.split()[1]))


def test_a_registry_that_wants_the_password_itself(world: Internet, tmp_path: Path) -> None:
    challenge = f'Basic realm="https://{ECR}/",service="ecr.amazonaws.com"'

    def answer(request: Request) -> Answer:
        known = request.headers.get("Authorization") == f"Basic {basic('AWS')}"
        return (200, {}, MANIFEST) if known else (401, {"WWW-Authenticate": challenge}, b"Not Authorized\n")

    world.services[ECR] = answer
    assert read(f"{ECR}/model", tmp_path, {"auths": {ECR: {"auth": basic("AWS")}}}) == MANIFEST
    with pytest.raises(AuthError, match="requires a password, and only an identity token is kept") as error:
        read(f"{ECR}/model", tmp_path, {"auths": {ECR: {"identitytoken": IDENTITY}}})
    assert IDENTITY not in error.value.message + error.value.hint
    with pytest.raises(AuthError, match="the registry requires a password"):
        read(f"{ECR}/model", tmp_path)


@pytest.mark.parametrize("entry", [{"auth": basic("robot")}, {"identitytoken": IDENTITY}], ids=["password", "identity token"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((307, {"Location": "https://quay.io/v2/auth"}, b""), AuthError),
        ((401, {}, b"{}"), AuthError),
        ((404, {}, b"<html>"), AuthError),
        ((200, {}, b"<html>"), AuthError),
        ((200, {}, b'["token"]'), AuthError),
        ((200, {}, b'{"token": 1}'), AuthError),
        ((429, {"Retry-After": "60"}, b""), UnreachableError),
    ],
)
def test_a_token_server_that_gives_none(
    world: Internet, tmp_path: Path, entry: dict[str, str], answer: Answer, error: type[Exception]
) -> None:
    serve(world, GHCR, lambda _: answer)
    with pytest.raises(error, match=r"ghcr\.io/octo/model: its token server ghcr\.io") as caught:
        read(GHCR.image, tmp_path, login(GHCR, **entry))
    assert "s3cret" not in str(caught.value)
    assert world.asked("quay.io") == []


def test_plain_http_is_never_tried_where_nobody_named_it(world: Internet, tmp_path: Path) -> None:
    """The proxy sees each request that would go out without TLS; the certificate is not for this host."""
    world.services["other.example.com"] = lambda _: (200, {}, MANIFEST)
    with pytest.raises(UnreachableError, match="certificate"):
        read("other.example.com/model", tmp_path, {"auths": {"other.example.com": {"auth": basic("robot")}}})
    assert world.requests == []


def _json(status: int, value: Mapping[str, Any]) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()
