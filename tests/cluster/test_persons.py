"""What people and controllers do to a release during a watch, and what promoter reports of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.cluster import eventually, required
from tests.cluster.command import Run
from tests.cluster.environment import Environment
from tests.cluster.manifests import NAME, WORKLOAD
from tests.cluster.model_versions import GOOD, NEWER, STABLE

_NO_AUTO_SYNC = {"spec": {"syncPolicy": {"automated": None}}}
_WINDOW = {"kind": "deny", "schedule": "* * * * *", "duration": "24h", "applications": ["*"], "manualSync": True}

# A Job that somebody suspended never ends: neither does the sync whose hook it is.
_HOOK = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: told
  annotations:
    argocd.argoproj.io/hook: PreSync
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      containers:
      - {name: told, image: registry.example.com/never-pulled:1}
"""

# The overlay builds for one version only: every other one breaks it.
_GUARD = f"""\
apiVersion: builtin
kind: PatchTransformer
metadata:
  name: guard
target:
  kind: Rollout
patch: |-
  - {{op: test, path: /spec/template/metadata/labels/model-version, value: "{STABLE}"}}
"""


def reported(run: Run) -> str:
    """Summary and evidence of the last verdict."""
    last = next(event for event in reversed(run.events) if event["event"] == "verdict")
    return "\n".join([last["summary"], *last["evidence"]])


# -- syncs ------------------------------------------------------------------------------------------------------------


def test_a_sync_is_asked_for_where_auto_sync_is_off(environment: Environment) -> None:
    environment.patch_application(_NO_AUTO_SYNC)
    run = environment.promote(GOOD)
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "auto-sync off")), str(run)
    assert f"argocd app sync {environment.name}" in reported(run)
    again = environment.promoter.start("watch", NAME, "--commit", run.commit, "--sync").finish()
    environment.assert_live(again)


def test_a_sync_that_argocd_refuses_is_reported_with_the_right_that_is_missing(environment: Environment) -> None:
    environment.patch_application(_NO_AUTO_SYNC)
    run = environment.promote(GOOD, "--sync", ARGOCD_AUTH_TOKEN=required("CLUSTER_READER_TOKEN"))
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "auto-sync off")), str(run)
    assert "sync" in reported(run)
    assert "permission denied" in reported(run), reported(run)


def test_a_person_gets_the_time_that_promoter_yaml_gives_them(environment: Environment) -> None:
    """The window is there for a while, and is taken away in time: one run ends with live."""
    environment.promoter.configure(watch={"person": "120s"})
    environment.patch_project({"spec": {"syncWindows": [_WINDOW]}})
    run = environment.watching(environment.release_by_hand(GOOD))
    assert run.until("needs a person")["reason"] == "sync window"
    environment.patch_project({"spec": {"syncWindows": None}})
    environment.assert_live(run.finish())


def test_a_hook_that_does_not_end_is_named(environment: Environment) -> None:
    environment.add_to_overlay("Add a hook", "- hook.yaml\n", after="- release.yaml\n", hook=_HOOK)
    run = environment.promoting(GOOD)

    def named() -> bool:
        assert run.process.poll() is None, str(run)
        return any("waiting for completion of hook batch/Job/told" in str(event) for event in list(run.events))

    eventually("the hook is named", named)
    run.kill()


# -- the Rollout ------------------------------------------------------------------------------------------------------


def test_who_paused_is_named(environment: Environment) -> None:
    run = environment.promoting(GOOD)
    run.until("rolling")
    environment.cluster.patch("rollouts.argoproj.io", WORKLOAD, environment.name, {"spec": {"paused": True}})
    run.finish()
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "paused by hand")), str(run)
    assert "kubectl" in reported(run), reported(run)
    environment.cluster.patch("rollouts.argoproj.io", WORKLOAD, environment.name, {"spec": {"paused": False}})
    environment.assert_live(environment.watch(run.commit))


@pytest.mark.variant("unscaled")
@pytest.mark.unreleased
def test_a_workload_scaled_to_zero_has_nothing_to_prove_after_a_restore(environment: Environment) -> None:
    """Git is restored, and no pod can prove more: exit code 10, and the message gives the reason."""
    environment.release_by_hand(STABLE)
    environment.bootstrap()
    eventually("the first release is live", lambda: environment.is_live(environment.overlay_digest()))
    environment.cluster.patch("rollouts.argoproj.io", WORKLOAD, environment.name, {"spec": {"replicas": 0}})
    eventually("no pod is left", lambda: not environment.pods())
    environment.add_to_overlay("Build for one version only", "transformers:\n- guard.yaml\n", guard=_GUARD)
    run = environment.promote(GOOD)
    assert (run.exit_code, run.verdict) == (10, ("failed", "render")), str(run)
    assert run.outcome["restored"], str(run)
    assert "scaled to zero" in str(run.outcome), str(run)


# -- what the release stands on ---------------------------------------------------------------------------------------


def test_a_deleted_branch_is_named(environment: Environment) -> None:
    run = environment.promoting(GOOD)
    run.until("rolling")
    environment.repository.delete_branch()
    run.finish()
    assert (run.exit_code, run.verdict) == (21, ("commit gone", None)), str(run)
    assert "branch main" in reported(run)


@pytest.mark.unreleased
def test_a_namespace_that_is_being_deleted_is_named(environment: Environment) -> None:
    with _terminating(environment):
        commit = environment.commit(GOOD, ARGOCD_SERVER="")  # or it would ask for an Application that is not there yet
        environment.bootstrap()
        run = environment.watch(commit)
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "sync")), str(run)
    assert "the namespace is being deleted" in reported(run)
    assert run.outcome["restored"] is None


@contextmanager
def _terminating(environment: Environment) -> Iterator[None]:
    """The namespace can't go while an object in it has a finalizer that nobody serves."""
    cluster, name = environment.cluster, environment.name
    kept: dict[str, Any] = {"name": "kept", "namespace": name, "finalizers": ["example.com/kept"]}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": kept})
    cluster.delete("namespace", name)
    try:
        yield
    finally:
        cluster.patch("configmap", "kept", name, {"metadata": {"finalizers": None}})


# -- the watch itself -------------------------------------------------------------------------------------------------


def test_a_cancelled_watch_leaves_the_pipeline_what_it_needs(environment: Environment) -> None:
    run = environment.promoting(GOOD)
    run.until("rolling")
    run.process.send_signal(signal.SIGTERM)
    run.finish()
    commit = environment.repository.tip()
    assert (run.exit_code, run.commit) == (143, commit), str(run)
    assert run.outcome["resume"].startswith(f"promoter watch {NAME} --commit {commit}"), str(run)
    said = run.errors.read_text()
    assert f"promoter watch {NAME} --commit {commit}" in said
    assert f"promoter rollback {NAME}" in said
    environment.assert_live(environment.watch(commit))


def test_status_tells_what_is_unknown_from_what_differs(environment: Environment) -> None:
    run = environment.promote(GOOD)
    environment.assert_live(run)
    assert environment.agreement() == (0, True)
    assert environment.agreement(ARGOCD_AUTH_TOKEN=required("CLUSTER_NOBODY_TOKEN")) == (3, None)
    assert environment.agreement(ARGOCD_SERVER="http://127.0.0.1:9") == (4, None)
    environment.commit(NEWER)  # Git is ahead of the cluster, until Argo CD has synced
    assert environment.agreement() == (30, False)
