"""The table of results: what each scenario ended with, as Markdown, when PROMOTER_CLUSTER_TABLE is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.command import Run

_HEAD = """# Results of the cluster tests

Written by `PROMOTER_CLUSTER_TABLE=1 make test-cluster`: a live Kubernetes with Argo CD and Argo Rollouts, one application a
scenario. Requests are those that a client sent to the Service throughout, a new connection each.

| scenario | verdict | exit code | seconds | requests | failed |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One scenario; `runs` are promoter's, in order. `stages`: seconds to each, where nobody ran promoter for it."""

    scenario: str
    runs: Sequence[Run]
    requests: int
    failed: int
    stages: Mapping[str, float] = field(default_factory=dict)

    def line(self) -> str:
        if self.stages:
            told = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in self.stages.items())
            seconds = max(self.stages.values())
            return f"| {self.scenario} | {told} | — | {seconds:.0f} | {self.requests} | {self.failed} |\n"
        ended = [run for run in self.runs if run.events and run.verdict[0]]
        verdicts = ", then ".join(": ".join(filter(None, run.verdict)) for run in ended) or "—"
        codes = ", then ".join(str(run.exit_code) for run in ended) or "—"
        seconds = sum(run.seconds for run in ended)
        return f"| {self.scenario} | {verdicts} | {codes} | {seconds:.0f} | {self.requests} | {self.failed} |\n"


def write(rows: Sequence[Row], facts: Sequence[str], file: Path) -> None:
    """The rows in which promoter ran (the rest are checks of the rig itself), and what else was measured, a line each."""
    told = "".join(f"- {fact}\n" for fact in facts)
    file.write_text(_HEAD + "".join(row.line() for row in rows if row.runs) + (f"\n{told}" if told else ""))
