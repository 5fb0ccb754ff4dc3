"""Other commits on the branch: newer releases, unrelated ones, ones that break the overlay; and a promoter that was killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.cluster import eventually
from tests.cluster.environment import Environment, deploying
from tests.cluster.model_versions import GOOD, NEWER, STABLE, UNHEALTHY

# A transformer runs after the overlay's replacements: `test` fails the build where another version stands. The annotation makes
# Argo CD sync the commit that brings it in, so that what fails later can have begun with a later commit only.
_GUARD_LINES = "transformers:\n- guard.yaml\n"
_GUARD = f"""\
apiVersion: builtin
kind: PatchTransformer
metadata:
  name: guard
target:
  kind: Rollout
patch: |-
  - {{op: test, path: /spec/template/metadata/labels/model-version, value: "{STABLE}"}}
  - {{op: add, path: /metadata/annotations, value: {{guarded: "yes"}}}}
"""
_BROKEN = "transformers:\n- no-such-file.yaml\n"


def test_superseded_in_mid_canary(environment: Environment) -> None:
    first = environment.promoting(GOOD)
    first.until("rolling")
    second = environment.promote(NEWER)
    first.finish()
    assert (first.exit_code, first.verdict) == (21, ("superseded", None)), str(first)
    assert first.outcome["restored"] is None
    environment.assert_live(second)


@pytest.mark.variant("slow")
def test_superseded_and_then_the_newer_one_aborts(environment: Environment) -> None:
    """What comes back is the release that was stable all along, not the one before the aborted one."""
    first = environment.promoting(GOOD)
    first.until("rolling")
    second = environment.promote(UNHEALTHY)
    first.finish()
    assert first.exit_code == 21, str(first)
    assert second.verdict == ("aborted", "analysis failed")
    environment.assert_restored(second)


def test_unrelated_commits_every_second(environment: Environment) -> None:
    with _unrelated_commits(environment) as commits:
        run = environment.promote(GOOD)
        environment.assert_live(run)
        failing = environment.promote(UNHEALTHY)
    assert len(commits) > 10
    assert (failing.exit_code, failing.verdict) == (10, ("aborted", "analysis failed")), str(failing)
    assert deploying(environment.overlay()) == deploying(environment.overlay(run.commit))
    eventually("the good release is live again", lambda: environment.is_live(environment.overlay_digest(run.commit)))
    environment.assert_nothing_to_reconcile()


@contextmanager
def _unrelated_commits(environment: Environment) -> Iterator[list[str]]:
    """One commit a second elsewhere in the repository."""
    stop, commits = threading.Event(), list[str]()

    def write(root: Path) -> None:
        (root / "notes.txt").write_text(f"{len(commits)}\n")

    def run() -> None:
        while not stop.wait(1):
            commits.append(environment.repository.commit("Write a note", write))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield commits
    finally:
        stop.set()
        thread.join()


def test_render_error_that_our_commit_begins_is_restored(environment: Environment) -> None:
    """The guard itself is never synced: Argo CD's last synced revision does not tell whose commit broke it."""
    environment.add_to_overlay("Build for one version only", _GUARD_LINES, guard=_GUARD)
    with_guard = environment.overlay()
    run = environment.promote(GOOD)
    assert (run.exit_code, run.verdict) == (10, ("failed", "render")), str(run)
    assert deploying(environment.overlay()) == deploying(with_guard)
    environment.take_from_overlay("Build for every version", _GUARD_LINES, "guard")
    environment.refresh()
    environment.assert_as_before()


def test_render_error_of_somebody_else_is_waited_for(environment: Environment) -> None:
    """Argo CD sees both commits at once; after the mending one auto-sync stays off by itself, and promoter asks for a sync."""
    commit = environment.commit(GOOD)
    environment.add_to_overlay("Break the overlay", _BROKEN)
    run = environment.watching(commit)

    def broken() -> bool:
        conditions = environment.application()["status"].get("conditions", [])
        return any(condition["type"] == "ComparisonError" for condition in conditions)

    eventually("Argo CD can't render the overlay", broken)
    environment.take_from_overlay("Fix the overlay", _BROKEN)
    environment.refresh()
    run.finish()
    environment.assert_live(run)


def test_killed_between_abort_and_restore(environment: Environment) -> None:
    commit = environment.commit(UNHEALTHY)
    waiting, allow = environment.repository.refuse_pushes()
    run = environment.watching(commit)
    eventually("promoter pushes the restoring commit", waiting.exists)
    run.kill()
    allow()
    assert environment.before is not None
    assert environment.overlay() != environment.before.overlay
    environment.assert_reconcile_restores()
