"""Every command that writes may be killed in any gap and run again, as a CI system retries a job: Git ends as after one run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from promoter.commands.rollback import plan_rollback, rollback
from promoter.gitops import Repository
from promoter.gitops.process import Git
from promoter.notify.outbox import Outbox
from promoter.promotion.releases import current
from promoter.promotion.restore import Restoration, restore
from promoter.verdict import Kind, Reason, Verdict
from tests.support.argo_world import World, world
from tests.support.write_path import WritePath, path

__all__ = ["path"]


_LEAVES_SOMETHING = frozenset({"init", "fetch", "hash-object", "mktree", "index-pack", "commit-tree", "push"})


class Killed(BaseException):
    """The process ends here: nothing that handles errors sees it."""


@dataclass
class Gaps:
    """Kills after so many more git commands that leave something behind, on this machine or at the remote."""

    left: float = float("inf")

    def passed(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


@contextmanager
def killed_after(commands: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    gaps = Gaps(commands)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(git: Git, command: str, *arguments: Any, **options: Any) -> Any:
            result = call(git, command, *arguments, **options)
            if command in _LEAVES_SOMETHING:
                gaps.passed()
            return result

        return counting

    with monkeypatch.context() as patch:
        for name in ("run", "succeeds"):
            patch.setattr(Git, name, counted(getattr(Git, name)))
        yield


def in_every_gap(
    run: Callable[[], object], reset: Callable[[], None], check: Callable[[int], None], patch: pytest.MonkeyPatch
) -> int:
    """Runs it, killed after the first command, the second, ..., then again to its end, until no gap is left; how many there were."""
    for gap in range(1000):
        reset()
        try:
            with killed_after(gap, patch):
                run()
        except Killed:
            run()
            check(gap)
        else:
            check(gap)
            return gap
    raise AssertionError("it never came to its end")


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        one.promote(2)
        one.promote(3)
        yield one


def fresh(it: World) -> Repository:
    """As a new process has it; the cache is the one that the killed one left."""
    return replace(it.clients, outbox=Outbox()).repository(it.environment.application)


def one_commit_on(it: World, start: str, version: str) -> Callable[[int], None]:
    def check(gap: int) -> None:
        assert it.remote.log("%H")[1] == start, f"killed after {gap} commands: {it.remote.log()}"
        assert current(fresh(it), it.environment).release.version == version

    return check


@pytest.mark.parametrize(("version", "lands_on"), [(None, "2"), ("1", "1")])
def test_a_rollback_is_made_once(it: World, monkeypatch: pytest.MonkeyPatch, version: str | None, lands_on: str) -> None:
    start = it.remote.tip()

    def run() -> None:
        repository = fresh(it)
        assert rollback(repository, plan_rollback(repository, it.environment, version)).release.version == lands_on

    assert in_every_gap(run, lambda: it.remote.force(start), one_commit_on(it, start, lands_on), monkeypatch) >= 3


def test_a_restore_is_made_once(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, start = it.committed(), it.remote.tip()
    stable = current(fresh(it), it.environment, bad.commit.parents[0] if bad.commit.parents else f"{start}")
    verdict = Verdict(Kind.ABORTED, "the analysis failed", reason=Reason.ANALYSIS_FAILED)

    def run() -> None:
        restoration = Restoration(it.environment, bad, stable, verdict, ())
        assert restore(fresh(it), it.clients.argocd(), restoration).release == stable.release

    assert in_every_gap(run, lambda: it.remote.force(start), one_commit_on(it, start, stable.release.version), monkeypatch) >= 3


def test_a_promotion_is_made_once(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    version, start = path.register(), path.tip

    def run() -> None:
        path.promote(f"{path.model}@challenger")

    def reset() -> None:
        path.git("update-ref", "refs/heads/main", start)

    def check(gap: int) -> None:
        made = path.commits(start)
        assert len(made) == 1, f"killed after {gap} commands"
        assert path.trailers(made[0])["Model-Version"] == version

    assert in_every_gap(run, reset, check, monkeypatch) >= 3
