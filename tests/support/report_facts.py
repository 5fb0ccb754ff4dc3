"""Facts of a report, written by hand: releases with records of every kind, as many as a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from promoter.promotion.outcome import Act, End, Outcome
from promoter.report import recorded
from promoter.report.facts import Deployment, Facts, Past

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
START = NOW - timedelta(days=30)


def at(days: float, hours: float = 0.0) -> datetime:
    """So long after the start."""
    return START + timedelta(days=days, hours=hours)


def deployment(when: datetime, version: str, end: End = End.REPLACED, **other: Any) -> Deployment:
    """`hours`: until it ended; `created`: hours before `when` that the version was created."""
    hours, created = other.pop("hours", None), other.pop("created", None)
    until = None if hours is None else when + timedelta(hours=hours)
    made: dict[str, Any] = {
        "when": when,
        "version": version,
        "image": f"registry.example.com/models/fraud-detector:v{version}-20261101090000@sha256:{int(version or 0):064x}",
        "commit": f"{int(when.timestamp()):x}"[::-1].ljust(40, "a"),
        "subject": f"Promote fraud-detector {version}",
        "act": Act.PROMOTED,
        "by": "ann",
        "reason": "",
        "outcome": Outcome(end, until),
        "created": None if created is None else when - timedelta(hours=created),
    }
    return Deployment(**made | other)


def record(
    kind: str, when: datetime, measurements: Sequence[str] = ("0.96", "0.97", "0.95"), **other: Any
) -> recorded.Recorded:
    """As promoter writes one: a canary in three steps, with one analysis of two metrics."""
    failed = kind == "aborted"
    predicate = {
        "verdict": {"kind": kind, "summary": "every step passed", "evidence": [], "at": f"{when:%Y-%m-%dT%H:%M:%SZ}"},
        "people": {"pullRequest": "https://github.com/team/gitops/pull/7", "approvers": ["ben"]},
        "gates": [{"gate": "metrics", "about": "accuracy", "result": "passed", "detail": "0.96 is at least 0.9"}],
        "steps": [
            {"name": "resolve", "status": "succeeded", "detail": "version 7", "seconds": 0.2},
            {"name": "commit", "status": "succeeded", "detail": "", "seconds": 0.4},
        ],
        "stages": [
            {
                "at": f"{when - timedelta(minutes=9 - 3 * step):%Y-%m-%dT%H:%M:%SZ}",
                "kind": "rolling",
                "step": step,
                "steps": 3,
                "weight": step * 33,
            }
            for step in range(3)
        ],
        "analysis": [
            {
                "name": "fraud-detector-7-2",
                "phase": "Failed" if failed else "Successful",
                "message": "",
                "metrics": [
                    {
                        "name": "accuracy",
                        "phase": "Failed" if failed else "Successful",
                        "message": "",
                        "limits": {"successCondition": "result >= 0.95", "failureLimit": "1"},
                        "measurements": list(measurements),
                    },
                    {
                        "name": "latency",
                        "phase": "Successful",
                        "message": "",
                        "limits": {"successCondition": "result[0] < 0.2"},
                        "measurements": ["[0.12]", "[0.11]", "[0.14]"],
                    },
                ],
            }
        ],
    }
    return recorded.of(predicate | other, "a record")


def story(releases: int) -> Facts:
    """Two environments with so many releases together: every ninth is aborted and restored, with a log of it."""
    pasts = []
    for name, count in (("staging", releases - releases // 3), ("production", releases // 3)):
        made: list[Deployment] = []
        for place in range(count):
            when, version = at(30 * (place + 0.2) / count), str(place + 1)
            ends = END_OF.get(place % 9, End.REPLACED) if place < count - 1 else End.DEPLOYED
            hours = None if ends is End.DEPLOYED else 0.2
            failed = ends is End.ABORTED
            outcome = Outcome(
                ends, None if hours is None else when + timedelta(hours=hours), _WHY if failed else "", "", failed, "", version
            )
            seen = record(
                "aborted" if failed else "live",
                when + timedelta(minutes=11),
                ("0.71", "0.69") if failed else ("0.96", "0.97", "0.95"),
            )
            log = f"analysis fraud-detector-7-2: {_WHY}\n\nRollout-Abort: analysis failed" if failed else ""
            made.append(
                deployment(
                    when,
                    version,
                    created=5.0,
                    outcome=outcome,
                    recorded=seen,
                    log=log,
                    url=f"https://github.com/team/gitops/commit/{place}",
                )
            )
        pasts.append(
            Past(
                name,
                "fraud-detector",
                tuple(reversed(made)),
                links=(("Argo CD", "https://argocd.example.com/applications/argocd/fraud"),),
            )
        )
    versions = {str(version): {"accuracy": 0.9 + version % 7 / 100, "loss": 1 / (version + 1)} for version in range(1, 13)}
    return Facts(START, NOW, tuple(pasts), {"fraud-detector": versions})


END_OF = {4: End.ABORTED}
_WHY = "metric accuracy Failed, measured 0.69"
