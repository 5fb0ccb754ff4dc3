"""Prometheus metrics of the server, including what its model processes report to it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Half a millisecond to half a minute: INFERENCE_TIMEOUT is 30 s.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Metrics:
    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests_total", "HTTP requests answered", ("method", "path", "status"), registry=registry
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Seconds from a request's headers to its answer",
            ("method", "path"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("http_requests_in_flight", "HTTP requests being answered", registry=registry)
        self.batch_size = Histogram("predict_batch_size", "Rows of a predict call", buckets=_ROWS, registry=registry)
        self.load_seconds = Gauge(
            "model_load_seconds",
            "Seconds to import, load and warm the model, in the worker that did so last",
            registry=registry,
        )
        self._info = Gauge("model_info", "The model that is served", ("name", "version", "digest"), registry=registry)

    def answered(self, method: str, path: str, status: int, seconds: float, trace: str = "") -> None:
        """`path` is one of the server's own: what a client makes up must not make new series. `trace` becomes an exemplar."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(method, path).observe(seconds, {"trace_id": trace} if trace else None)

    def model(self, name: str, version: str, digest: str) -> None:
        self._info.labels(name, version, digest).set(1)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def open_text(self) -> bytes:
        """In the format of OpenMetrics, the only one with exemplars."""
        from prometheus_client.openmetrics import exposition

        generate: Callable[[CollectorRegistry], bytes] = exposition.generate_latest
        return generate(self._registry)
