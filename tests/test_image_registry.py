"""The distribution API against a real registry, and against one that misbehaves."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from promoter.errors import AuthError, RefusedError, UnreachableError
from promoter.image.connection import Connection
from promoter.image.oci import MANIFEST, Descriptor, canonical, read_bytes, sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.transport.session import Limits
from tests.support import fake_registry as fake
from tests.support.registry_server import (
    PASSWORD,
    USERNAME,
    RegistryServer,
    private_registry_server,
    registry_server,
)

__all__ = ["private_registry_server", "registry_server"]

BLOB = b"layer" * 1000
IMAGE = canonical({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "config": {}})


def login(tmp_path: Path, host: str, username: str, password: str) -> dict[str, str]:
    """An environment in which `docker login` was done."""
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(tmp_path)}


def anonymous(tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path / "nobody")}


def real(server: RegistryServer, env: dict[str, str]) -> RegistryRepository:
    return RegistryRepository(ImageReference.parse(f"{server.host}/team/{uuid.uuid4().hex}"), env=env)


def image(repository: RegistryRepository) -> bytes:
    """A smallest image, its config being its only blob."""
    config = repository.write_blob([b"{}"], 2)
    described = Descriptor("application/vnd.oci.image.config.v1+json", config, 2).as_json()
    return canonical({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []})


# -- a real registry --------------------------------------------------------------------------------------------------


def test_a_real_registry_gives_back_what_it_was_given(registry_server: RegistryServer, tmp_path: Path) -> None:
    repository = real(registry_server, anonymous(tmp_path))
    chunks = [bytes([number]) * (1 << 20) for number in range(5)]
    assert not repository.has_blob(sha256(b"".join(chunks)))
    digest = repository.write_blob(iter(chunks), 5 << 20)
    assert digest == sha256(b"".join(chunks))
    assert repository.has_blob(digest)
    assert read_bytes(repository, Descriptor("x", digest, 5 << 20)) == b"".join(chunks)
    assert repository.read_manifest("v1") is None
    manifest = image(repository)
    assert repository.create_manifest("v1", manifest) == manifest
    assert repository.read_manifest("v1") == repository.read_manifest(sha256(manifest)) == manifest


def test_a_real_registry_keeps_a_tag_where_it_is(registry_server: RegistryServer, tmp_path: Path) -> None:
    repository = real(registry_server, anonymous(tmp_path))
    first = image(repository)
    second = canonical({**json.loads(first), "annotations": {"a": "b"}})
    repository.create_manifest("v1", first)
    assert repository.create_manifest("v1", second) == first
    assert repository.read_manifest("v1") == first


def test_a_real_registry_refuses_a_manifest_without_its_blobs(registry_server: RegistryServer, tmp_path: Path) -> None:
    repository = real(registry_server, anonymous(tmp_path))
    config = Descriptor("application/vnd.oci.image.config.v1+json", sha256(b"never pushed"), 12)
    manifest = canonical({"schemaVersion": 2, "mediaType": MANIFEST, "config": config.as_json(), "layers": []})
    with pytest.raises(RefusedError, match="MANIFEST_BLOB_UNKNOWN"):
        repository.create_manifest("v1", manifest)
    assert repository.read_manifest("v1") is None


def test_a_real_registry_forgets_an_upload_that_broke_off(registry_server: RegistryServer, tmp_path: Path) -> None:
    def changing() -> Iterator[bytes]:
        yield BLOB
        raise RefusedError("it changed while it was read")

    repository = real(registry_server, anonymous(tmp_path))
    with pytest.raises(RefusedError, match="it changed"):
        repository.write_blob(changing(), len(BLOB) * 2)
    assert not repository.has_blob(sha256(BLOB))
    assert repository.write_blob([BLOB], len(BLOB)) == sha256(BLOB)


def test_a_real_registry_with_a_password(private_registry_server: RegistryServer, tmp_path: Path) -> None:
    repository = real(private_registry_server, login(tmp_path, private_registry_server.host, USERNAME, PASSWORD))
    manifest = image(repository)
    assert repository.create_manifest("v1", manifest) == manifest


@pytest.mark.parametrize("password", [None, "wrong-horse"])
def test_a_real_registry_that_does_not_know_us(
    private_registry_server: RegistryServer, tmp_path: Path, password: str | None
) -> None:
    host = private_registry_server.host
    env = login(tmp_path, host, USERNAME, password) if password else anonymous(tmp_path)
    with pytest.raises(AuthError) as error:
        real(private_registry_server, env).write_blob([BLOB], len(BLOB))
    assert f"docker login {host}" in error.value.hint
    assert "wrong-horse" not in error.value.message + error.value.hint


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    reference = ImageReference.parse("127.0.0.1:1/team/model")
    repository = RegistryRepository(reference, env=anonymous(tmp_path), limits=Limits(total=0))
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        repository.write_blob([BLOB], len(BLOB))


# -- one that misbehaves -----------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[fake.FakeRegistry]:
    with fake.fake_registry(fake.FakeRegistry()) as running:
        yield running


def repository_of(server: fake.FakeRegistry, env: dict[str, str]) -> RegistryRepository:
    return RegistryRepository(ImageReference.parse(f"{server.host}/team/model"), env=env)


def test_a_token_is_fetched_with_the_password_and_used_for_everything(server: fake.FakeRegistry, tmp_path: Path) -> None:
    server.bearer = True
    repository = repository_of(server, login(tmp_path, server.host, fake.USERNAME, fake.PASSWORD))
    assert repository.write_blob([BLOB], len(BLOB)) == sha256(BLOB)
    assert repository.create_manifest("v1", IMAGE) == IMAGE
    token_calls = [call for call in server.calls if call.path.startswith("/token")]
    assert len(token_calls) == 1
    assert {call.authorization for call in server.calls[2:]} == {f"Bearer {fake.TOKEN}"}


def test_a_token_that_runs_out_on_the_way_is_fetched_again(server: fake.FakeRegistry, tmp_path: Path) -> None:
    server.bearer = True
    repository = repository_of(server, login(tmp_path, server.host, fake.USERNAME, fake.PASSWORD))
    challenge = f'Bearer realm="http://{server.host}/token",service="fake",scope="repository:team/model:pull,push"'
    server.fail("PUT /v2/team/model/blobs/uploads/", 401, headers={"WWW-Authenticate": challenge})
    assert repository.write_blob([BLOB], len(BLOB)) == sha256(BLOB)
    assert len([call for call in server.calls if call.path.startswith("/token")]) == 2


def test_a_token_server_that_does_not_know_us(server: fake.FakeRegistry, tmp_path: Path) -> None:
    server.bearer = True
    with pytest.raises(AuthError, match="returned no token without a login"):
        repository_of(server, anonymous(tmp_path)).read_manifest("v1")
    with pytest.raises(AuthError, match="returned no token as robot") as error:
        repository_of(server, login(tmp_path, server.host, "robot", "wrong-horse")).read_manifest("v1")
    assert "wrong-horse" not in error.value.message


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Negotiate",
        "Digest realm=x",
        'Bearer realm="http://elsewhere.example/token"',
        'Bearer service="x"',
        'Bearer realm="ftp://x"',
    ],
)
def test_a_challenge_that_can_not_be_trusted_gets_no_password(
    server: fake.FakeRegistry, tmp_path: Path, challenge: str
) -> None:
    server.fail("GET /v2/", 401, headers={"WWW-Authenticate": challenge})
    with pytest.raises(AuthError):
        repository_of(server, login(tmp_path, server.host, "robot", "secret")).read_manifest("v1")
    assert [call.authorization for call in server.calls] == [None]


def test_a_read_follows_to_the_storage_without_credentials(server: fake.FakeRegistry, tmp_path: Path) -> None:
    server.bearer = True
    server.blobs[sha256(BLOB)] = BLOB
    with fake.fake_registry(fake.FakeRegistry()) as storage:
        storage.blobs.update(server.blobs)
        server.storage = storage.host
        repository = repository_of(server, login(tmp_path, server.host, fake.USERNAME, fake.PASSWORD))
        assert repository.has_blob(sha256(BLOB))
        assert read_bytes(repository, Descriptor("x", sha256(BLOB), len(BLOB))) == BLOB
        assert [call.authorization for call in storage.calls] == [None, None]
        # A storage that asks for a password must not get the registry's.
        challenge = f'Bearer realm="http://{storage.host}/token",scope="repository:team/model:pull,push"'
        storage.fail("GET /v2/", 401, headers={"WWW-Authenticate": challenge})
        with pytest.raises(AuthError):
            read_bytes(repository, Descriptor("x", sha256(BLOB), len(BLOB)))
        assert {call.authorization for call in storage.calls} == {None}


def test_a_redirect_in_a_circle_or_to_plain_http_is_refused(server: fake.FakeRegistry, tmp_path: Path) -> None:
    repository = repository_of(server, anonymous(tmp_path))
    server.fail("HEAD /v2/", 307, headers={"Location": "/v2/team/model/blobs/x"}, times=9)
    with pytest.raises(RefusedError, match="redirected more than"):
        repository.has_blob(sha256(BLOB))
    server.fail("GET /v2/team/model/blobs/", 307, headers={"Location": "http://elsewhere.example/x"})
    with pytest.raises(RefusedError, match="not https"):
        read_bytes(repository, Descriptor("x", sha256(BLOB), len(BLOB)))


def test_a_signed_url_is_not_shown(server: fake.FakeRegistry, tmp_path: Path) -> None:
    server.fail("GET /v2/", 307, headers={"Location": "http://127.0.0.1:1/storage?signature=secret"})
    reference = ImageReference.parse(f"{server.host}/team/model")
    repository = RegistryRepository(reference, env=anonymous(tmp_path), limits=Limits(total=0))
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1/storage") as error:
        read_bytes(repository, Descriptor("x", sha256(BLOB), len(BLOB)))
    assert "secret" not in error.value.message + error.value.hint


def test_other_bytes_than_asked_for_are_refused(server: fake.FakeRegistry, tmp_path: Path) -> None:
    repository = repository_of(server, anonymous(tmp_path))
    server.blobs[sha256(BLOB)] = b"tampered" * 625
    with pytest.raises(RefusedError, match="does not match its digest"):
        read_bytes(repository, Descriptor("x", sha256(BLOB), len(BLOB)))
    server.manifests[sha256(b"asked")] = b"answered"
    with pytest.raises(RefusedError, match="was expected"):
        repository.read_manifest(sha256(b"asked"))


@pytest.mark.parametrize("request_line", ["PUT /v2/team/model/blobs/", "PUT /v2/team/model/manifests/"])
def test_a_registry_that_stored_something_else_is_refused(server: fake.FakeRegistry, tmp_path: Path, request_line: str) -> None:
    server.fail(request_line, 201, headers={"Docker-Content-Digest": sha256(b"something else")})
    repository = repository_of(server, anonymous(tmp_path))
    with pytest.raises(RefusedError, match="was expected, the registry has"):
        repository.create_manifest("v1", IMAGE) if "manifests" in request_line else repository.write_blob([BLOB], len(BLOB))


def test_a_moment_of_trouble_is_waited_out(server: fake.FakeRegistry, tmp_path: Path) -> None:
    for request in ("HEAD /v2/", "POST /v2/", "GET /v2/team/model/manifests", "PUT /v2/"):
        server.fail(request, 503, headers={"Retry-After": "0"}, times=2)
    repository = repository_of(server, anonymous(tmp_path))
    assert not repository.has_blob(sha256(BLOB))
    assert repository.write_blob([BLOB], len(BLOB)) == sha256(BLOB)
    assert repository.create_manifest("v1", IMAGE) == IMAGE


@pytest.mark.parametrize(
    ("status", "code", "error", "message"),
    [
        (400, "MANIFEST_INVALID", RefusedError, "400 MANIFEST_INVALID: MANIFEST_INVALID it is"),
        (400, "", RefusedError, "400 Bad Request"),
        (403, "DENIED", AuthError, "403 DENIED"),
        (404, "NAME_UNKNOWN", RefusedError, "404 NAME_UNKNOWN"),
        (413, "", RefusedError, "413"),
    ],
)
def test_what_the_registry_reports_is_reported(
    server: fake.FakeRegistry, tmp_path: Path, status: int, code: str, error: type[Exception], message: str
) -> None:
    server.fail("PUT /v2/team/model/manifests/", status, code=code)
    with pytest.raises(error, match=message):
        repository_of(server, anonymous(tmp_path)).create_manifest("v1", IMAGE)
    assert server.manifests == {}


def test_plain_http_only_for_this_machine_and_hosts_that_were_named() -> None:
    def url(text: str) -> str:
        return Connection(ImageReference.parse(text), ["registry.local:5000"], None, None).base_url

    assert url("localhost/x") == "http://localhost/v2/x"
    assert url("[::1]:5000/x") == "http://[::1]:5000/v2/x"
    assert url("127.0.0.1:5000/x") == "http://127.0.0.1:5000/v2/x"
    assert url("registry.local:5000/x") == "http://registry.local:5000/v2/x"
    assert url("registry.local/x") == "https://registry.local/v2/x"
    assert url("localhost.example.com/x") == "https://localhost.example.com/v2/x"
    assert url("python") == "https://registry-1.docker.io/v2/library/python"
