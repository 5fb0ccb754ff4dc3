"""The HTTP side of the sandbox: the calls of Argo CD's API that promoter makes, answered and refused as Argo CD does."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from promoter.demo.sandbox.application import ARGOCD_NAMESPACE, OperationRefusedError

if TYPE_CHECKING:
    from promoter.demo.sandbox.world import World

VERSION = "v3.6.1+sandbox"
_HTTP_OF_CODE = {2: 500, 3: 400, 5: 404, 7: 403, 9: 400, 16: 401}
_KEEP_ALIVE_SECONDS = 15.0


class ApiError(Exception):
    """A refusal: the gRPC code and the sentence (grpc-gateway's DefaultHTTPError)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Request:
    """One authenticated call: `name` is the Application in the path, which the caller may see."""

    username: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    name: str = ""
    rest: str = ""


class Api:
    """Answers for `world`; `tokens` maps a bearer token to the account it belongs to. The account "nobody" may see nothing."""

    def __init__(self, world: World, tokens: Mapping[str, str]) -> None:
        self.world, self._tokens = world, tokens
        one = "/api/v1/applications/(?P<name>[^/]+)"
        self._routes: list[tuple[str, re.Pattern[str], Callable[[Request], Any]]] = [
            ("GET", re.compile("/api/v1/session/userinfo"), self._userinfo),
            ("GET", re.compile("/api/v1/account/can-i/(?P<rest>.+)"), self._can_i),
            ("GET", re.compile("/api/v1/applications"), self._list),
            ("GET", re.compile(one), self._get),
            ("GET", re.compile(f"{one}/resource"), self._resource),
            ("GET", re.compile(f"{one}/resource-tree"), self._tree),
            ("GET", re.compile(f"{one}/syncwindows"), lambda _: {"canSync": True}),
            ("GET", re.compile(f"{one}(?:/pods/(?P<rest>[^/]+))?/logs"), self._logs),
            ("POST", re.compile(f"{one}/sync"), self._sync),
            ("DELETE", re.compile(f"{one}/operation"), self._terminate),
            ("POST", re.compile(f"{one}/resource/actions(?:/v2)?"), self._act),
        ]

    def username(self, authorization: str) -> str:
        """Raises: ApiError 16, for a token that is missing or unknown."""
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or token not in self._tokens:
            raise ApiError(16, "no session information")
        return self._tokens[token]

    def answer(self, method: str, path: str, request: Request) -> Any:
        """The JSON to answer with; None if the path does not exist. A list is sent as one JSON value a line.

        Raises:
            ApiError: what is asked can't be done, or not by this account.
        """
        for known, pattern, handler in self._routes:
            match = pattern.fullmatch(path) if known == method else None
            if match is None:
                continue
            named = {key: unquote(value) for key, value in match.groupdict().items() if value}
            if "name" in named:
                self.check(named["name"], request)
            try:
                return handler(Request(request.username, request.query, request.body, **named))
            except OperationRefusedError as error:
                raise ApiError(error.code, error.message) from None
        return None

    def check(self, name: str, request: Request) -> None:
        """Refuses as Argo CD does: 404 is returned only to callers that name the project (getAppEnforceRBAC)."""
        application, project = self.world.application(name), request.query.get("project")
        if request.username == "nobody" or request.query.get("appNamespace", ARGOCD_NAMESPACE) != ARGOCD_NAMESPACE:
            raise ApiError(7, "permission denied")
        if application is None or (project and application.project != project):
            raise ApiError(5, f'applications.argoproj.io "{name}" not found') if project else ApiError(7, "permission denied")

    def _userinfo(self, request: Request) -> Any:
        return {"loggedIn": True, "username": request.username, "iss": "argocd"}

    def _can_i(self, request: Request) -> Any:
        return {"value": "no" if request.username == "nobody" else "yes"}

    def _list(self, request: Request) -> Any:
        if request.username == "nobody":
            return {"metadata": {}, "items": []}
        wanted = [field.split(".") for field in request.query.get("fields", "").split(",") if field]
        answer = {"metadata": {}, "items": self.world.snapshots()}
        return _only(answer, wanted) if wanted else answer

    def _get(self, request: Request) -> Any:
        if request.query.get("refresh"):
            self.world.refresh(request.name)
        return self.world.snapshot(request.name)

    def _resource(self, request: Request) -> Any:
        kind, name = request.query.get("kind", ""), request.query.get("resourceName", "")
        found = self.world.resource(request.name, kind, name)
        if found is None:
            group = request.query.get("group", "")
            raise ApiError(3, f"{kind} {group} {name} not found as part of application {request.name}")
        return {"manifest": json.dumps(found)}

    def _tree(self, request: Request) -> Any:
        return self.world.resource_tree(request.name)

    def _logs(self, request: Request) -> Any:
        pod = request.rest or request.query.get("podName", "")
        lines = self.world.logs(pod)[-int(request.query.get("tailLines", "100")) :]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        common = {"timeStamp": now, "timeStampStr": now, "podName": pod}
        return [
            {"result": {"content": text, "last": last, **common}}
            for text, last in [*((line, False) for line in lines), ("", True)]
        ]

    def _sync(self, request: Request) -> Any:
        self.world.sync(request.name, request.username, str(request.body.get("revision", "")))
        return self.world.snapshot(request.name)

    def _terminate(self, request: Request) -> Any:
        self.world.terminate(request.name)
        return {}

    def _act(self, request: Request) -> Any:
        action = str(request.body.get("action", ""))
        if not self.world.act(request.name, action):
            raise ApiError(2, "error getting Lua resource action: built-in script does not exist")
        return {}

    def events(self, request: Request) -> Iterator[Mapping[str, Any] | None]:
        """ADDED for what is there, then MODIFIED for every change; None when it is time for a sign of life. Never ends."""
        name, project = request.query.get("name"), request.query.get("project")
        sent: dict[str, Any] = {}
        while True:
            for snapshot in self.world.snapshots() if request.username != "nobody" else []:
                key = snapshot["metadata"]["name"]
                wanted = name in (None, key) and project in (None, snapshot["spec"]["project"])
                if wanted and sent.get(key) is not snapshot:
                    yield {"result": {"type": "MODIFIED" if key in sent else "ADDED", "application": snapshot}}
                    sent[key] = snapshot
            with self.world.changed:
                awake = self.world.changed.wait(_KEEP_ALIVE_SECONDS)
            if not awake:
                yield None


def _only(value: Any, wanted: list[list[str]]) -> Any:
    """The value with only the paths asked for in it, as `fields=` has them (items.metadata.name)."""
    if isinstance(value, list):
        return [_only(item, wanted) for item in value]
    if not isinstance(value, Mapping) or [] in wanted:
        return value
    below = {key: [path[1:] for path in wanted if path[0] == key] for key in value}
    return {key: _only(value[key], paths) for key, paths in below.items() if paths}


class SandboxServer(ThreadingHTTPServer):
    """Listens on a free loopback port."""

    daemon_threads = True

    def __init__(self, api: Api, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.api = api

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a client that disconnected before the answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: SandboxServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_DELETE = do_GET

    def _handle(self) -> None:
        url = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        if self.command != "GET" and self.headers.get("Content-Type", "").lower() != "application/json":
            self._send(415, "text/plain; charset=utf-8", b"Invalid content type\n")
        elif url.path == "/api/version":
            self._send_json(200, {"Version": VERSION})
        else:
            try:
                self._answer(url.path, query, content)
            except ApiError as error:
                self._send_json(
                    _HTTP_OF_CODE[error.code], {"error": error.message, "code": error.code, "message": error.message}
                )

    def _answer(self, path: str, query: Mapping[str, str], content: bytes) -> None:
        if not path.startswith("/api/v1/"):
            self._send(404, "text/plain; charset=utf-8", b"Not Found\n")
            return
        username = self.server.api.username(self.headers.get("Authorization", ""))
        request = Request(username, query, _body(content, query))
        if path == "/api/v1/stream/applications":
            self._stream(request)
            return
        answer = self.server.api.answer(self.command, path, request)
        if answer is None:
            self._send(404, "text/plain; charset=utf-8", b"Not Found\n")
        elif isinstance(answer, list):
            self._send(200, "application/json", b"".join(json.dumps(line).encode() + b"\n" for line in answer))
        else:
            self._send_json(200, answer)

    def _stream(self, request: Request) -> None:
        sse = self.headers.get("Accept") == "text/event-stream"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if sse else "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in self.server.api.events(request):
            text = json.dumps(event) if event else ""
            lines = f"data: {text} \n\n\n" if event else ":\n"
            content = (lines if sse else f"{text}\n" if event else "").encode()
            if content:  # an empty chunk would be the end
                self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def _send_json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is asked of a sandbox is of no interest on the terminal."""


def _body(content: bytes, query: Mapping[str, str]) -> Mapping[str, Any]:
    """The request's JSON object. The old form of a resource action is a bare string, with everything else in the query."""
    try:
        value = json.loads(content or b"{}")
    except ValueError:
        wrong = content.decode(errors="replace")[1:2]
        raise ApiError(3, f"invalid character '{wrong}' looking for beginning of object key string") from None
    return value if isinstance(value, dict) else {**query, "action": value}
