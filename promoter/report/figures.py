"""How well an environment is delivered to: the four figures of DORA, from its releases. Pure.

https://dora.dev/guides/dora-metrics-four-keys/ defines them; what they are measured with here is in docs/report.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from promoter.report.facts import Deployment

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """From `start` to `now`; a figure that nothing is known for is None. Times are seconds, and medians.

    `deployments` is how many there were, `failed` how many of them had to be undone. `lead_times` and `restores` are how many
    deployments the two medians are of; `to_live` is how many of the lead times end when the release was seen live: the others
    end at its commit. `unrestored` failures are still deployed.
    """

    days: float
    deployments: int
    per_day: float
    lead_time: float | None
    lead_times: int
    to_live: int
    failed: int
    failure_ratio: float | None
    restore_time: float | None
    restores: int
    unrestored: int


def figures(deployments: Sequence[Deployment], start: datetime, now: datetime) -> Figures:
    """Those of one environment. `deployments` may go back further than `start`: only what came since then counts."""
    span = max((now - start) / _DAY, 1e-9)
    changes = [one for one in deployments if one.is_change and start <= one.when <= now]
    failed = [one for one in changes if one.failed]
    leads = [time for one in _first_of_each(deployments) if one in changes and (time := _lead(one)) is not None]
    restores = [_seconds(one.outcome.until - one.when) for one in failed if one.outcome.until is not None]
    return Figures(
        days=span,
        deployments=len(changes),
        per_day=len(changes) / span,
        lead_time=median(time for time, _ in leads) if leads else None,
        lead_times=len(leads),
        to_live=sum(live for _, live in leads),
        failed=len(failed),
        failure_ratio=len(failed) / len(changes) if changes else None,
        restore_time=median(restores) if restores else None,
        restores=len(restores),
        unrestored=len(failed) - len(restores),
    )


def _first_of_each(deployments: Sequence[Deployment]) -> Iterator[Deployment]:
    """The first time that each version got into the environment and stayed: later ones bring no new change."""
    seen = set()
    for one in reversed(deployments):
        key = one.version, one.created
        if one.is_change and not one.failed and key not in seen:
            seen.add(key)
            yield one


def _lead(one: Deployment) -> tuple[float, bool] | None:
    """Seconds from the version's creation to the release, and whether that was seen live."""
    if one.created is None:
        return None
    return _seconds((one.live or one.when) - one.created), one.live is not None


def _seconds(span: timedelta) -> float:
    """Clocks differ: what would be negative is 0."""
    return max(0.0, span.total_seconds())
