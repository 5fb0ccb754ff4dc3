"""What the receiver counts, in Prometheus' text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from promoter.commands.reconcile import Reconciled
from promoter.models import Status, Step

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """One set of counters for one receiver. Safe for use by several threads."""

    def __init__(self) -> None:
        self._all = CollectorRegistry()
        ProcessCollector(registry=self._all)
        PlatformCollector(registry=self._all)
        self._deliveries = Counter(
            "promoter_webhook_deliveries", "Requests to /mlflow, by what became of them.", ["outcome"], registry=self._all
        )
        self._reconciled = Counter(
            "promoter_reconciled",
            "Environments reconciled, by what was done.",
            ["environment", "model", "action"],
            registry=self._all,
        )
        self._steps = Histogram(
            "promoter_step_seconds", "Seconds of a promotion's steps.", ["step", "status"], buckets=_SECONDS, registry=self._all
        )
        self._looks = Counter(
            "promoter_looks", "Comparisons of aliases, Git and Argo CD, by how they ended.", ["outcome"], registry=self._all
        )
        self._last = Gauge(
            "promoter_last_reconcile_timestamp_seconds", "When everything was last compared (Unix time).", registry=self._all
        )

    def add(self, collector: Collector) -> None:
        """What it collects is in the text from now on."""
        self._all.register(collector)

    def delivery(self, outcome: str) -> None:
        self._deliveries.labels(outcome).inc()

    def reconciled(self, done: Reconciled) -> None:
        self._reconciled.labels(done.environment, done.model, done.action.value).inc()

    def step(self, step: Step) -> None:
        if step.status is not Status.RUNNING:
            self._steps.labels(step.name, step.status.value).observe(step.seconds)

    def looked(self, outcome: str, *, at_everything: bool) -> None:
        self._looks.labels(outcome).inc()
        if at_everything and outcome == "succeeded":
            self._last.set_to_current_time()

    def text(self) -> bytes:
        return generate_latest(self._all)
