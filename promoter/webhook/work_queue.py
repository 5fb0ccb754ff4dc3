"""A queue of keys: one is never worked on twice at once, and once more if it was added meanwhile (client-go's workqueue)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Calls `work` for every key that is added, in `workers` threads at most; `failed` gets what it raises.

    A key has at most one call running and one waiting, however often it is added: the waiting one begins after the last `add`.
    """

    def __init__(self, work: Callable[[K], None], failed: Callable[[K, BaseException], None], *, workers: int) -> None:
        self._work, self._failed = work, failed
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="reconcile")
        self._turn = threading.Lock()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._closed = False

    def add(self, key: K) -> None:
        with self._turn:
            if self._closed or key in self._waiting:
                return
            self._waiting.add(key)
            if key not in self._running:
                self._submit(key)

    @property
    def length(self) -> int:
        """Keys that wait or are being worked on."""
        with self._turn:
            return len(self._waiting | self._running)

    def close(self) -> None:
        """Begins nothing more; what runs goes on to its end."""
        with self._turn:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Waits for what runs, once closed: after the main thread's end no thread can hand work to other threads."""
        self._threads.shutdown(wait=True)

    def _submit(self, key: K) -> None:
        # The lock is held, and _run begins by waiting for it: the call can't have ended before the callback is there.
        self._threads.submit(self._run, key).add_done_callback(partial(self._done, key))

    def _run(self, key: K) -> None:
        with self._turn:
            self._waiting.discard(key)
            self._running.add(key)
        self._work(key)

    def _done(self, key: K, ended: Future[None]) -> None:
        if ended.cancelled():
            return
        with self._turn:
            self._running.discard(key)
            if key in self._waiting and not self._closed:
                self._submit(key)
        if (error := ended.exception()) is not None:
            self._failed(key, error)
