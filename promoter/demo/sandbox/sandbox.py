"""The sandbox as one thing to start and to close: world, API server and the thread that lets time pass."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from promoter.demo.sandbox.proxy import Proxy
from promoter.demo.sandbox.server import Api, SandboxServer
from promoter.demo.sandbox.world import World

if TYPE_CHECKING:
    from promoter.demo.sandbox.application import Application
    from promoter.demo.sandbox.pods import Runtime

_TICK_SECONDS = 0.1


def fast_clock(speed: float) -> Callable[[], float]:
    """Seconds since 1970, passing `speed` times as fast from now on."""
    start = time.time()
    origin = time.monotonic()
    return lambda: start + (time.monotonic() - origin) * speed


class Sandbox:
    """Serves the API at `url` for the bearer `token`. As a context manager it also lets time pass; else call `world.tick()`.

    `folder` holds the copies of the Git remotes. `clock` gives seconds since 1970; `fast_clock` makes a demo brisk.
    """

    def __init__(
        self,
        applications: Sequence[Application],
        *,
        folder: Path,
        runtime: Runtime,
        clock: Callable[[], float] = time.time,
        reconcile_every: float = 120.0,
        other_tokens: Mapping[str, str] | None = None,
    ) -> None:
        self.token = ".".join(secrets.token_hex(8) for _ in range(3))  # three parts, like every token Argo CD accepts
        self.world = World(applications, folder=folder, runtime=runtime, clock=clock, reconcile_every=reconcile_every)
        self._runtime, self._proxies = runtime, list[Proxy]()
        self._server = SandboxServer(Api(self.world, {self.token: "promoter", **(other_tokens or {})}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)]
        self._threads[0].start()

    def service(self, application: str) -> str:
        """The URL of a new loopback port that spreads requests over the application's ready pods."""
        proxy = Proxy(lambda: self.world.endpoints.get(application, ()))
        self._proxies.append(proxy)
        return proxy.url

    def __enter__(self) -> Sandbox:
        self._threads.append(threading.Thread(target=self._let_time_pass, daemon=True))
        self._threads[-1].start()
        return self

    def _let_time_pass(self) -> None:
        while not self._closing.wait(_TICK_SECONDS):
            self.world.tick()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stops the clock, the servers and every pod."""
        self._closing.set()
        for proxy in self._proxies:
            proxy.close()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()
        self._runtime.close()
