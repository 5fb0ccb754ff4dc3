"""Azure, as far as a container registry needs it: Microsoft Entra, the identity endpoints of a machine, and registries' own tokens.

Requests and answers have the shapes that Azure documents and its own clients send and read (azure-identity, azure-containerregistry).
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.support.internet import Answer, Request

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "11111111-2222-3333-4444-555555555555"
CLIENT_SECRET = "s3cret-of-the-service-principal"
ASSERTION = "s3cret-projected-service-account-token"
IDENTITY_HEADER = "s3cret-identity-header"
USERNAME, PASSWORD = "promoter", "s3cret-of-the-admin-user"


def entra_token(audience: str) -> str:
    return f"s3cret-entra-token-for-{audience}"


def entra(request: Request) -> Answer:
    """login.microsoftonline.com and its sisters: `client_credentials` with a secret or a federated token."""
    authority = f"https://{request.host}/{TENANT}"
    if request.path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
        endpoints = {
            "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
            "token_endpoint": f"{authority}/oauth2/v2.0/token",
            "issuer": f"{authority}/v2.0",
        }
        return _json(200, endpoints)
    form = request.form
    known = form.get("client_secret") == CLIENT_SECRET or form.get("client_assertion") == ASSERTION
    if request.path != f"/{TENANT}/oauth2/v2.0/token" or not known or form["client_id"] != CLIENT:
        said = f"AADSTS7000215: Invalid client secret provided. It was {form.get('client_secret')}. Trace ID: 1"
        return _json(401, {"error": "invalid_client", "error_description": said})
    assert form["grant_type"] == "client_credentials"
    return _json(200, _bearer(form["scope"].removesuffix("/.default")))


def no_identity(request: Request) -> Answer:
    """The metadata service of a machine that has no identity, as hosted runners are."""
    return _json(400, {"error": "invalid_request", "error_description": "Identity not found"})


def virtual_machine(request: Request) -> Answer:
    """The metadata service of a machine that has one."""
    if request.headers.get("Metadata") != "true":
        return _json(400, {"error": "invalid_request", "error_description": "Required metadata header not specified"})
    assert (request.path, dict(request.query)["api-version"]) == ("/metadata/identity/oauth2/token", "2018-02-01")
    return _json(200, _bearer(dict(request.query)["resource"]))


def app_service(request: Request) -> Answer:
    """IDENTITY_ENDPOINT of App Service, Functions and Container Apps."""
    if request.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
        return _json(401, {})
    return _json(200, _bearer(dict(request.query)["resource"]))


@dataclass
class AzureRegistry:
    """A registry's token endpoints and its check of access tokens, in front of the registry at `backend` (`host:port`).

    An access token is good for `uses` requests; without a `role` the identity is known and may do nothing.
    """

    host: str
    backend: str
    audience: str
    uses: int = 1_000
    role: bool = True
    exchanges: list[dict[str, str]] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)

    @property
    def refresh_token(self) -> str:
        return f"s3cret-refresh-token-of-{self.host}"

    def __call__(self, request: Request) -> Answer:
        if request.path == "/oauth2/exchange":
            return self._exchange(request)
        if request.path == "/oauth2/token":
            return self._access_token(request)
        wanted = "pull" if request.method in ("GET", "HEAD") else "pull,push"
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self._live(token, wanted):
            return self._unauthorized(wanted)
        return self._forward(request)

    def _exchange(self, request: Request) -> Answer:
        form = request.form
        self.exchanges.append(form)
        if request.method != "POST" or form["grant_type"] != "access_token" or form["service"] != self.host:
            return _json(400, _errors("BAD_REQUEST"))
        if form["access_token"] != entra_token(self.audience):
            return _json(401, _errors("UNAUTHORIZED"))
        return _json(200, {"refresh_token": self.refresh_token})

    def _access_token(self, request: Request) -> Answer:
        asked = request.form if request.method == "POST" else dict(request.query)
        basic = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        known = asked.get("refresh_token") == self.refresh_token or request.headers.get("Authorization") == basic
        if not known or not self.role or asked["service"] != self.host:
            return _json(401, _errors("UNAUTHORIZED"))
        token = f"s3cret-access-token-{len(self.left)}-{asked['scope'].rpartition(':')[2]}"
        self.left[token] = self.uses
        return _json(200, {"access_token": token})

    def _live(self, token: str, wanted: str) -> bool:
        left = self.left.get(token, 0)
        if not left or not (wanted == "pull" or token.endswith("-pull,push")):
            return False
        self.left[token] = left - 1
        return True

    def _unauthorized(self, wanted: str) -> Answer:
        scope = f"repository:team/model:{wanted}"
        challenge = f'Bearer realm="https://{self.host}/oauth2/token",service="{self.host}",scope="{scope}"'
        status, headers, body = _json(401, _errors("UNAUTHORIZED"))
        return status, {**headers, "WWW-Authenticate": challenge}, body

    def _forward(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(self.backend)
        query = f"?{urlencode(request.query)}" if request.query else ""
        passed = {name: value for name, value in request.headers.items() if name not in ("Host", "Authorization", "Connection")}
        try:
            connection.request(request.method, f"{request.path}{query}", request.body, passed)
            response = connection.getresponse()
            headers = {
                name: value.replace(f"http://{self.backend}", f"https://{self.host}") for name, value in response.getheaders()
            }
            return response.status, headers, response.read()
        finally:
            connection.close()


def _bearer(audience: str) -> dict[str, Any]:
    return {
        "token_type": "Bearer",
        "expires_in": 3599,
        "expires_on": "4102444800",
        "resource": audience,
        "access_token": entra_token(audience),
    }


def _errors(code: str) -> Mapping[str, Any]:
    return {"errors": [{"code": code, "message": "authentication required, visit https://aka.ms/acr/authorization"}]}


def _json(status: int, value: Mapping[str, Any]) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()
