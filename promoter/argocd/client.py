"""The door to Argo CD: its HTTP API, one method per call. It reads; it may ask for a refresh, a sync, the end of an operation.

Facts about the calls are measured on Argo CD 3.6.1; recorded answers are in tests/data/argocd.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import requests

from promoter.argocd.answers import analysis_run, application_state, difference, resource_tree, sync_windows, workload
from promoter.argocd.errors import ArgoCDError, NotFoundError, of_body, of_response
from promoter.errors import AuthError, UnexpectedAnswerError, UnreachableError, UsageError
from promoter.transport.boundary import FLEET, ODD, odd_answers_are_errors
from promoter.transport.credential import PLAIN_HTTP, Credential, origins
from promoter.transport.session import Authorization, Http, Limits
from promoter.transport.typed import require_typed

if TYPE_CHECKING:
    from promoter.argocd.state import (
        AnalysisRunState,
        ApplicationState,
        Difference,
        ResourceRef,
        ResourceTree,
        SyncWindows,
        Workload,
    )
    from promoter.models import Application

REFRESH_SECONDS = 60.0
"""The server itself waits for ever for a refresh; a plain GET answers then, and the refresh stays queued."""

STREAM_SECONDS = 45.0
"""Three keep-alives (one every 15 s) missed: the connection is dead."""

# If the repository server can read a revision but not build it, the answer is an error that gRPC calls unknown.
_UNKNOWN, _GENERATION = 2, re.compile(r"kustomize build|manifest generation|generate manifest", re.IGNORECASE)

_JSON = {"Content-Type": "application/json"}  # compared as a whole; with a charset, or without, the answer is 415
_EVENTS = {"Accept": "text/event-stream"}
_LIST_FIELDS = (  # the names that the server takes, no prefixes of them: server/application/forwarder_overwrite.go
    "metadata.name",
    "metadata.namespace",
    "metadata.deletionTimestamp",
    "spec",
    "status.sync.status",
    "status.health",
    "status.summary",
)


@dataclass(frozen=True, slots=True)
class About:
    """`version` is `v3.6.1+...`; `ahead` its clock less this machine's, in seconds, None without a date (RFC 9110, 6.6.1)."""

    version: str
    ahead: float | None


