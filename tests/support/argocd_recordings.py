"""The recordings of tests/data/argocd, read line by line, and the observations that can be made of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from promoter.argocd.answers import analysis_run, application_state, difference, resource_tree, sync_windows, workload
from promoter.argocd.state import AnalysisRunState, ResourceRef
from promoter.models import Release
from promoter.verdict.observation import Deployed, Expectation, GitFacts, Observation

DATA = Path(__file__).parent.parent / "data" / "argocd"
NOTHING = Observation(None, GitFacts())


@cache
def recording(scenario: str) -> tuple[dict[str, Any], ...]:
    with gzip.open(DATA / f"{scenario}.jsonl.gz", "rt") as lines:
        return tuple(json.loads(line) for line in lines)


@cache
def labels(scenario: str) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = YAML(typ="safe", pure=True).load((DATA / "labels" / f"{scenario}.yaml").read_text())
    return loaded


def labelled() -> list[str]:
    return sorted(path.stem for path in (DATA / "labels").glob("*.yaml"))


@dataclass(frozen=True)
class Label:
    """What is right from `t` on; `call` has the line after which, where two lines have the same `t`."""

    t: float
    kind: str
    call: str = ""
    reason: str | None = None
    restore: bool = False
    sync_due: bool = False
    held_by: str = ""


@dataclass(frozen=True)
class Moment:
    """One line of a recording as one promotion sees it: what is known after it, and what is right to say then."""

    t: float
    call: str
    seen: Observation
    expected: Expectation
    label: Label


@dataclass
class Branch:
    """What Git contains at a moment: the commits of a recording in order, and what the overlay deploys at each.

    `unsynced_before`: the recording begins with a commit of somebody that Argo CD has not synced.
    """

    deployed: Mapping[str, str]
    unsynced_before: bool
    commits: list[tuple[str, bool]] = field(default_factory=list)

    def push(self, line: Mapping[str, Any]) -> None:
        self.commits.append((line["sha"], any(not path.startswith("other/") for path in line["files"])))

    def place(self, revision: str) -> int:
        """-1: before the recording. A branch name is the tip."""
        shas = [sha for sha, _ in self.commits]
        if revision in shas:
            return shas.index(revision)
        return -1 if len(revision) == 40 else len(shas) - 1

    def facts(self, seen: Observation, commit: str, release: str) -> GitFacts:
        application, ours = seen.application, self.place(commit)
        if application is None:
            return GitFacts(reachable=True)
        operation, at = application.operation, self.place(application.revision)
        failing = self.place(operation.revision) if operation and application.revision_is_commit else at
        last = self.place(application.last_synced_revision)
        between = [sha for sha, changes in self.commits[last + 1 : failing + 1] if changes]
        begins_with_us = between == [commit] and not (last == -1 and self.unsynced_before)
        return GitFacts(
            ancestor=at >= ours,
            deployed=self._deployed(at, release),
            operation_ancestor=None if operation is None else self.place(operation.revision) >= ours,
            reachable=True,
            sole_change=begins_with_us,
        )

    def _deployed(self, at: int, release: str) -> Deployed:
        for sha, _ in reversed(self.commits[: at + 1]):
            if sha in self.deployed:
                return Deployed.OURS if self.deployed[sha] == release else Deployed.ANOTHER
        return Deployed.UNKNOWN


@cache
def moments(scenario: str, commit: str) -> tuple[Moment, ...]:
    """Every line from the promotion's commit on, with the latest answer of each call so far."""
    return tuple(_moments(scenario, next(one for one in labels(scenario)["promotions"] if one["commit"] == commit)))


def _moments(scenario: str, promotion: Mapping[str, Any]) -> Iterator[Moment]:
    lines, right = recording(scenario), labels(scenario)
    expected = _expectation(scenario, promotion)
    wanted = [Label(one["from"], **{k: v for k, v in one.items() if k != "from"}) for one in promotion["verdicts"]]
    first = next(line["body"]["status"]["sync"]["status"] for line in lines if line.get("call") == "application")
    branch = Branch(right["commits"], unsynced_before=first == "OutOfSync")
    if not any(line.get("action") == "commit" for line in lines):  # the first release was committed before
        branch.commits.append((expected.commit, True))
    seen, pending = NOTHING, wanted[:]
    runs: dict[str, AnalysisRunState] = {}
    workloads: dict[ResourceRef, Observation] = {}
    label: Label | None = None
    for line in lines:
        if line.get("action") == "commit":
            branch.push(line)
        seen = _after(seen, line, runs)
        _remember(workloads, line, seen)
        while pending and (line["t"] > pending[0].t or _opens(pending[0], line)):
            label = pending.pop(0)
        if label is not None:
            git = branch.facts(seen, expected.commit, promotion["release"])
            compared = seen.application.reconciled_at if seen.application else None
            since = compared is not None and compared >= _pushed_at(scenario, promotion)  # one clock made the recording
            whole = _together(replace(seen, git=git, compared_since=since), workloads)
            yield Moment(line["t"], line.get("call") or line["action"], whole, expected, label)


