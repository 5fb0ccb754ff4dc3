"""Azure container registries: a Microsoft Entra token is exchanged for a refresh token of the registry.

https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md; what Azure's own clients send is in azure-sdk-for-python,
sdk/containerregistry. azure-identity finds this process's identity in Azure.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from promoter.errors import AuthError, UnreachableError, UsageError
from promoter.machine.extras import install
from promoter.transport.boundary import ODD
from promoter.transport.session import RETRIED, Http

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_AZ_SECONDS = 60
_SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "IDENTITY_HEADER")
_JWT = re.compile(r"eyJ[\w-]*\.[\w-]*\.?[\w-]*")


@dataclass(frozen=True, slots=True)
class Cloud:
    """The host that issues Entra tokens in an Azure cloud, and the audience that its container registries accept."""

    authority: str
    audience: str


# In the public cloud registries have their own audience, which they accept even if an administrator disabled that of Azure
# Resource Manager; the other clouds only have the latter.
_CLOUDS = {
    ".azurecr.io": Cloud("login.microsoftonline.com", "https://containerregistry.azure.net"),
    ".azurecr.us": Cloud("login.microsoftonline.us", "https://management.usgovcloudapi.net"),
    ".azurecr.cn": Cloud("login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
}


def cloud_of(registry: str) -> Cloud | None:
    """The cloud of an Azure container registry, by its host; None for any other registry."""
    return next((cloud for suffix, cloud in _CLOUDS.items() if registry.lower().endswith(suffix)), None)


def refresh_token(registry: str, cloud: Cloud, env: Mapping[str, str]) -> str:
    """A refresh token, which this Azure container registry's token server exchanges for access tokens; valid for some hours.

    Raises:
        UsageError: the `azure` extra is not installed.
        AuthError: this process has no identity in Azure, or the registry does not know it.
        UnreachableError: the registry can't answer now.
    """
    form = {"grant_type": "access_token", "service": registry, "access_token": _entra_token(registry, cloud, env)}
    if tenant := env.get("AZURE_TENANT_ID"):
        form["tenant"] = tenant
    http = Http(f"Azure container registry {registry}", f"https://{registry}")
    response = http.request("POST", "/oauth2/exchange", data=form, retry=True)
    if response.status_code in RETRIED:
        raise UnreachableError(f"{registry} answered {response.status_code} to the exchange of a token", hint="run again later")
    try:
        token = response.json()["refresh_token"] if response.status_code == HTTPStatus.OK else None
    except ODD:
        token = None
    if not isinstance(token, str):
        raise AuthError(
            f"{registry} does not take this process's identity in Azure: {response.status_code}",
            hint=f"give it the role AcrPush (AcrPull to read only) on the registry, or run `docker login {registry}`",
        )
    return token


def _entra_token(registry: str, cloud: Cloud, env: Mapping[str, str]) -> str:
    """A Microsoft Entra token for the registry: of a service principal, workload identity, managed identity, or `az login`.

    azure-identity reads the process's own environment for them.
    """
    try:
        from azure.core.exceptions import AzureError
        from azure.identity import ChainedTokenCredential
    except ImportError:
        raise UsageError(
            f"{registry} is an Azure container registry without credentials here, and azure-identity is not installed",
            hint=f"{install('azure')}, set ACR_USERNAME and ACR_PASSWORD, or run `docker login {registry}`",
        ) from None
    # Its warnings repeat the error.
    logging.getLogger("azure").addHandler(logging.NullHandler())
    try:
        with ChainedTokenCredential(*_identities(env.get("AZURE_AUTHORITY_HOST") or cloud.authority, env)) as chain:
            return chain.get_token(f"{cloud.audience}/.default").token
    except (AzureError, ValueError) as error:
        raise AuthError(
            f"{registry}: no Microsoft Entra token: {_reasons(error, env)}",
            hint="set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, run with a workload or managed identity, "
            f"run `az login`, or `docker login {registry}`",
        ) from None


def _identities(authority: str, env: Mapping[str, str]) -> Iterator[TokenCredential]:
    """The possible identities of this process in Azure; the first that is set up is used."""
    from azure import identity

    # The authority is a known one or was configured, so its instance discovery in another cloud is not needed.
    yield identity.EnvironmentCredential(authority=authority, disable_instance_discovery=True)
    if env.get("AZURE_FEDERATED_TOKEN_FILE"):
        yield identity.WorkloadIdentityCredential(authority=authority, disable_instance_discovery=True)
    # The machine's own metadata service is not behind any proxy; one that answers in its place would end the search here.
    yield identity.ManagedIdentityCredential(client_id=env.get("AZURE_CLIENT_ID"), use_env_settings=False)
    yield identity.AzureCliCredential(process_timeout=_AZ_SECONDS)


def _reasons(error: Exception, env: Mapping[str, str]) -> str:
    """The error of each kind of identity, without links and secrets."""
    lines = [line.strip() for line in str(error).splitlines() if line.startswith("\t")] or [str(error)]
    text = "; ".join(lines)
    for name in _SECRETS:
        if secret := env.get(name):
            text = text.replace(secret, "***")
    return _JWT.sub("***", text)