@odd_answers_are_errors
class ArgoCD:
    """One Argo CD server. Not for use by several threads at once: `stream` wants a client of its own.

    An answer about another object than the one that was asked for is an UnexpectedAnswerError.

    `requests` counts what was asked so far.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        self.requests = 0

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], server: str | None = None, *, limits: Limits | None = None) -> ArgoCD:
        """A client as the `argocd` CLI would be configured; no connection is made.

        ARGOCD_SERVER (`host[:port][/path]`, https unless it has a scheme), ARGOCD_AUTH_TOKEN, which is for that server
        alone: not for `server`, which is used where the environment names none;
        ARGOCD_GRPC_WEB_ROOT_PATH; ARGOCD_SERVER_CERT or SSL_CERT_FILE (a CA bundle), ARGOCD_INSECURE=true (no check
        of the certificate); of ARGOCD_OPTS: --insecure, --plaintext, --server-crt, --grpc-web-root-path.

        Raises:
            UsageError: no server, or ARGOCD_OPTS that can't be read.
            AuthError: no token.
        """
        options = _options(environ.get("ARGOCD_OPTS", ""))
        auth = Authorization(credential(environ, server))
        bundle = options.get("server-crt") or environ.get("ARGOCD_SERVER_CERT") or environ.get("SSL_CERT_FILE") or True
        insecure = "insecure" in options or environ.get("ARGOCD_INSECURE", "").lower() in {"1", "true", "yes"}
        return cls(Http("Argo CD", base_url(environ, server), auth=auth, verify=False if insecure else bundle, limits=limits))

    # -- reading ------------------------------------------------------------------------------------------------------

    def application(
        self, app: Application, *, refresh: bool = False, refresh_seconds: float = REFRESH_SECONDS
    ) -> ApplicationState:
        """The Application; with `refresh`, compared with the branch's tip first, if that comes about in time.

        An answer after a refresh may still be of the comparison before: Argo CD drops a refresh asked for during another.

        Raises:
            NotFoundError: no such Application in this project.
            AuthError, UnreachableError, ArgoCDError: as every call here.
        """
        if refresh:
            try:
                params = {"refresh": "normal"}
                return self._state(self._get(_path(app), app, params, retry=False, read_timeout=refresh_seconds), app)
            except (UnreachableError, ArgoCDError):
                pass  # slow, restarting, or missing: the plain GET answers, or reports the cause
        return self._state(self._get(_path(app), app), app)

    def applications(self) -> tuple[ApplicationState, ...]:
        """All Applications that the token may see; without revision, operation, conditions and resources (see `application`).

        One that can't be read is left out: who needs it asks for it alone, and gets the error.

        Raises:
            AuthError, UnreachableError, ArgoCDError: as every call here.
        """
        params = {"fields": ",".join(f"items.{field}" for field in _LIST_FIELDS)}
        answer = self._json("GET", "/api/v1/applications", params=params, times=FLEET)
        return tuple(_readable(answer.get("items") or ()))

    def resource(self, app: Application, ref: ResourceRef) -> dict[str, Any]:
        """The live manifest of one object, read from the cluster now.

        Raises:
            NotFoundError: no such object below the Application.
        """
        params = {
            "namespace": ref.namespace,
            "resourceName": ref.name,
            "group": ref.group,
            "kind": ref.kind,
            "version": ref.version,
        }
        manifest = json.loads(self._get(_path(app, "resource"), app, params).get("manifest") or "null")
        if not isinstance(manifest, dict):
            raise NotFoundError(f"{ref.kind} {ref.namespace}/{ref.name} of {app.name} has no live manifest")
        _require_about(ref, manifest)
        return manifest

    def difference(self, app: Application, ref: ResourceRef) -> Difference | None:
        """How one object differs from Git, as Argo CD compared them last; None if it does not report that."""
        params = {"namespace": ref.namespace, "name": ref.name, "group": ref.group, "kind": ref.kind}
        return require_typed(difference(self._get(_path(app, "managed-resources"), app, params), ref))

    def workload(self, app: Application, ref: ResourceRef) -> Workload:
        """A live Rollout or Deployment; raises as `resource`."""
        return require_typed(workload(self.resource(app, ref)))

    def analysis_run(self, app: Application, ref: ResourceRef) -> AnalysisRunState:
        """A live AnalysisRun; raises as `resource`."""
        return require_typed(analysis_run(self.resource(app, ref)))

    def resource_tree(self, app: Application) -> ResourceTree:
        """Pods, AnalysisRuns and ReplicaSets below the Application; kinds that its project does not permit are missing."""
        return require_typed(resource_tree(self._get(_path(app, "resource-tree"), app)))

    def sync_windows(self, app: Application) -> SyncWindows:
        return sync_windows(self._get(_path(app, "syncwindows"), app))

    def manifests(self, app: Application, revision: str) -> tuple[str, ...]:
        """What Argo CD generates from a commit, an object each, as JSON; touches nothing.

        Raises:
            AuthError, UnreachableError, ArgoCDError: it can't, or did not say; as every call here.
        """
        params = {"revision": revision}
        answer = self._get(_path(app, "manifests"), app, params, retry=False, read_timeout=REFRESH_SECONDS)
        return require_typed(tuple(answer.get("manifests") or ()), tuple[str, ...])

    def build_options(self) -> str:
        """kustomize.buildOptions in argocd-cm; not those of a version of kustomize that an Application names."""
        # The names of this one object begin with capitals: its Go type has no JSON names.
        options = self._json("GET", "/api/v1/settings").get("kustomizeOptions") or {}
        return require_typed(options.get("BuildOptions") or options.get("buildOptions") or "", str)

    def renders(self, app: Application, revision: str) -> bool:
        """Whether Argo CD can generate the manifests of a commit.

        Raises:
            AuthError, UnreachableError, ArgoCDError: it did not say; as every call here.
        """
        try:
            self.manifests(app, revision)
        except ArgoCDError as error:
            if error.code != _UNKNOWN or not _GENERATION.search(error.message):
                raise
            return False
        return True

    def logs(self, app: Application, pod: str, *, namespace: str, container: str = "", tail: int = 50) -> tuple[str, ...]:
        """The last lines of a pod's log, oldest first. Needs the permission `logs, get` as well.

        Raises:
            AuthError: `logs, get` is missing.
        """
        params = {"podName": pod, "namespace": namespace, "container": container, "tailLines": str(tail)}
        response = self._call("GET", _path(app, "logs"), params=_of(app, params), app=app)
        lines = [json.loads(line) for line in response.text.splitlines() if line.strip()]
        for line in lines:
            if "error" in line:
                raise of_body(line["error"], 200, "logs", _target(app))
        content = tuple(line["result"]["content"] for line in lines if "result" in line and not line["result"].get("last"))
        return require_typed(content, tuple[str, ...])

    def can_i(self, action: str, app: Application, *, resource: str = "applications") -> bool:
        """Whether the token may do this to the Application (`get`, `sync`)."""
        path = "/".join(quote(part, safe="") for part in (resource, action, app.project, app.name))
        return bool(self._json("GET", f"/api/v1/account/can-i/{path}").get("value") == "yes")

    def about(self) -> About:
        """The server's version and clock; answered without a token too."""
        response = self._call("GET", path := "/api/version")
        ahead = None
        with suppress(ValueError, TypeError):
            ahead = parsedate_to_datetime(response.headers.get("Date", "")).timestamp() - time.time()
        return About(str(self._document(response, path).get("Version", "")), ahead)

    def userinfo(self) -> str:
        """The account of the token, as RBAC policies name it; empty if the server does not know it."""
        answer = self._json("GET", "/api/v1/session/userinfo")
        return str(answer.get("username", "")) if answer.get("loggedIn") else ""

    def stream(self, app: Application, *, silence: float = STREAM_SECONDS) -> Iterator[str]:
        """ADDED, MODIFIED, DELETED as they happen: wake-up hints, nothing more. Ends when the connection does, or is silent.

        Events get lost, status-only changes raise none, and a missing Application is silence: look with `application`.

        Raises:
            AuthError, UnreachableError, ArgoCDError: on opening, or reported within the stream.
        """
        fields = "result.type,result.application.metadata.name,result.application.status.sync,result.application.status.health"
        params = {"name": app.name, "fields": f"{fields},result.application.status.operationState.phase"}
        path = "/api/v1/stream/applications"
        response = self._call(
            "GET", path, params=_of(app, params), app=app, headers=_EVENTS, stream=True, paced=False, read_timeout=silence
        )
        with closing(response):
            try:
                for line in response.iter_lines(chunk_size=None):
                    if line.startswith(b"data:"):
                        yield _event(json.loads(line[5:]), app)
            except (requests.RequestException, json.JSONDecodeError):
                return  # broken off, perhaps within an event

    # -- asking -------------------------------------------------------------------------------------------------------

    def sync(self, app: Application) -> ApplicationState:
        """Ask for a sync to the branch's tip. Never to a revision: with auto-sync on Argo CD refuses even our own commit.

        Raises:
            ArgoCDError: another operation runs, or auto-sync forbids that revision.
            SyncWindowError: a sync window is in the way.
        """
        body = {"name": app.name, "appNamespace": app.namespace, "project": app.project}
        return self._state(self._json("POST", _path(app, "sync"), params=_of(app), body=body, app=app), app)

    def terminate(self, app: Application) -> bool:
        """End the running operation; False if none was running (any more)."""
        try:
            self._json("DELETE", _path(app, "operation"), params=_of(app), app=app)
        except ArgoCDError as error:
            if "No operation is in progress" in error.message:
                return False
            raise
        return True

    # -- speaking -----------------------------------------------------------------------------------------------------

    def _state(self, document: dict[str, Any], app: Application) -> ApplicationState:
        state = require_typed(application_state(document, path=app.path))
        found = (state.name, state.namespace, state.project or "default", document.get("kind") or "Application")
        if found != (app.name, app.namespace, app.project, "Application"):
            raise ValueError(f"it is about {found[3]} {found[1]}/{found[0]} of project {found[2]}")
        return state

    def _get(self, path: str, app: Application, params: Mapping[str, str] | None = None, **how: Any) -> dict[str, Any]:
        return self._json("GET", path, params=_of(app, params), app=app, **how)

    def _json(self, method: str, path: str, *, body: Any = None, **how: Any) -> dict[str, Any]:
        return self._document(self._call(method, path, data=None if body is None else json.dumps(body), **how), path)

    def _document(self, response: requests.Response, path: str) -> dict[str, Any]:
        try:
            answer = response.json()
        except requests.exceptions.JSONDecodeError:
            raise UnreachableError(f"{self._http.name} cut off its answer to {path}", hint="try again") from None
        return require_typed(answer, dict[str, Any])

    def _call(
        self, method: str, path: str, *, app: Application | None = None, headers: Mapping[str, str] | None = None, **how: Any
    ) -> requests.Response:
        self.requests += 1
        response = self._http.request(method, path, headers={**({} if method == "GET" else _JSON), **(headers or {})}, **how)
        if (refused := of_response(response, self._http, path, _target(app))) is not None:
            raise refused
        return response


