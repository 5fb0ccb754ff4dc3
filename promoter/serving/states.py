"""How far each worker is, in memory that all of them share: any worker can say whether all of them are ready."""

from __future__ import annotations

import mmap

LOADING, READY, DRAINING = 0, 1, 2


class States:
    """One byte a worker, and one that says that the model's files are there and checked. Made before the processes fork."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._bytes = mmap.mmap(-1, workers + 1)

    def __getitem__(self, worker: int) -> int:
        return self._bytes[worker]

    def __setitem__(self, worker: int, state: int) -> None:
        self._bytes[worker] = state

    @property
    def prepared(self) -> bool:
        return bool(self._bytes[self._workers])

    def set_prepared(self) -> None:
        self._bytes[self._workers] = 1

    @property
    def ready(self) -> bool:
        """Every worker has loaded and warmed the model, and none is on its way out."""
        return all(state == READY for state in self._bytes[: self._workers])

    @property
    def draining(self) -> bool:
        return any(state == DRAINING for state in self._bytes[: self._workers])
