"""GitHub's API on loopback, as far as commits go: each query is checked with GitHub's published schema, each commit really made."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from graphql import GraphQLError, build_schema, graphql_sync

from tests.support.git_server import BareRepository

_SCHEMA = build_schema(Path(__file__).parents[1].joinpath("data/github/create-commit-on-branch.graphql").read_text())


Answer = tuple[int, dict[str, str], object]
"""Status, headers, body."""


@dataclass
class GitHub:
    """`answers` are given next, in place of the true one; tests change all of it while it runs."""

    origin: BareRepository
    repository: str = "acme/gitops"
    token: str = "ghs_installation0123456789"
    app: str = "12345"
    public_key: str = ""
    lifetime: float = 3600.0
    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    refusal: tuple[str, str] | None = None  # type and message of the error that every commit meets
    cut: int = 0  # how many commits are made, and then the connection breaks before the answer
    commits: list[dict[str, Any]] = field(default_factory=list)
    minted: int = 0

    def environ(self) -> dict[str, str]:
        return {"GITHUB_API_URL": self.url, "GITHUB_SERVER_URL": "http://127.0.0.1"}

    def create_commit_on_branch(self, _: object, input: dict[str, Any]) -> dict[str, Any]:
        if self.refusal:
            raise Refused(*self.refusal)
        self.commits.append(input)
        if input["branch"]["repositoryNameWithOwner"] != self.repository:
            raise Refused("NOT_FOUND", "Could not resolve to a Repository")
        branch, expected = input["branch"]["branchName"], input["expectedHeadOid"]
        if self.origin.tip(branch) != expected:
            raise Refused("STALE_DATA", f'Expected branch to point to "{expected}" but it did not.  Pull and try again.')
        message = f"{input['message']['headline']}\n\n{input['message'].get('body', '')}".strip()
        additions = input["fileChanges"]["additions"]
        files = {file["path"]: base64.b64decode(file["contents"], validate=True) for file in additions}
        return {"commit": {"oid": self.origin.commit(files, message, branch=branch)}}

    def query(self, body: bytes) -> dict[str, Any]:
        asked = json.loads(body)
        root = {"createCommitOnBranch": self.create_commit_on_branch}
        result = graphql_sync(_SCHEMA, asked["query"], root, variable_values=asked["variables"])
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [_typed(error) for error in result.errors]
        return answer

    def answer(self, path: str, authorization: str, body: bytes) -> Answer | None:
        """None breaks the connection."""
        if self.answers:
            return self.answers.pop(0)
        if path == "/app/installations/678/access_tokens":
            try:
                return 201, {}, self.mint(authorization)
            except jwt.PyJWTError:
                return 401, {}, {"message": "A JSON web token could not be decoded"}
        if path != "/graphql":
            return 404, {}, {"message": "Not Found"}
        if authorization != f"Bearer {self.token}":
            return 401, {}, {"message": "Bad credentials"}
        answer = self.query(body)
        if self.cut:
            self.cut -= 1
            return None
        return 200, {}, answer

    def mint(self, authorization: str) -> dict[str, str]:
        """The installation's token, for who holds the App's key."""
        claims = jwt.decode(authorization.removeprefix("Bearer "), self.public_key, algorithms=["RS256"], issuer=self.app)
        assert claims["exp"] - claims["iat"] <= 600
        self.minted += 1
        expires = datetime.fromtimestamp(time.time() + self.lifetime, UTC)
        return {"token": self.token, "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}


class Refused(Exception):
    def __init__(self, type: str, message: str) -> None:
        self.type = type
        super().__init__(message)


def _typed(error: GraphQLError) -> dict[str, Any]:
    original = error.original_error
    typed = {"type": original.type} if isinstance(original, Refused) else {}
    return {**error.formatted, **typed}


@contextmanager
def github_api(origin: BareRepository) -> Iterator[GitHub]:
    github = GitHub(origin)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = github.answer(self.path, self.headers.get("Authorization", ""), body)
            if answer is None:
                self.close_connection = True
            else:
                self._answer(*answer)

        def _answer(self, status: int, headers: dict[str, str], body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    github.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