# -- addresses --------------------------------------------------------------------------------------------------------


def credential(environ: Mapping[str, str], server: str | None = None) -> Credential:
    """The token, bound to the server that the environment names. Raises as `ArgoCD.from_environ`."""
    token = environ.get("ARGOCD_AUTH_TOKEN", "")
    if not token:
        raise AuthError("ARGOCD_AUTH_TOKEN is not set", hint="make a token: argocd proj role create-token PROJECT ROLE")
    url = base_url(environ, server)
    where = origins([url] if environ.get("ARGOCD_SERVER") else [], environ.get(PLAIN_HTTP, ""))
    bind = f"set ARGOCD_SERVER={url} where ARGOCD_AUTH_TOKEN is set: an address in promoter.yaml gets no token"
    return Credential(token, where, name="ARGOCD_AUTH_TOKEN", bind=bind)


def base_url(environ: Mapping[str, str], server: str | None = None) -> str:
    """Where the API begins, and the pages for people; `server` where ARGOCD_SERVER names none. See `ArgoCD.from_environ`.

    Raises:
        UsageError: no server, or ARGOCD_OPTS that can't be read.
    """
    options = _options(environ.get("ARGOCD_OPTS", ""))
    server = environ.get("ARGOCD_SERVER") or server
    root = (options.get("grpc-web-root-path") or environ.get("ARGOCD_GRPC_WEB_ROOT_PATH", "")).strip("/")
    if not server:
        raise UsageError("ARGOCD_SERVER is not set", hint="export ARGOCD_SERVER=argocd.example.com")
    url = server if "://" in server else f"{'http' if 'plaintext' in options else 'https'}://{server}"
    path = urlsplit(url).path.rstrip("/")
    return url.rstrip("/") if path or not root else f"{url.rstrip('/')}/{root}"


