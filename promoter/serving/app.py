"""The HTTP surface: routes, request ids, metrics and one log line a request."""

from __future__ import annotations

import logging
import os
import platform
import re
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from promoter.serving.body import read_body
from promoter.serving.errors import RequestError
from promoter.serving.metrics import Metrics
from promoter.serving.model import Request as ModelRequest
from promoter.serving.settings import Settings
from promoter.serving.streams import DONE, MEDIA_TYPE, Stream, error_event
from promoter.serving.workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from promoter.serving.tracing import Trace, Tracer

_log = logging.getLogger(__name__)
_access_log = logging.getLogger("promoter.serving.access")
PREDICT_PATHS = ("/predict", "/invocations", "/v1/chat/completions", "/responses")
PATHS = (
    *PREDICT_PATHS,
    *("/health", "/ping", "/ready", "/metrics", "/info", "/version", "/openapi.json"),
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_CLIENT_GONE = 499  # nginx's number: nobody reads this answer


class Service:
    """What the endpoints answer from."""

    def __init__(self, settings: Settings, workers: Workers, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self.settings, self.workers, self.metrics, self.tracer = settings, workers, metrics, tracer
        self.draining = False

    @property
    def model(self) -> dict[str, str]:
        settings = self.settings
        return {
            "model_name": settings.model_name,
            "model_version": settings.model_version,
            "model_digest": settings.model_digest,
        }

    async def health(self, _: Request) -> Response:
        status = "draining" if self.draining else "ok" if self.workers.ready else "loading"
        return JSONResponse({"status": status, **self.model})

    async def ready(self, _: Request) -> Response:
        ready = self.workers.ready and not self.draining
        reason = {} if ready or not self.workers.last_words else {"reason": self.workers.last_words}
        return JSONResponse({"ready": ready, **reason}, status_code=200 if ready else 503)

    async def ping(self, _: Request) -> Response:
        """As MLflow's own server answers, which listens only when it has loaded the model."""
        ready = self.workers.ready and not self.draining
        return Response("\n", status_code=200 if ready else 503, media_type="application/json")

    async def version(self, _: Request) -> Response:
        """As MLflow's own server answers."""
        return Response(_mlflow_version(), media_type="application/json")

    async def info(self, _: Request) -> Response:
        versions = {"mlflow": _mlflow_version(), "python": platform.python_version()}
        return JSONResponse({**self.model, "model_stage": self.settings.model_stage, **versions})

    async def metric_text(self, request: Request) -> Response:
        if self.tracer is not None and _OPEN_METRICS.partition(";")[0] in request.headers.get("accept", ""):
            return Response(self.metrics.open_text(), media_type=_OPEN_METRICS)
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def document(self, _: Request) -> Response:
        if not self.workers.openapi:
            return _error(RequestError(503, "the model is still being loaded", headers={"Retry-After": "1"}))
        return JSONResponse(self.workers.openapi)

    async def predict(self, request: Request) -> Response:
        try:
            body = await read_body(request, self.settings.max_body_bytes)
            answer = await self.workers.answer(
                ModelRequest(body, request.headers.get("content-type", "")), request.scope["trace"]
            )
        except RequestError as error:
            _log_broken(error, request.scope)
            return _error(error)
        if isinstance(answer, Stream):
            unbuffered = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx would hold events back
            return StreamingResponse(self._events(answer, request.scope), media_type=MEDIA_TYPE, headers=unbuffered)
        return Response(answer, media_type="application/json")

    async def _events(self, stream: Stream, scope: Scope) -> AsyncIterator[bytes]:
        """What has begun has its status: a failure is an event, and counted as what the status would have been."""
        try:
            async for event in stream:
                yield event
        except RequestError as error:
            scope["failed"] = error.status
            _log_broken(error, scope)
            yield error_event(error)
            yield DONE


def application(service: Service) -> ASGIApp:
    handlers: dict[str, tuple[Callable[[Request], Any], str]] = {
        "/predict": (service.predict, "POST"),
        "/invocations": (service.predict, "POST"),
        "/v1/chat/completions": (service.predict, "POST"),
        "/responses": (service.predict, "POST"),
        "/health": (service.health, "GET"),
        "/ping": (service.ping, "GET"),
        "/ready": (service.ready, "GET"),
        "/metrics": (service.metric_text, "GET"),
        "/info": (service.info, "GET"),
        "/version": (service.version, "GET"),
        "/openapi.json": (service.document, "GET"),
    }
    routes = [Route(path, handlers[path][0], methods=[handlers[path][1]]) for path in PATHS]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _unexpected})
    app.router.redirect_slashes = False
    return _Observed(app, service)


class _Observed:
    """Counts, times and logs each request around the application, and adds the headers of every answer."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._metrics, self._tracer = app, service, service.metrics, service.tracer
        named = {"x-model-version": service.settings.model_version, "x-model-digest": service.settings.model_digest}
        self._model_headers = [(name.encode(), value.encode()) for name, value in named.items() if value]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        if scope["path"].endswith("/") and scope["path"][:-1] in PATHS:
            scope["path"] = scope["path"][:-1]
        request_id = scope["request_id"] = _request_id(scope)
        traced = self._tracer if scope["path"] in PREDICT_PATHS else None
        trace = scope["trace"] = traced.begin(scope["headers"]) if traced else None
        status = _CLIENT_GONE

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *self._model_headers]
                if self._service.draining:  # the client's next request belongs to another pod
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_observed)
        finally:
            self._metrics.in_flight.dec()
            self._report(scope, scope.get("failed", status), time.perf_counter() - started, trace)

    def _report(self, scope: Scope, status: int, seconds: float, trace: Trace | None) -> None:
        method, path = scope["method"], scope["path"]
        path = path if path in PATHS else "other"
        self._metrics.answered(method, path, status, seconds, trace.id if trace else "")
        if trace is not None and self._tracer is not None:
            self._tracer.end(trace, method, path, status, scope["request_id"])
        level = logging.INFO if path in PREDICT_PATHS else logging.DEBUG
        if _access_log.isEnabledFor(level):
            fields = {"request_id": scope["request_id"], "status": status, "seconds": round(seconds, 6)}
            _access_log.log(level, "%s %s", method, path, extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    """The client's own if it can be logged and echoed, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return given
    return os.urandom(16).hex()


def _log_broken(error: RequestError, scope: Scope) -> None:
    if error.status == 500:
        _log.error("%s", error.message, extra={"fields": {"request_id": scope["request_id"], **error.logged}})


def _error(error: RequestError) -> Response:
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)


async def _http_error(_: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what this handler is registered for
    messages = {404: "no such path", 405: "this path does not accept this method"}
    return JSONResponse({"error": messages.get(error.status_code, error.detail)}, error.status_code, headers=error.headers)


async def _unexpected(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "the server failed; its log has the reason under this X-Request-Id"}, 500)


def _mlflow_version() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""
