"""WORKERS > 1: processes that share the port. One that ends is replaced; one that can't even start ends them all."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import NoReturn

from promoter.serving.metrics import forget_process
from promoter.serving.server import METRICS_FOLDER, Worker, listener
from promoter.serving.settings import Settings
from promoter.serving.states import LOADING, States

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A worker needs DRAIN_SECONDS and 15 s at most; the pod's grace ends soon after.
_KILL_AFTER_SECONDS = 25.0


class Supervisor:
    """Forks workers from a process that has one thread and has not imported the model's libraries."""

    def __init__(self, settings: Settings, scratch: Path) -> None:
        self._settings, self._scratch = settings, scratch
        self._states = States(settings.workers)
        self._processes: dict[int, ForkProcess] = {}
        self._fork = multiprocessing.get_context("fork")
        self._alive, self._held = os.pipe()  # its reading end ends with this process, however that ends
        self._stop_at = 0.0
        self._exit_code = 0

    def run(self) -> int:
        """Serves until SIGTERM, and returns the exit code.

        Raises:
            StartError: the port can't be had.
        """
        listener(self._settings, shared=True).close()
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self._stop())
        for worker in range(self._settings.workers):
            self._start(worker, again=False)
        while self._processes:
            wait([process.sentinel for process in self._processes.values()], timeout=1)
            for worker, process in list(self._processes.items()):
                if not process.is_alive():
                    self._ended(worker, process)
            if self._stop_at and time.monotonic() > self._stop_at + _KILL_AFTER_SECONDS:
                for process in self._processes.values():
                    process.kill()
        return self._exit_code

    def _start(self, worker: int, *, again: bool) -> None:
        """No signal comes between: a child would handle it as its parent does."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        process = self._fork.Process(target=self._worker, args=(worker, again), name=f"worker-{worker}")
        process.start()
        self._processes[worker] = process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _worker(self, worker: int, again: bool) -> NoReturn:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(self._held)
        one = Worker(self._settings, self._states, self._scratch, worker)
        listen = partial(listener, self._settings, shared=True)
        code = one.run_loaded(listen, self._alive) if again else one.run(listen(), self._alive)
        os._exit(code)  # not waiting for threads that a model has started or a predict call has kept

    def _ended(self, worker: int, process: ForkProcess) -> None:
        """A worker that had been ready is replaced; the others' failure would only be repeated."""
        started = self._states[worker] != LOADING
        self._states[worker] = LOADING
        del self._processes[worker]
        if process.pid is not None:
            forget_process(process.pid, self._scratch / METRICS_FOLDER)
        if self._stop_at:
            return
        fields = {"worker": worker, "exit_code": process.exitcode}
        if started:
            _log.error("a worker has ended and is started again", extra={"fields": fields})
            self._start(worker, again=True)
        else:
            _log.error("a worker has ended before it was ready: all end", extra={"fields": fields})
            self._exit_code = 1
            self._stop()

    def _stop(self) -> None:
        self._stop_at = self._stop_at or time.monotonic()
        for process in list(self._processes.values()):
            process.terminate()
