"""Canaries: what Argo Rollouts makes of a release, what promoter reports of it, and what it does to Git."""

from __future__ import annotations

import pytest

from tests.cluster.cluster import eventually
from tests.cluster.environment import Environment
from tests.cluster.model_versions import CRASHING, GOOD, MODEL, UNDECIDED, UNHEALTHY, UNMEASURABLE

_NO_SUCH_SERVICE = """\
patches:
- target:
    kind: Rollout
  patch: |-
    - {op: replace, path: /spec/strategy/canary/canaryService, value: no-such-service}
"""


def test_good_canary(environment: Environment) -> None:
    run = environment.promote(GOOD)
    environment.assert_live(run)
    assert "rolling" in run.kinds
    weights = [event["weight"] for event in run.events if event.get("kind") == "rolling" and event.get("weight")]
    assert weights == sorted(weights)
    assert 34 in weights
    environment.assert_nothing_to_reconcile()


def test_failing_analysis_is_restored(environment: Environment) -> None:
    run = environment.promote(UNHEALTHY)
    assert run.verdict == ("aborted", "analysis failed")
    environment.assert_restored(run)
    assert "unhealthy" in environment.repository.message(run.outcome["restored"]), "the message lacks the evidence"


def test_analysis_that_cannot_measure_is_restored(environment: Environment) -> None:
    run = environment.promote(UNMEASURABLE)
    assert run.verdict == ("aborted", "analysis could not measure")
    environment.assert_restored(run)


def test_crash_loop_is_restored(environment: Environment) -> None:
    run = environment.promote(CRASHING)
    kind, reason = run.verdict
    assert kind in ("aborted", "failed")
    assert reason == "progress deadline"
    environment.assert_restored(run)


def test_manual_abort_is_restored(environment: Environment) -> None:
    run = environment.promoting(GOOD)
    run.until("rolling")
    environment.rollout_action("abort")
    run.finish()
    assert run.verdict == ("aborted", "aborted by hand")
    environment.assert_restored(run)


def test_a_version_that_is_rejected_in_its_canary_is_stopped_and_restored(environment: Environment) -> None:
    run = environment.promoting(GOOD)
    run.until("rolling")
    code, _ = environment.promoter.ask("reject", f"{MODEL}:{GOOD}", "--reason", "wrong answers", "--yes")
    run.finish()
    assert (code, run.exit_code) == (0, 10), str(run)
    assert run.outcome["restored"] == environment.repository.tip()
    environment.assert_as_before()
    again = environment.promote(GOOD)
    assert again.exit_code == 20, str(again)
    assert "is rejected" in again.errors.read_text()


@pytest.mark.variant("undecided")
def test_inconclusive_analysis_needs_a_person(environment: Environment) -> None:
    run = environment.promote(UNDECIDED)
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "inconclusive analysis"))
    environment.assert_kept(run)
    assert environment.status()["phase"] == "Paused"
    environment.assert_stable_serves()

    environment.rollout_action("abort")
    environment.assert_reconcile_restores()


@pytest.mark.variant("hold")
def test_indefinite_pause_needs_a_person_who_resumes_it(environment: Environment) -> None:
    run = environment.promote(GOOD)
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "indefinite pause"))
    environment.assert_kept(run)
    environment.assert_stable_serves()

    environment.rollout_action("resume")
    environment.assert_live(environment.watch(run.commit))


def test_invalid_rollout_is_reported_and_git_stays(environment: Environment) -> None:
    environment.add_to_overlay("Name a service that is not there", _NO_SUCH_SERVICE)
    run = environment.promote(GOOD)
    assert (run.exit_code, run.verdict) == (11, ("failed", "invalid spec"))
    environment.assert_kept(run)
    assert environment.status()["message"].startswith("InvalidSpec:")
    environment.assert_stable_serves()

    environment.take_from_overlay("Name the canary's service again", _NO_SUCH_SERVICE)
    environment.refresh()
    eventually("the Rollout is valid again", lambda: "InvalidSpec:" not in environment.status().get("message", ""))
    again = environment.watch(run.commit)
    assert (again.exit_code, again.verdict) == (0, ("live", None)), str(again)
    assert environment.is_live(environment.overlay_digest(run.commit))


@pytest.mark.variant("autoscaled")
def test_degraded_autoscaler_does_not_matter(environment: Environment) -> None:
    def degraded() -> bool:
        return bool(environment.application()["status"]["health"]["status"] == "Degraded")

    eventually("the Application is Degraded", degraded)
    environment.assert_live(environment.promote(GOOD))
    assert degraded()


@pytest.mark.variant("batch")
def test_a_quick_deployment_does_not_hide_an_abort(environment: Environment) -> None:
    """It comes first in Argo CD's list, and was live while the Rollout that serves was aborted."""
    run = environment.promote(UNHEALTHY)
    assert run.verdict == ("aborted", "analysis failed")
    assert "Rollout inference-service: " in run.outcome["verdict"]["summary"]
    environment.assert_restored(run)


@pytest.mark.variant("batch")
def test_two_workloads_are_live_together(environment: Environment) -> None:
    environment.assert_live(environment.promote(GOOD))


@pytest.mark.unreleased
def test_first_release(environment: Environment) -> None:
    """Argo CD has synced the overlay before it deployed a release: those pods wait for an image that has no digest."""
    environment.bootstrap()
    eventually("Argo CD has synced the empty overlay", environment.pods)
    environment.assert_live(environment.promote(GOOD))


@pytest.mark.unreleased
def test_first_release_that_fails_has_nothing_to_go_back_to(environment: Environment) -> None:
    commit = environment.commit(CRASHING, ARGOCD_SERVER="")  # or it would ask for an Application that is not there yet
    environment.bootstrap()
    run = environment.watch(commit)
    assert (run.exit_code, run.verdict) == (11, ("failed", "progress deadline")), str(run)
    environment.assert_kept(run)


@pytest.mark.unreleased
def test_first_release_that_fails_over_an_empty_overlay(environment: Environment) -> None:
    """Argo Rollouts aborts it in favour of what it takes for stable: pods that no release ever made.

    Argo CD may leave the pod template as it was in its first sync of the release (`not applied`); then the analysis of the
    second one ends before its deadline.
    """
    environment.bootstrap()
    eventually("Argo CD has synced the empty overlay", environment.pods)
    run = environment.promote(CRASHING)
    assert (run.exit_code, run.verdict[0]) == (11, "aborted"), str(run)
    assert run.verdict[1] in {"progress deadline", "analysis could not measure"}, str(run)
    environment.assert_kept(run)
