"""The receiver put together: HTTP server in the main thread, one thread that compares, a pool that does what is missing."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from promoter.commands.reconcile import Reconciler
from promoter.errors import UsageError
from promoter.promotion.survey import Survey
from promoter.webhook.application import Application
from promoter.webhook.connection import connection
from promoter.webhook.connections import Limits
from promoter.webhook.controller import Controller
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.pages import Pages
from promoter.webhook.reporting import Reporting
from promoter.webhook.work import Dispatcher, Key, StoppingClock, Work
from promoter.webhook.work_queue import WorkQueue

if TYPE_CHECKING:
    from promoter.webhook.asgi import App
    from promoter.webhook.dispatch import Pipeline
    from promoter.webhook.source import ConfigSource

_WAITING = 2048
"""Connections that the kernel keeps until they are accepted."""
_ACCEPTED_AT_ONCE = 64
"""Those that have a file descriptor before the limits close others; a process may have 1,024 of them by default."""


@dataclass(frozen=True, slots=True)
class Options:
    """`interval`: seconds between looks at everything. `workers`: environments reconciled at once, most of which only wait.

    `pipeline`: dispatched instead of reconciling here. No `secrets`: deliveries are not verified. `health_port`: of /health,
    /ready, /metrics and /report; without one they are at `port`.
    """

    secrets: Sequence[bytes]
    host: str = "127.0.0.1"
    port: int = 8080
    health_port: int | None = None
    interval: float = 300.0
    workers: int = 32
    pipeline: Pipeline | None = None
    in_json: bool = False


def serve(source: ConfigSource, options: Options) -> None:
    """Serves until SIGTERM or SIGINT: then requests in hand are answered, and what is being watched is left to the next one.

    Raises:
        UsageError: the server can't listen at that address.
    """
    listening = _listen(options.host, options.port, "--port")
    pages_at = None if options.health_port is None else _listen(options.host, options.health_port, "--health-port")
    log, metrics, stopping = Log(options.in_json), Metrics(), threading.Event()
    dispatch = Dispatcher(options.pipeline) if options.pipeline else None
    reconciler = partial(Reconciler, progress=log.following, clock=StoppingClock(stopping), dispatch=dispatch)
    work = Work(source, reconciler, lambda model, seconds: controller.wake(model, seconds), metrics, log)
    queue = WorkQueue(work, work.failed, workers=options.workers)

    def differs(key: Key, survey: Survey) -> None:
        work.found(key, survey)
        queue.add(key)

    controller = Controller(source, partial(Survey, with_argocd=dispatch is None), differs, options.interval, metrics, log)
    reporting = Reporting(source, options.interval, log)
    metrics.add(reporting)
    pages = Pages(lambda: controller.health, lambda: controller.ready, metrics, reporting.page)
    deliveries = Application(options.secrets, controller.wake, metrics, log, None if pages_at else pages)
    # uvicorn raises the signal again once it has shut down; a clean end is none the less.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    log("serving", host=options.host, port=options.port, act="dispatch" if dispatch else "run", verified=bool(options.secrets))
    controller.start()
    reporting.start()
    try:
        with _in_background(pages, pages_at):
            server(deliveries, metrics.delivery).run(sockets=[listening])
    finally:
        stopping.set()
        controller.close()
        reporting.close()
        queue.close()
        log("stopping")
        controller.join()
        reporting.join()
        queue.join()


@contextmanager
def _in_background(pages: Pages, listening: socket.socket | None) -> Iterator[None]:
    """Serves them in a thread of their own: whatever is done to the other port, they are answered."""
    if listening is None:
        yield
        return
    running = server(pages, lambda _: None)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, name="pages")
    thread.start()
    try:
        yield
    finally:
        running.should_exit = True
        thread.join()


def _listen(host: str, port: int, option: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"can't listen at {host}:{port}: {error.strerror}", hint=f"choose --host and {option}") from None


def server(application: App, refused: Callable[[str], None], limits: Limits | None = None) -> uvicorn.Server:
    """The HTTP server, to be run on a listening socket; `refused` gets the outcome of each request that the limits end."""
    config = uvicorn.Config(
        application,
        http=connection(refused, limits or Limits()),
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="error",
        backlog=_ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=5,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """asyncio has one number for two things: what it accepts at once, and what may wait for it."""
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_WAITING)
