"""The server: HTTP in front, model processes behind, and an end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from promoter.serving.app import Service, application
from promoter.serving.errors import StartError
from promoter.serving.metrics import Metrics
from promoter.serving.settings import Settings
from promoter.serving.workers import Workers, start_process

if TYPE_CHECKING:
    from promoter.serving.tracing import Tracer

# Together with DRAIN_SECONDS and a preStop of 10 s less than the pod's grace of 30 s.
_FINISH_SECONDS = 15
# Longer than load balancers keep an idle connection: the side that asks should be the one that closes.
_KEEP_ALIVE_SECONDS = 75
_COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class ModelServer:
    """Serves one model; a model that has to be downloaded is stored in `scratch`."""

    def __init__(self, settings: Settings, scratch: Path) -> None:
        self._settings = settings
        metrics = Metrics()
        metrics.model(settings.model_name, settings.model_version, settings.model_digest)
        self._tracer = _tracer(settings, os.environ)
        start = start_process(scratch, settings.workers)
        self._workers = Workers(settings, metrics, scratch, start, self._fail, self._tracer)
        self._service = Service(settings, self._workers, metrics, self._tracer)
        config = uvicorn.Config(
            application(self._service),
            access_log=False,
            log_config=None,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_FINISH_SECONDS,
        )
        self._http = _Http(config)
        self._exit_code = 0

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT, and returns the exit code.

        Raises:
            StartError: the port is not available.
        """
        with _listener(self._settings) as listener:
            asyncio.run(self._main(listener))
        return self._exit_code

    async def _main(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain)
        self._workers.start()
        await self._http.serve([listener])
        self._workers.end()
        if self._tracer is not None:
            self._tracer.close()

    def _drain(self) -> None:
        """/ready returns 503 at once; requests are accepted a moment longer, from clients that have not noticed yet."""
        if self._service.draining or not self._workers.started:  # a second signal, or nothing to finish
            self._stop()
        self._service.draining = True
        asyncio.get_running_loop().call_later(self._settings.drain_seconds, self._stop)

    def _stop(self) -> None:
        self._http.should_exit = True

    def _fail(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._stop()


class _Http(uvicorn.Server):
    """uvicorn would end at SIGTERM at once; the server drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _tracer(settings: Settings, environ: Mapping[str, str]) -> Tracer | None:
    """None, and nothing is imported, where the variables name no collector."""
    if not any(environ.get(name) for name in _COLLECTORS):
        return None
    from promoter.serving.tracing import connect

    named = {"model.name": settings.model_name, "model.version": settings.model_version, "model.digest": settings.model_digest}
    return connect(environ, named)


def _listener(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is explicit: asyncio sends small answers at once (TCP_NODELAY) only if the socket's protocol is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise StartError(f"can't listen on HOST {settings.host}, PORT {settings.port}: {error.strerror}") from error
    return listener
