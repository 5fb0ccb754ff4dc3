"""One worker: loads the model beside its event loop, serves, and drains when it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import uvicorn

from promoter.serving.app import Service, application
from promoter.serving.batching import answer_alone, answer_together
from promoter.serving.download import model_folder, prepare
from promoter.serving.errors import StartError
from promoter.serving.inference import MOST_STUCK, Inference
from promoter.serving.metrics import Metrics
from promoter.serving.model import PyfuncModel, load
from promoter.serving.openapi import document
from promoter.serving.settings import Settings
from promoter.serving.states import DRAINING, READY, States

_log = logging.getLogger(__name__)

METRICS_FOLDER = "metrics"
# Together with DRAIN_SECONDS and a preStop of 10 s less than the pod's grace of 30 s.
_FINISH_SECONDS = 15
# Longer than load balancers keep an idle connection: the side that asks should be the one that closes.
_KEEP_ALIVE_SECONDS = 75


class Worker:
    """A worker of number `number`. `scratch` has the folder of the metrics, and the downloaded model."""

    def __init__(self, settings: Settings, states: States, scratch: Path, number: int = 0) -> None:
        self._settings, self._states, self._scratch, self._number = settings, states, scratch, number
        self._service = Service(settings, states, Metrics(scratch / METRICS_FOLDER))
        self._service.metrics.model(settings.model_name, settings.model_version, settings.model_digest)
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
        self._server = _Server(config)
        self._exit_code = 0

    def run(self, listener: socket.socket, parent: int | None = None) -> int:
        """Serves until SIGTERM, and returns the exit code. `parent` is a file descriptor that ends when the supervisor does."""
        threading.Thread(target=self._load, name="load", daemon=True).start()
        return self._serve(listener, parent)

    def run_loaded(self, listen: partial[socket.socket], parent: int | None = None) -> int:
        """The same for a worker that takes the place of another: it takes no request before it can answer."""
        self._load()
        return self._exit_code or self._serve(listen(), parent)

    def _serve(self, listener: socket.socket, parent: int | None) -> int:
        asyncio.run(self._main(listener, parent))
        return self._exit_code

    async def _main(self, listener: socket.socket, parent: int | None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain)
        if parent is not None:
            loop.add_reader(parent, self._stop)
        await self._server.serve([listener])

    def _drain(self) -> None:
        """/ready says 503 at once; requests are taken for a moment more, from those who have not heard of it."""
        if self._states[self._number] == DRAINING:  # told twice
            self._stop()
        self._states[self._number] = DRAINING
        ready = self._service.inference is not None
        asyncio.get_running_loop().call_later(self._settings.drain_seconds if ready else 0, self._stop)

    def _stop(self) -> None:
        self._server.should_exit = True

    def _fail(self, message: str) -> None:
        _log.error("%s", message)
        self._exit_code = 1
        self._stop()

    def _lost(self) -> None:
        self._states[self._number] = DRAINING
        self._fail(f"more than {MOST_STUCK} predict calls have not returned within INFERENCE_TIMEOUT: the worker ends")

    def _load(self) -> None:
        try:
            self._prepare()
            folder = model_folder(self._settings, self._scratch)
            metrics = self._service.metrics
            model, seconds = load(folder, self._settings.max_batch_size, metrics.batch_size.observe)
        except StartError as error:
            self._fail(str(error))
            return
        metrics.load_seconds.set(seconds)
        self._service.openapi = document(self._settings, model.signature)
        self._service.inference = self._inference(model)
        if self._states[self._number] != DRAINING:
            self._states[self._number] = READY
        _log.info("the model is loaded", extra={"fields": {"seconds": round(seconds, 3), **self._service.model}})

    def _prepare(self) -> None:
        """The first worker checks the model's files, the others wait for it."""
        if self._number == 0 and not self._states.prepared:
            prepare(self._settings, self._scratch)
            self._states.set_prepared()
        while not self._states.prepared:
            time.sleep(0.05)

    def _inference(self, model: PyfuncModel) -> Inference:
        settings = self._settings
        merge = settings.batch == "row-wise"
        return Inference(
            partial(answer_together, model, most_rows=settings.max_batch_size)
            if merge
            else lambda requests: [answer_alone(model, request) for request in requests],
            threads=settings.threads,
            at_once=settings.max_batch_size if merge else 1,
            max_queue=settings.max_queue,
            timeout=settings.inference_timeout,
            on_lost=self._lost,
        )


class _Server(uvicorn.Server):
    """uvicorn would end at SIGTERM at once; the worker drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listener(settings: Settings, *, shared: bool) -> socket.socket:
    """A socket bound to HOST and PORT; the kernel spreads connections over those that share the port.

    Raises:
        StartError: the port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named: asyncio sends small answers at once (TCP_NODELAY) only where it reads TCP here.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise StartError(f"can't listen on HOST {settings.host}, PORT {settings.port}: {error.strerror}") from error
    bound.set_inheritable(True)
    return bound
