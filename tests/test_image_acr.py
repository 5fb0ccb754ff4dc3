"""Azure container registries over real TLS: who we are in Azure becomes a token of the registry, in each of Azure's clouds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from promoter.errors import AuthError, UnreachableError, UsageError
from promoter.image.credentials import engine_auth
from promoter.image.oci import sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from tests.support import azure
from tests.support import fake_registry as fake
from tests.support.azure import AzureRegistry
from tests.support.internet import Internet, internet

PUBLIC = "login.microsoftonline.com"
ACR_AUDIENCE = "https://containerregistry.azure.net"
BLOB = b"layer" * 1000
CLOUDS = {
    "contoso.azurecr.io": (PUBLIC, ACR_AUDIENCE),
    "contoso.azurecr.us": ("login.microsoftonline.us", "https://management.usgovcloudapi.net"),
    "contoso.azurecr.cn": ("login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
}


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    names = ("*.azurecr.io", "*.azurecr.us", "*.azurecr.cn", *(authority for authority, _ in CLOUDS.values()))
    with internet(tmp_path_factory.mktemp("internet"), names) as world:
        yield world


@pytest.fixture
def world(loopback: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Internet:
    """A machine on which nobody is logged in, and which has a metadata service, but no identity."""
    loopback.services.clear()
    loopback.requests.clear()
    loopback.services[loopback.address] = azure.no_identity
    loopback.reach(monkeypatch)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", loopback.proxy)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    return loopback


@pytest.fixture
def backend() -> Iterator[fake.FakeRegistry]:
    with fake.fake_registry(fake.FakeRegistry()) as running:
        yield running


def registry(world: Internet, backend: fake.FakeRegistry, host: str = "contoso.azurecr.io") -> AzureRegistry:
    """A registry of that cloud, and the cloud's Entra."""
    authority, audience = CLOUDS[host]
    world.services[authority] = azure.entra
    world.services[host] = served = AzureRegistry(host, backend.host, audience)
    return served


def repository(host: str = "contoso.azurecr.io") -> RegistryRepository:
    return RegistryRepository(ImageReference.parse(f"{host}/team/model"))


# -- who we are in Azure -----------------------------------------------------------------------------------------------


