"""One MLflow model behind POST /predict, with GET /health (which model is this?) and GET /ready (may it be asked?).

The model is loaded beside the server, so that /health answers within a second of the start and /ready says 503 until
the model can predict. MLflow's own scoring functions parse the request and write the answer: what works with
`mlflow models serve` works here.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

_log = logging.getLogger("promoter.serving")


@dataclass(frozen=True)
class Settings:
    """What the container's environment says: MODEL_NAME, MODEL_VERSION, MODEL_DIGEST, MODEL_PATH, HOST, PORT."""

    model_name: str = ""
    model_version: str = ""
    model_digest: str = ""
    model_path: str = "/opt/model"
    host: str = "0.0.0.0"  # noqa: S104 - inside a container the port is what the Service reaches
    port: int = 8000

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Raises: ValueError, when PORT is not a number."""
        return cls(
            model_name=environ.get("MODEL_NAME", cls.model_name),
            model_version=environ.get("MODEL_VERSION", cls.model_version),
            model_digest=environ.get("MODEL_DIGEST", cls.model_digest),
            model_path=environ.get("MODEL_PATH") or cls.model_path,
            host=environ.get("HOST") or cls.host,
            port=int(environ.get("PORT") or cls.port),
        )


@dataclass
class _Loading:
    """The model once it is there, or why it will never be."""

    done: threading.Event = field(default_factory=threading.Event)
    model: Any = None
    error: str = ""

    def load(self, path: str, server: uvicorn.Server) -> None:
        import mlflow.pyfunc

        try:
            self.model = mlflow.pyfunc.load_model(path)
        except Exception as error:  # whatever a model's code raises, the process must end and say so
            self.error = f"the model at {path} can't be loaded: {error}"
            server.should_exit = True
        else:
            self.done.set()


def _application(settings: Settings, loading: _Loading) -> Starlette:
    async def health(_: Request) -> Response:
        return JSONResponse(
            {
                "status": "ok" if loading.done.is_set() else "loading",
                "model_name": settings.model_name,
                "model_version": settings.model_version,
                "model_digest": settings.model_digest,
            }
        )

    async def ready(_: Request) -> Response:
        return JSONResponse({"ready": loading.done.is_set()}, status_code=200 if loading.done.is_set() else 503)

    async def predict(request: Request) -> Response:
        if not loading.done.is_set():
            return JSONResponse({"error": "the model is still being loaded"}, status_code=503)
        body, content_type = await request.body(), request.headers.get("content-type", "")
        return await run_in_threadpool(_predict, loading.model, body, content_type)

    return Starlette(routes=[Route("/health", health), Route("/ready", ready), Route("/predict", predict, methods=["POST"])])


def _predict(model: Any, body: bytes, content_type: str) -> Response:
    """MLflow's answer to this request; what it can't accept is 400 with the reason in JSON."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import invocations

    try:
        text = body.decode()
        schema = model.metadata.get_input_schema()
        answer = invocations(text, content_type, model, schema)  # type: ignore[no-untyped-call] # MLflow has no annotation here
    except UnicodeDecodeError as error:
        return JSONResponse({"error": f"the body is not UTF-8: {error}"}, status_code=400)
    except MlflowException as error:
        return JSONResponse({"error": error.message}, status_code=400)
    if answer.status != 200:
        return JSONResponse({"error": answer.response}, status_code=answer.status)
    return Response(answer.response, media_type="application/json")


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT, then finishes the requests in hand; returns the exit code."""
    loading = _Loading()
    config = uvicorn.Config(
        _application(settings, loading),
        host=settings.host,
        port=settings.port,
        access_log=False,
        timeout_graceful_shutdown=20,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal again once it has shut down; after a clean end the exit code is 0 all the same.
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=loading.load, args=(settings.model_path, server), daemon=True).start()
    server.run()
    if loading.error:
        _log.error("%s", loading.error)
        return 1
    return 0