def _opens(label: Label, line: Mapping[str, Any]) -> bool:
    return bool(line["t"] == label.t) and line.get("call") != "stream" and label.call in ("", line.get("call"))


def _after(seen: Observation, line: Mapping[str, Any], runs: dict[str, AnalysisRunState]) -> Observation:
    call, found = line.get("call"), line.get("status") == 200
    if call == "application":
        return replace(seen, application=application_state(line["body"]) if found else None)
    if call == "rollout":
        return replace(seen, workload=workload(line["body"]["manifest"]) if found else None)
    if call == "resource-tree":
        return replace(seen, pods=resource_tree(line["body"]).pods if found else ())
    if call == "sync-windows":
        return replace(seen, sync_windows=sync_windows(line["body"]))
    if call == "analysis-run" and found:
        run = analysis_run(line["body"]["manifest"])
        runs[run.name] = run
        return replace(seen, analysis_runs=tuple(runs.values()))
    return seen


def _remember(workloads: dict[ResourceRef, Observation], line: Mapping[str, Any], seen: Observation) -> None:
    """What a line has of one workload: a recording may have several, and how each differs from Git."""
    call = line.get("call")
    if call == "rollout" and seen.workload is not None:
        before = workloads.get(_plain(seen.workload.ref), NOTHING)
        workloads[_plain(seen.workload.ref)] = replace(before, workload=seen.workload, ref=seen.workload.ref)
    elif call == "rollout":
        workloads |= {ref: replace(one, workload=None) for ref, one in workloads.items() if ref.kind == "Rollout"}
    elif call == "managed-resources":
        for ref, one in workloads.items():
            if any((item.get("kind"), item.get("name")) == (ref.kind, ref.name) for item in line["body"]["items"]):
                workloads[ref] = replace(one, difference=difference(line["body"], ref))
    elif call == "application" and seen.application is not None:
        for ref, one in workloads.items():
            if seen.application.sync_of(ref) != "OutOfSync":
                workloads[ref] = replace(one, difference=None)


def _plain(ref: ResourceRef) -> ResourceRef:
    return replace(ref, version="")


def _together(seen: Observation, workloads: Mapping[ResourceRef, Observation]) -> Observation:
    """One observation of all workloads, each with its pods; how one differs is asked where a sync of our commit is over."""
    asked = seen.git.operation_ancestor is True and seen.application is not None and not seen.application.operation_requested
    found = [
        replace(
            seen,
            workload=one.workload,
            ref=one.ref,
            difference=one.difference if asked else None,
            pods=tuple(pod for pod in seen.pods if pod.name.startswith(f"{ref.name}-")) if len(workloads) > 1 else seen.pods,
        )
        for ref, one in workloads.items()
    ]
    first, *others = found or [seen]
    return replace(first, others=tuple(others))


def _expectation(scenario: str, promotion: Mapping[str, Any]) -> Expectation:
    release = labels(scenario)["releases"][promotion["release"]]
    return Expectation(promotion["commit"], Release(model="fraud-detector", model_digest="", **release), "model-server")


def _pushed_at(scenario: str, promotion: Mapping[str, Any]) -> datetime:
    pushed = next((line["t"] for line in recording(scenario) if line.get("sha") == promotion["commit"]), 0.0)
    return (began(scenario) + timedelta(seconds=pushed)).replace(microsecond=0)


@cache
def began(scenario: str) -> datetime:
    """The wall clock at t = 0: no comparison can have been answered before it was made."""
    times = [
        datetime.fromisoformat(line["body"]["status"]["reconciledAt"]) - timedelta(seconds=line["t"])
        for line in recording(scenario)
        if line.get("call") == "application" and line["status"] == 200
    ]
    return max(times).astimezone(UTC)


def every_moment() -> Iterator[Moment]:
    for scenario in labelled():
        for promotion in labels(scenario)["promotions"]:
            yield from moments(scenario, promotion["commit"])


def moment(scenario: str, t: float, commit: str) -> Moment:
    """The line at `t` (the last of them) of the promotion whose commit begins so."""
    full = next(one["commit"] for one in labels(scenario)["promotions"] if one["commit"].startswith(commit))
    return [one for one in moments(scenario, full) if one.t == t][-1]


def altered(seen: Observation, **of: Any) -> Observation:
    """The observation with fields of its parts changed; `rollout` is the workload's, and what is no dict replaces a part."""
    rollout = of.pop("rollout", None)
    if rollout is not None:
        assert seen.workload is not None
        assert seen.workload.rollout is not None
        seen = replace(seen, workload=replace(seen.workload, rollout=replace(seen.workload.rollout, **rollout)))
    parts = {part: replace(getattr(seen, part), **to) if isinstance(to, dict) else to for part, to in of.items()}
    return replace(seen, **parts)
