"""Prometheus metrics, summed over all workers: each writes files into one folder, and any of them can be asked."""

from __future__ import annotations

import os
from pathlib import Path

# Before prometheus_client is imported: it decides at import how values are kept.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# Half a millisecond to half a minute: INFERENCE_TIMEOUT is 30 s.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Metrics:
    """One a process. `folder` is shared by the workers and is empty when the first of them starts."""

    def __init__(self, folder: Path) -> None:
        os.environ[FOLDER_VARIABLE] = str(folder)
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

        # Read anew from the files at every scrape; what this process counts is registered nowhere, or it would count twice.
        self._read = CollectorRegistry()
        multiprocess.MultiProcessCollector(self._read, path=str(folder))  # type: ignore[no-untyped-call] # no annotation there
        self._requests = Counter("http_requests_total", "HTTP requests answered", ("method", "path", "status"), registry=None)
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Seconds from a request's first byte to its answer",
            ("method", "path"),
            buckets=_SECONDS,
            registry=None,
        )
        self.in_flight = Gauge(
            "http_requests_in_flight", "HTTP requests being answered", registry=None, multiprocess_mode="livesum"
        )
        self.batch_size = Histogram("predict_batch_size", "Rows of a predict call", buckets=_ROWS, registry=None)
        self.load_seconds = Gauge(
            "model_load_seconds",
            "Seconds to import, load and warm the model, of the slowest worker",
            registry=None,
            multiprocess_mode="livemax",
        )
        self._info = Gauge(
            "model_info", "The model that is served", ("name", "version", "digest"), registry=None, multiprocess_mode="livemax"
        )

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """`path` is one of the server's own: what a client makes up must not make new series."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(method, path).observe(seconds)

    def model(self, name: str, version: str, digest: str) -> None:
        self._info.labels(name, version, digest).set(1)

    def text(self) -> bytes:
        """All workers' metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._read)


def forget_process(pid: int, folder: Path) -> None:
    """What a worker that has ended counted stays; what it measured at a moment goes.

    As prometheus_client.multiprocess.mark_process_dead does: importing that where no FOLDER_VARIABLE is set, in the process
    that forks the workers, would have the next one count for itself alone.
    """
    for file in folder.glob(f"gauge_live*_{pid}.db"):
        file.unlink()
