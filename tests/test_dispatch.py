"""Dispatching pipelines: what GitHub and Azure DevOps are sent, and what their answers mean. A local server answers for them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from promoter.errors import AuthError, PromoterError, UnreachableError, UsageError
from promoter.webhook.dispatch import System, pipeline


class Forge(ThreadingHTTPServer):
    """Answers every POST with `status` and keeps what it was sent."""

    status, answer = 204, b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: list[tuple[str, Mapping[str, str], Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Forge

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        self.server.sent.append((self.path, dict(self.headers), body))
        if self.path.startswith("/app/installations/"):
            expires = datetime.now(UTC) + timedelta(hours=1)
            self._send(201, json.dumps({"token": "ghs_minted", "expires_at": expires.isoformat()}).encode())
        else:
            self._send(self.server.status, self.server.answer)

    def _send(self, status: int, answer: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Forge]:
    forge = Forge()
    thread = Thread(target=forge.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield forge
    finally:
        forge.shutdown()
        forge.server_close()
        thread.join()


@pytest.fixture
def forge() -> Iterator[Forge]:
    with serving() as one:
        yield one


INPUTS = {"model_name": "fraud-detector", "environment": "production"}


def test_a_repository_dispatch_of_github(forge: Forge) -> None:
    made = pipeline(System.GITHUB, "acme/gitops", "main", {"GITHUB_API_URL": forge.url, "GITHUB_TOKEN": "t0ken"})
    made.dispatch("fraud-detector", "production")
    ((path, headers, body),) = forge.sent
    assert path == "/repos/acme/gitops/dispatches"
    assert body == {"event_type": "model-promotion", "client_payload": INPUTS}
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["X-GitHub-Api-Version"] == "2022-11-28"


def test_a_workflow_dispatch_of_github(forge: Forge) -> None:
    environ = {"GITHUB_API_URL": forge.url, "GH_TOKEN": "b", "PROMOTER_DISPATCH_TOKEN": "a"}
    pipeline(System.GITHUB, "acme/gitops/deploy.yml", "trunk", environ).dispatch("fraud-detector", "production")
    ((path, headers, body),) = forge.sent
    assert path == "/repos/acme/gitops/actions/workflows/deploy.yml/dispatches"
    assert body == {"ref": "trunk", "inputs": {**INPUTS, "command": "reconcile"}}
    assert headers["Authorization"] == "Bearer a"


def test_a_github_app_starts_a_workflow(forge: Forge) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    app = {"GITHUB_APP_ID": "12", "GITHUB_APP_INSTALLATION_ID": "678", "GITHUB_APP_PRIVATE_KEY": pem}
    made = pipeline(System.GITHUB, "acme/gitops", "main", {"GITHUB_API_URL": forge.url, "GITHUB_TOKEN": "t0ken", **app})
    made.dispatch("fraud-detector", "production")
    minted, (path, headers, _) = forge.sent
    assert minted[0] == "/app/installations/678/access_tokens"
    assert path == "/repos/acme/gitops/dispatches"
    assert headers["Authorization"] == "Bearer ghs_minted"


def test_the_token_of_an_azure_job_is_a_bearer_token(forge: Forge) -> None:
    environ = {"SYSTEM_ACCESSTOKEN": "eyJ0.eyJ1.sig", "AZURE_DEVOPS_EXT_PAT": "pat"}
    pipeline(System.AZURE_DEVOPS, f"{forge.url}/acme/ml/12", "main", environ).dispatch("fraud-detector", "production")
    assert forge.sent[0][1]["Authorization"] == "Bearer eyJ0.eyJ1.sig"


def test_a_run_of_an_azure_pipeline(forge: Forge) -> None:
    forge.status, forge.answer = 200, b'{"id": 7}'
    made = pipeline(System.AZURE_DEVOPS, f"{forge.url}/acme/ml/12", "main", {"AZURE_DEVOPS_EXT_PAT": "pat"})
    made.dispatch("fraud-detector", "production")
    ((path, headers, body),) = forge.sent
    assert path == "/acme/ml/_apis/pipelines/12/runs?api-version=7.1"
    wanted = {"modelName": "fraud-detector", "environment": "production", "command": "reconcile"}
    assert body["templateParameters"] == wanted
    assert body["resources"] == {"repositories": {"self": {"refName": "refs/heads/main"}}}
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b":pat"
    assert made.where == "Azure Pipelines acme/ml 12"


@pytest.mark.parametrize(
    ("status", "answer", "error", "message", "hint"),
    [
        (401, b'{"message": "Bad credentials"}', AuthError, "(401): Bad credentials", "Contents: write"),
        (403, b'{"message": "Resource not accessible by integration"}', AuthError, "not accessible", "Contents: write"),
        (203, b"<html>sign in</html>", AuthError, "refuses the token", ""),
        (302, b"", AuthError, "refuses the token", ""),
        (404, b'{"message": "Not Found"}', UsageError, "does not exist, or the token may not see it", "check its name"),
        (422, b'{"message": "Unexpected inputs provided"}', UsageError, "Unexpected inputs", "docs/webhook.md"),
        (503, b"", UnreachableError, "answered 503", "next look"),
    ],
)
def test_what_a_refusal_means(
    forge: Forge, status: int, answer: bytes, error: type[PromoterError], message: str, hint: str
) -> None:
    forge.status, forge.answer = status, answer
    made = pipeline(System.GITHUB, "acme/gitops", "main", {"GITHUB_API_URL": forge.url, "GITHUB_TOKEN": "t0ken"})
    with pytest.raises(error) as caught:
        made.dispatch("fraud-detector", "production")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "t0ken" not in str(caught.value)
    assert len(forge.sent) == 1


@pytest.mark.parametrize(
    ("system", "name"),
    [
        (System.GITHUB, "gitops"),
        (System.GITHUB, "acme//x"),
        (System.GITHUB, "a/b/c/d"),
        (System.AZURE_DEVOPS, "acme/ml/deploy"),
        (System.AZURE_DEVOPS, "12"),
    ],
)
def test_a_name_that_can_be_no_pipeline(system: System, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        pipeline(system, name, "main", {"PROMOTER_DISPATCH_TOKEN": "t"})
    assert "write O" in caught.value.hint


def test_without_a_token() -> None:
    with pytest.raises(AuthError) as caught:
        pipeline(System.GITHUB, "acme/gitops", "main", {})
    assert "GITHUB_TOKEN" in caught.value.hint
