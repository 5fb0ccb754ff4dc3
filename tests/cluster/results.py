"""The table of results: what each scenario ended with, as Markdown, when PROMOTER_CLUSTER_TABLE is set.

A test leaves its lines with its report, which reaches the process that writes the table also from a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.command import Run

if TYPE_CHECKING:
    import pytest

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


_ROW, _FACT = "row", "fact"


def add(item: pytest.Item, row: Row) -> None:
    """Only where promoter ran: the others are checks of the rig itself."""
    if row.runs:
        item.user_properties.append((_ROW, row.line()))


def add_fact(item: pytest.Item, fact: str) -> None:
    """What else a test measured, in a line."""
    item.user_properties.append((_FACT, fact))


@dataclass
class Table:
    """A plugin of pytest: collects the lines of all tests, and writes them at the end."""

    file: Path
    lines: dict[str, list[tuple[str, object]]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.lines[report.nodeid] = report.user_properties

    def pytest_sessionfinish(self) -> None:
        rows = self._all(_ROW)
        facts = [f"- {fact}\n" for fact in self._all(_FACT)]
        if rows:
            self.file.write_text(_HEAD + "".join(rows) + ("\n" if facts else "") + "".join(facts))

    def _all(self, kind: str) -> list[str]:
        return [str(text) for node in sorted(self.lines) for key, text in self.lines[node] if key == kind]
