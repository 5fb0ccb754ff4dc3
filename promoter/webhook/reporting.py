"""What the receiver reports of deliveries: the page of `promoter report`, and the four figures as metrics.

A thread of its own looks whether a branch has moved. Only then are releases read again: neither who reads the page nor who
scrapes the metrics costs anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from promoter.commands.report import fetched, gather
from promoter.errors import PromoterError
from promoter.report.figures import figures
from promoter.report.page import html
from promoter.webhook.log import Log

if TYPE_CHECKING:
    from promoter.report.facts import Facts
    from promoter.webhook.source import ConfigSource

SPAN = timedelta(days=30)
_OLDEST = timedelta(hours=12)
"""A page about what happened until then is made again, though no branch moved: time did."""
_REPORT = "this is a fault of promoter: please report it"

_FIGURES = (
    ("promoter_deployments_per_day", "Deployments a day, over the last 30 days.", "per_day"),
    ("promoter_lead_time_seconds", "From the creation of a version to its release, the median of 30 days.", "lead_time"),
    ("promoter_change_failure_ratio", "Deployments of 30 days that had to be undone, of all.", "failure_ratio"),
    ("promoter_restore_time_seconds", "From a failing deployment to its restore, the median of 30 days.", "restore_time"),
)


@dataclass(eq=False)
class Reporting(Collector):
    """One thread. `interval`: seconds between looks."""

    source: ConfigSource
    interval: float
    log: Log
    facts: Facts | None = None
    _tips: tuple[str, ...] = ()
    _page: bytes = b""
    _problem: str = "the releases are being read for the first time"
    _closed: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def join(self) -> None:
        """Waits until the look at hand has ended."""
        self._thread.join()

    def page(self) -> tuple[int, str, bytes]:
        """The answer to GET /report: status, type and body."""
        if not self._page:
            return 503, "text/plain; charset=utf-8", f"{self._problem}\n".encode()
        return 200, "text/html; charset=utf-8", self._page

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The four figures until now, as Prometheus asks a collector for them; what is not known has no sample."""
        if (facts := self.facts) is None:
            return
        now = datetime.now(UTC)
        measured = [(past, figures(past.deployments, now - SPAN, now)) for past in facts.pasts if not past.problem]
        for name, meaning, figure in _FIGURES:
            family = GaugeMetricFamily(name, meaning, labels=("environment", "model"))
            for past, one in measured:
                if (value := getattr(one, figure)) is not None:
                    family.add_metric((past.environment, past.model), value)
            yield family

    def look(self) -> None:
        """Reads the releases if a branch has moved since the last look; what keeps it from that leaves the last page."""
        try:
            self._look(datetime.now(UTC).replace(microsecond=0))
        except Exception as error:  # what nobody foresaw ends this look, not the thread
            known = (
                error if isinstance(error, PromoterError) else PromoterError(f"{type(error).__name__}: {error}", hint=_REPORT)
            )
            self._problem = known.message
            self.log("report", error=known.message, hint=known.hint)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.is_set():
            self.look()
            self._closed.wait(self.interval)

    def _look(self, now: datetime) -> None:
        clients = self.source.clients()
        environments = clients.config.environments
        tips = fetched(clients, environments)
        seen = tuple(tip.commit for tip in tips.values())
        if self.facts is not None and seen == self._tips and now - self.facts.now < _OLDEST:
            return
        found = gather(clients, environments, now - SPAN, now, lambda _: None, tips=tips)
        self.facts, self._tips = found.facts, seen
        self._page = html(found.facts).encode()
