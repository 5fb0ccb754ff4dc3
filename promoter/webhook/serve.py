"""The receiver put together: HTTP server in the main thread, one thread that compares, a pool that does what is missing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from promoter.reconcile import Reconciler
from promoter.webhook.application import Application
from promoter.webhook.connection import SECONDS, connection
from promoter.webhook.controller import Controller
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.work import Dispatcher, StoppingClock, Work
from promoter.webhook.work_queue import WorkQueue

if TYPE_CHECKING:
    from promoter.dispatch import Pipeline
    from promoter.webhook.source import Source

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


def serve(source: Source, options: Options) -> None:
    """Serves until SIGTERM or SIGINT: then requests in hand are answered, and what is being watched is left to the next one."""
    log, metrics, stopping = Log(options.in_json), Metrics(), threading.Event()
    instead = Dispatcher(options.pipeline) if options.pipeline else None
    reconciler = partial(Reconciler, told=log.following, clock=StoppingClock(stopping), instead=instead)
    work = Work(source, reconciler, lambda seconds: controller.again(seconds), metrics, log)
    queue = WorkQueue(work, work.failed, workers=options.workers)
    controller = Controller(source, reconciler, queue.add, options.interval, metrics, log)
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
    log("serving", host=options.host, port=options.port, act="dispatch" if instead else "run", verified=bool(options.secrets))
    controller.start()
    try:
        server(application, options.host, options.port).run()
    finally:
        stopping.set()
        controller.close()
        queue.close()
        log("stopping")


def server(application: Application, host: str, port: int, seconds: float = SECONDS) -> uvicorn.Server:
    """The HTTP server, not yet running; `seconds`: how long a request may take to come in."""
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
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
