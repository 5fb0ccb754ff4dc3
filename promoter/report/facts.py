"""What a report is about: the releases of environments, with what Git, records and MLflow have of each. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from promoter.promotion.outcome import Act, End, Outcome
from promoter.report.recorded import Recorded

FAILURES = frozenset({End.ABORTED, End.FAILED, End.ROLLED_BACK, End.REJECTED})
"""Ends after which an earlier release had to be put back."""

_FAILED = ("aborted", "failed")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One commit that put a release into an environment, and what became of it; times are in UTC.

    `created` is when MLflow created the version; None: not known. `recorded` is the record at its image, None if records were
    not read or there is none. `log` is the message of the commit that undid it. `url` is the commit's page, "" if that is
    not known.
    """

    when: datetime
    version: str
    image: str
    commit: str
    subject: str
    act: Act
    by: str
    reason: str
    outcome: Outcome
    created: datetime | None = None
    recorded: Recorded | None = None
    log: str = ""
    url: str = ""

    @property
    def is_change(self) -> bool:
        """Somebody wanted another release. What puts an earlier one back is the repair of a change, not a change."""
        return self.act in (Act.PROMOTED, Act.BY_HAND)

    @property
    def live(self) -> datetime | None:
        """When the release was seen live; None: not known."""
        return self.recorded.live_at if self.recorded else None

    @property
    def failed(self) -> bool:
        """It was undone, or a watch saw it fail and nothing was put back."""
        return self.outcome.end in FAILURES or (self.recorded is not None and self.recorded.verdict.kind in _FAILED)


@dataclass(frozen=True, slots=True)
class Past:
    """One environment of one model: `deployments` newest first. `problem` is why Git could not be read, "" if it was.

    `links` are pages about it: (name, address).
    """

    environment: str
    model: str
    deployments: tuple[Deployment, ...] = ()
    frozen: str = ""
    problem: str = ""
    links: tuple[tuple[str, str], ...] = ()

    @property
    def deployed(self) -> Deployment | None:
        return next((one for one in self.deployments if one.outcome.end is End.DEPLOYED), None)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report shows: what happened from `start` to `now`.

    `metrics` are those of versions in MLflow, by model and version. `notes` are what is not known, and why.
    """

    start: datetime
    now: datetime
    pasts: tuple[Past, ...]
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def natural(version: str) -> tuple[int, str]:
    """The order of versions: MLflow counts them."""
    return (int(version), "") if version.isdecimal() and len(version) < 19 else (0, version)