def _options(text: str) -> dict[str, str]:
    """The flags of ARGOCD_OPTS by name; a flag without a value has an empty one."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"ARGOCD_OPTS can't be read: {error}", hint="check its quotes") from None
    options = {}
    for word, following in zip(words, [*words[1:], "--"], strict=False):
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            options[name] = value if equals or following.startswith("-") else following
    return {name: value for name, value in options.items() if value != "false"}


def _readable(items: Iterable[Any]) -> Iterator[ApplicationState]:
    for item in items:
        try:
            found = require_typed(application_state(item))
        except (*ODD, UnexpectedAnswerError):
            continue
        yield found


def _require_about(ref: ResourceRef, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError where a manifest is that of another object."""
    metadata, group = manifest["metadata"], manifest["apiVersion"].rpartition("/")[0]
    found = (group, manifest["kind"], metadata.get("namespace") or "", metadata["name"])
    if found != (ref.group, ref.kind, ref.namespace, ref.name):
        raise ValueError(f"it is about {found[1]} {found[2]}/{found[3]} of group {group!r}")


def _path(app: Application, *parts: str) -> str:
    return "/".join(("/api/v1/applications", *(quote(part, safe="") for part in (app.name, *parts))))


def _of(app: Application, params: Mapping[str, str] | None = None) -> dict[str, str]:
    """Always with the project: without it a missing Application is answered as a missing permission."""
    return {**(params or {}), "appNamespace": app.namespace, "project": app.project}


def _target(app: Application | None) -> str:
    """The Application as RBAC policies name it."""
    return f"{app.project}/{app.name}" if app else ""


def _event(document: Mapping[str, Any], app: Application) -> str:
    if "error" in document:
        raise of_body(document["error"], 200, "stream", _target(app))
    return str(document.get("result", {}).get("type", ""))