def service_principal(world: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", azure.TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", azure.CLIENT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", azure.CLIENT_SECRET)


def workload_identity(world: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(azure.ASSERTION)
    monkeypatch.setenv("AZURE_TENANT_ID", azure.TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", azure.CLIENT)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")


def virtual_machine(world: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world.services[world.address] = azure.virtual_machine


def app_service(world: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world.services[world.address] = azure.app_service
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{world.proxy}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", azure.IDENTITY_HEADER)


def az_login(world: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An `az` that knows one command, and where somebody is logged in."""
    answer = {"accessToken": azure.entra_token(ACR_AUDIENCE), "expires_on": 4_102_444_800, "tokenType": "Bearer"}
    wanted = f"account get-access-token --output json --resource {ACR_AUDIENCE}"
    az = tmp_path / "az"
    az.write_text(f"#!/bin/sh\n[ \"$*\" = '{wanted}' ] || exit 2\necho '{json.dumps(answer)}'\n")
    az.chmod(0o755)


@pytest.mark.parametrize("identity", [service_principal, workload_identity, virtual_machine, app_service, az_login])
def test_an_identity_in_azure_is_a_login(
    world: Internet,
    backend: fake.FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    identity: Callable[[Internet, pytest.MonkeyPatch, Path], None],
) -> None:
    acr = registry(world, backend)
    identity(world, monkeypatch, tmp_path)
    assert repository().write_blob([BLOB], len(BLOB)) == sha256(BLOB)
    assert backend.blobs == {sha256(BLOB): BLOB}
    assert {form["access_token"] for form in acr.exchanges} == {azure.entra_token(ACR_AUDIENCE)}


@pytest.mark.parametrize("host", CLOUDS)
def test_each_cloud_has_its_own_authority_and_audience(
    world: Internet, backend: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    acr = registry(world, backend, host)
    service_principal(world, monkeypatch, tmp_path)
    backend.manifests["v1"] = b"{}"
    assert repository(host).read_manifest("v1") == b"{}"
    authority, audience = CLOUDS[host]
    assert {request.host for request in world.requests} == {authority, host}
    assert world.asked(host)[-3:] == ["POST /oauth2/exchange", "POST /oauth2/token", "GET /v2/team/model/manifests/v1"]
    exchanged = {"service": host, "tenant": azure.TENANT, "access_token": azure.entra_token(audience)}
    assert acr.exchanges == [{"grant_type": "access_token", **exchanged}]


def test_an_authority_that_was_named_is_the_one_that_is_asked(
    world: Internet, backend: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry(world, backend)
    service_principal(world, monkeypatch, tmp_path)
    world.services["login.azurecr.io"] = azure.entra
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "login.azurecr.io")
    assert repository().read_manifest("v1") is None
    assert world.asked(PUBLIC) == []


def test_an_access_token_that_runs_out_in_mid_upload_is_renewed(
    world: Internet, backend: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    acr = registry(world, backend)
    acr.uses = 1
    service_principal(world, monkeypatch, tmp_path)
    assert repository().write_blob([BLOB], len(BLOB)) == sha256(BLOB)
    assert len(acr.left) > 1


# -- who comes first ---------------------------------------------------------------------------------------------------


def test_a_docker_login_comes_first_then_the_variables_then_azure(
    world: Internet, backend: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    acr = registry(world, backend)
    service_principal(world, monkeypatch, tmp_path)
    assert engine_auth(acr.host) == {"identitytoken": acr.refresh_token, "serveraddress": acr.host}
    monkeypatch.setenv("ACR_USERNAME", azure.USERNAME)
    monkeypatch.setenv("ACR_PASSWORD", azure.PASSWORD)
    password = {"username": azure.USERNAME, "password": azure.PASSWORD, "serveraddress": acr.host}
    assert engine_auth(acr.host) == password
    docker = tmp_path / "docker"
    docker.mkdir()
    (docker / "config.json").write_text(json.dumps({"auths": {acr.host: {"identitytoken": "s3cret"}}}))
    assert engine_auth(acr.host) == {"identitytoken": "s3cret", "serveraddress": acr.host}


def test_the_admin_user_of_the_variables_gets_a_token(
    world: Internet, backend: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    acr = registry(world, backend)
    monkeypatch.setenv("ACR_USERNAME", azure.USERNAME)
    monkeypatch.setenv("ACR_PASSWORD", azure.PASSWORD)
    assert repository().write_blob([BLOB], len(BLOB)) == sha256(BLOB)
    assert acr.exchanges == []
    assert "GET /oauth2/token" in world.asked(acr.host)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_wrong_secret_is_reported_and_not_shown(
    world: Internet,
    backend: fake.FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    registry(world, backend)
    service_principal(world, monkeypatch, tmp_path)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "s3cret-and-wrong")
    with pytest.raises(AuthError, match="AADSTS7000215: Invalid client secret provided") as error:
        repository().read_manifest("v1")
    assert "contoso.azurecr.io: no Microsoft Entra token" in error.value.message
    said = capfd.readouterr()
    assert "s3cret" not in error.value.message + error.value.hint + said.out + said.err


def test_nobody_in_azure_is_shown_what_was_tried(world: Internet, backend: fake.FakeRegistry) -> None:
    registry(world, backend)
    with pytest.raises(AuthError) as error:
        repository().read_manifest("v1")
    for tried in ("EnvironmentCredential", "ManagedIdentityCredential", "AzureCliCredential: Azure CLI not found on path"):
        assert tried in error.value.message
    assert "docker login contoso.azurecr.io" in error.value.hint


def test_an_identity_without_a_role(
    world: Internet, backend: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    acr = registry(world, backend)
    service_principal(world, monkeypatch, tmp_path)
    acr.role = False
    with pytest.raises(AuthError, match="returned no token for our identity token: 401") as error:
        repository().read_manifest("v1")
    acr.audience = "of another tenant"
    with pytest.raises(AuthError, match="does not take this process's identity in Azure: 401") as refused:
        repository().read_manifest("v1")
    assert "AcrPush" in refused.value.hint
    assert "s3cret" not in str(error.value) + str(refused.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((302, {"Location": "https://elsewhere.azurecr.io/oauth2/exchange"}, b""), AuthError),
        ((200, {}, b"<html>"), AuthError),
        ((200, {}, b'["token"]'), AuthError),
        ((503, {"Retry-After": "60"}, b""), UnreachableError),
    ],
)
def test_an_exchange_that_fails_reports_it_and_follows_nowhere(
    world: Internet,
    backend: fake.FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: tuple[int, dict[str, str], bytes],
    error: type[Exception],
) -> None:
    acr = registry(world, backend)
    service_principal(world, monkeypatch, tmp_path)
    world.services[acr.host] = lambda request: answer if request.path == "/oauth2/exchange" else acr(request)
    with pytest.raises(error, match=r"contoso\.azurecr\.io"):
        repository().read_manifest("v1")
    assert world.asked("elsewhere.azurecr.io") == []


def test_without_azure_identity_the_error_reports_what_to_install(
    world: Internet, backend: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry(world, backend)
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(UsageError, match="azure-identity is not installed") as error:
        repository().read_manifest("v1")
    assert "its extra azure (pip install '.[azure]'" in error.value.hint
