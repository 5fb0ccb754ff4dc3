"""The receiver put together: HTTP server in the main thread, one thread that compares, a pool that does what is missing."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from promoter.commands.reconcile import Reconciler
from promoter.errors import UsageError
from promoter.promotion.survey import Survey
from promoter.webhook.application import Application
from promoter.webhook.connection import SECONDS, connection
from promoter.webhook.controller import Controller
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.work import Dispatcher, Key, StoppingClock, Work
from promoter.webhook.work_queue import WorkQueue

if TYPE_CHECKING:
    from promoter.webhook.dispatch import Pipeline
    from promoter.webhook.source import ConfigSource

_MOST_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class Options:
    """`interval`: seconds between looks at everything. `workers`: environments reconciled at once, most of which only wait.

    `pipeline`: dispatched instead of reconciling here. No `secrets`: deliveries are not verified.
    """

    secrets: Sequence[bytes]
    host: str = "127.0.0.1"
    port: int = 8080
    interval: float = 300.0
    workers: int = 32
    pipeline: Pipeline | None = None
    in_json: bool = False


def serve(source: ConfigSource, options: Options) -> None:
    """Serves until SIGTERM or SIGINT: then requests in hand are answered, and what is being watched is left to the next one.

    Raises:
        UsageError: the server can't listen at that address.
    """
    listening = _listen(options.host, options.port)
    log, metrics, stopping = Log(options.in_json), Metrics(), threading.Event()
    dispatch = Dispatcher(options.pipeline) if options.pipeline else None
    reconciler = partial(Reconciler, progress=log.following, clock=StoppingClock(stopping), dispatch=dispatch)
    work = Work(source, reconciler, lambda model, seconds: controller.wake(model, seconds), metrics, log)
    queue = WorkQueue(work, work.failed, workers=options.workers)

    def differs(key: Key, survey: Survey) -> None:
        work.found(key, survey)
        queue.add(key)

    controller = Controller(source, partial(Survey, with_argocd=dispatch is None), differs, options.interval, metrics, log)
    application = Application(
        secrets=options.secrets,
        wake=controller.wake,
        health=lambda: controller.health,
        ready=lambda: controller.ready,
        metrics=metrics,
        log=log,
    )
    # uvicorn raises the signal again once it has shut down; a clean end is none the less.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    log("serving", host=options.host, port=options.port, act="dispatch" if dispatch else "run", verified=bool(options.secrets))
    controller.start()
    try:
        server(application).run(sockets=[listening])
    finally:
        stopping.set()
        controller.close()
        queue.close()
        log("stopping")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(f"can't listen at {host}:{port}: {error.strerror}", hint="choose --host and --port") from None


def server(application: Application, seconds: float = SECONDS) -> uvicorn.Server:
    """The HTTP server, to be run on a listening socket; `seconds`: how long a request may take to come in."""
    config = uvicorn.Config(
        application,
        http=connection(lambda: application.metrics.delivery("slow"), seconds),
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="error",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)
