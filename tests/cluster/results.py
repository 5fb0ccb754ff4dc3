"""The table of results: what each scenario ended with, as Markdown, when PROMOTER_CLUSTER_TABLE is set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    """One scenario; `runs` are promoter's, in order."""

    scenario: str
    runs: Sequence[Run]
    requests: int
    failed: int

    def line(self) -> str:
        told = [run for run in self.runs if run.events and run.verdict[0]]
        verdicts = ", then ".join(": ".join(filter(None, run.verdict)) for run in told) or "—"
        codes = ", then ".join(str(run.exit_code) for run in told) or "—"
        seconds = sum(run.seconds for run in told)
        return f"| {self.scenario} | {verdicts} | {codes} | {seconds:.0f} | {self.requests} | {self.failed} |\n"


def write(rows: Sequence[Row], facts: Sequence[str], file: Path) -> None:
    """The rows in which promoter ran (the rest are checks of the rig itself), and what else was measured, a line each."""
    told = "".join(f"- {fact}\n" for fact in facts)
    file.write_text(_HEAD + "".join(row.line() for row in rows if row.runs) + (f"\n{told}" if told else ""))
