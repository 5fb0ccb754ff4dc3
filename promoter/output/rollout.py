"""A rollout as a terminal shows it while it goes on: its steps with clocks, its weight, its pods, its analyses."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from promoter.output.heartbeat import elapsed

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from promoter.argocd.state import AnalysisRunState, CanaryStep, PodState, RolloutState
    from promoter.verdict import Verdict
    from promoter.verdict.observation import Observation

Clean = Callable[[str], str]

_LEAST_STEPS = 3
_MOST_EVIDENCE = 2


@dataclass(slots=True)
class RolloutView:
    """One Application's rollout as it was seen last. Each time it is drawn its clocks are right, and it fits the window."""

    name: str
    clean: Clean
    clock: Callable[[], float] = time.monotonic
    _seen: Observation | None = None
    _verdict: Verdict | None = None
    _began: float = 0.0
    _steps: dict[int, tuple[float, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def look(self, seen: Observation, verdict: Verdict) -> None:
        """What is so now. A step's clock runs from the first look that finds the rollout in it."""
        rollout = _rollout(seen)
        if rollout is not None and rollout.step is not None and rollout.step != self._step():
            now = self.clock()
            self._steps = {
                place: (since, until or now) for place, (since, until) in self._steps.items() if place < rollout.step
            }
            self._steps[rollout.step] = (now, None)
        self._seen, self._verdict = seen, verdict

    def _step(self) -> int | None:
        rollout = _rollout(self._seen)
        return rollout.step if rollout else None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Its parts from top to bottom; where the window is too low for all, the least important ones are left out."""
        parts = [(rank, console.render_lines(part, options, pad=False)) for rank, part in self._parts(options.max_width)]
        height = console.size.height - 1  # the cursor has a line, too
        while len(parts) > 1 and sum(len(lines) for _, lines in parts) > height:
            parts.remove(max(parts, key=lambda part: part[0]))
        for _, lines in parts:
            for line in lines:
                yield from line
                yield Segment.line()

    def _parts(self, width: int) -> Iterator[tuple[int, RenderableType]]:
        """Each with its rank: a lower one stays longer."""
        verdict, seen = self._verdict, self._seen
        kind = str(verdict.kind) if verdict else "waiting for Argo CD"
        yield 0, self._text(f"{self.name}  {kind}, for {elapsed(self.clock() - self._began)}", "bold")
        if verdict is None or seen is None:
            return
        if (rollout := _rollout(seen)) is not None and rollout.steps and rollout.step is not None:
            yield 2, self._table(self._step_row(rollout, place) for place in _around(rollout.step, len(rollout.steps)))
        if verdict.weight is not None:
            yield 4, _bar(verdict.weight, width)
        if seen.pods:
            yield 3, self._table(_pods(seen))
        if measured := [row for run in seen.analysis_runs for row in _metrics(run)]:
            yield 5, self._table(measured)
        yield 1, self._text(verdict.summary)
        for sentence in verdict.evidence[:_MOST_EVIDENCE]:
            yield 6, self._text(f"  {sentence}", "dim")

    def _step_row(self, rollout: RolloutState, place: int) -> tuple[str, str, str]:
        step, words = rollout.step or 0, _words(rollout.steps[place])
        sign = "✓" if place < step else "▸" if place == step else "·"
        since, until = self._steps.get(place, (None, None))
        return sign, words, elapsed((until or self.clock()) - since) if since is not None else ""

    def _text(self, text: str, style: str = "") -> Text:
        return Text(self.clean(text).replace("\n", " "), style)

    def _table(self, rows: Iterable[tuple[str, ...]]) -> Table:
        table = Table.grid(padding=(0, 2), pad_edge=False)
        for row in rows:
            table.add_row("", *map(self._text, row))
        return table


def _rollout(seen: Observation | None) -> RolloutState | None:
    return seen.workload.rollout if seen and seen.workload else None


def _around(step: int, count: int) -> range:
    """The steps to be shown: all, or the present one and its neighbours."""
    if count <= 2 * _LEAST_STEPS + 1:
        return range(count)
    first = max(0, min(step - _LEAST_STEPS, count - 2 * _LEAST_STEPS - 1))
    return range(first, first + 2 * _LEAST_STEPS + 1)


def _words(step: CanaryStep) -> str:
    return step.words or (f"setWeight {step.weight}" if step.weight is not None else "")


def _bar(weight: int, width: int) -> RenderableType:
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_row("", ProgressBar(100, weight, width=max(10, min(40, width - 20))), Text(f"{weight} %"))
    return table


def _pods(seen: Observation) -> Iterator[tuple[str, ...]]:
    """A row for the pods of each ReplicaSet, with the first reason that keeps one of them from being ready."""
    groups: dict[str, list[PodState]] = {}
    for pod in seen.pods:
        groups.setdefault(_role(pod, _rollout(seen)), []).append(pod)
    for role in sorted(groups, key=("stable", "new", "old", "pods").index):
        pods = groups[role]
        healthy = Counter(pod.health for pod in pods)["Healthy"]
        waiting = next((pod for pod in pods if pod.health != "Healthy"), None)
        why = f"{waiting.status_reason or waiting.health} {waiting.message}".strip() if waiting else ""
        yield role, f"{healthy} of {len(pods)} ready", why


def _role(pod: PodState, rollout: RolloutState | None) -> str:
    if rollout is None or not pod.hash:
        return "pods"
    return "stable" if pod.hash == rollout.stable_hash else "new" if pod.hash == rollout.current_hash else "old"


def _metrics(run: AnalysisRunState) -> Iterator[tuple[str, ...]]:
    for metric in run.metrics:
        yield f"analysis {metric.name}", metric.phase, f"{', '.join(metric.values[-3:])}"
