"""Shapes that an Application takes: server-side apply, objects that stay OutOfSync, changes by hand, objects that are ill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import eventually
from tests.cluster.command import Run
from tests.cluster.environment import Environment
from tests.cluster.manifests import OVERLAY
from tests.cluster.model_versions import GOOD, UNHEALTHY

_SERVER_SIDE = ["CreateNamespace=true", "RespectIgnoreDifferences=true", "ServerSideApply=true"]
_CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: left-over\ndata: {}\n"


def _sync_policy(environment: Environment, *, prune: bool, options: list[str] | None = None) -> None:
    options = options or ["CreateNamespace=true", "RespectIgnoreDifferences=true"]
    environment.patch_application({"spec": {"syncPolicy": {"automated": {"prune": prune}, "syncOptions": options}}})


def _last(run: Run) -> dict[str, Any]:
    """The last verdict that promoter printed."""
    return next(event for event in reversed(run.events) if event["event"] == "verdict")


def _sync_status(environment: Environment) -> str:
    environment.refresh()
    return str(environment.application()["status"]["sync"]["status"])


@pytest.mark.parametrize("prune", [True, False])
def test_server_side_apply(environment: Environment, prune: bool) -> None:
    """What promoter ships is Synced under it, and a release goes live and comes back as otherwise."""
    _sync_policy(environment, prune=prune, options=_SERVER_SIDE)
    run = environment.promote(GOOD)
    environment.assert_live(run)
    eventually("the Application is Synced", lambda: _sync_status(environment) == "Synced")
    failing = environment.promote(UNHEALTHY)
    assert (failing.exit_code, failing.verdict) == (10, ("aborted", "analysis failed")), str(failing)


def test_an_object_that_is_left_over_without_prune(environment: Environment) -> None:
    """It is OutOfSync for ever, and keeps neither a release from being live nor a restore from being proven."""
    _sync_policy(environment, prune=False)
    environment.add_to_overlay("Add an object", "- left-over.yaml\n", after="- release.yaml\n", **{"left-over": _CONFIG_MAP})
    environment.refresh()
    eventually("it is applied", lambda: environment.cluster.get("configmap", "left-over", environment.name) is not None)
    environment.take_from_overlay("Take it out again", "- left-over.yaml\n", "left-over")
    eventually("it is left over", lambda: _sync_status(environment) == "OutOfSync")
    run = environment.promote(GOOD)
    assert (run.exit_code, run.verdict) == (0, ("live", None)), str(run)
    assert any("ConfigMap left-over is OutOfSync" in line for line in _last(run)["evidence"]), str(run)
    failing = environment.promote(UNHEALTHY)
    assert (failing.exit_code, failing.verdict) == (10, ("aborted", "analysis failed")), str(failing)


def test_somebody_changed_the_image(environment: Environment) -> None:
    """Auto-sync without self-heal leaves it: the watch and reconcile name who did it, and when."""
    run = environment.promote(GOOD)
    environment.assert_live(run)
    container = {"name": "server", "image": "registry.example.com/other:by-hand"}
    template = environment.workload()["spec"]["template"]
    container["name"] = template["spec"]["containers"][0]["name"]
    template["spec"]["containers"][0]["image"] = container["image"]
    environment.cluster.patch("rollouts.argoproj.io", "inference-service", environment.name, {"spec": {"template": template}})
    eventually("Argo CD sees it", lambda: _sync_status(environment) == "OutOfSync")
    watched = environment.watch(run.commit)
    assert (watched.exit_code, watched.verdict) == (12, ("needs a person", "changed by hand")), str(watched)
    evidence = _last(watched)["evidence"]
    assert any(line.startswith("spec.template.spec.containers[0].image differs") for line in evidence), evidence
    assert any(line.startswith("last changed by kubectl") for line in evidence), evidence
    reconciled = environment.reconcile()
    assert reconciled.exit_code == 12, str(reconciled)


@pytest.mark.variant("batch")
def test_somebody_deleted_a_workload(environment: Environment) -> None:
    """What is left of the release is complete, and it is not live: the watch and reconcile name what is missing."""
    run = environment.promote(GOOD)
    environment.assert_live(run)
    environment.cluster.delete("deployments.apps", "batch-worker", environment.name)
    eventually("Argo CD sees it", lambda: _sync_status(environment) == "OutOfSync")
    watched = environment.watch(run.commit)
    assert (watched.exit_code, watched.verdict) == (12, ("needs a person", "changed by hand")), str(watched)
    assert "Deployment batch-worker was deleted after the sync" in _last(watched)["summary"]
    assert environment.reconcile().exit_code == 12


_IGNORES = {"group": "argoproj.io", "kind": "Rollout", "jsonPointers": ["/spec/template"]}


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {"argocd.argoproj.io/skip-reconcile": "true"}}},
        {"metadata": {"annotations": {"argocd.argoproj.io/manifest-generate-paths": "/somewhere/else"}}},
        {"spec": {"ignoreDifferences": [_IGNORES]}},
    ],
    ids=["skip-reconcile", "manifest-generate-paths", "ignoreDifferences"],
)
def test_what_nobody_could_watch_is_not_written(environment: Environment, change: dict[str, Any]) -> None:
    tip = environment.repository.tip()
    environment.patch_application(change)
    run = environment.promoting(GOOD)
    assert run.end() == 20, str(run)
    assert environment.repository.tip() == tip


def test_an_autoscaler_without_metrics_under_a_hook(environment: Environment) -> None:
    """A hook makes the sync wait for every object's health; the HPA never becomes healthy. The release is live anyway."""
    hook = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: told
  annotations:
    argocd.argoproj.io/hook: PostSync
data: {}
"""
    scaler = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: unmeasured
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: inference-service}
  minReplicas: 3
  maxReplicas: 4
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 90}}
"""
    environment.add_to_overlay("Add a hook", "- hook.yaml\n- scaler.yaml\n", after="- release.yaml\n", hook=hook, scaler=scaler)
    environment.refresh()
    run = environment.promote(GOOD)
    assert (run.exit_code, run.verdict) == (0, ("live", None)), str(run)
    assert run.outcome["restored"] is None


def test_a_quota_is_named(environment: Environment) -> None:
    """The controller may not make the new pods: its own words are in the evidence, and Git is restored at the deadline."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": environment.name},
        "spec": {"hard": {"pods": "3"}},
    }
    environment.cluster.apply(quota)
    run = environment.promoting(GOOD)
    eventually("the quota is named", lambda: any("exceeded quota: small" in str(event) for event in run.events))
    environment.cluster.delete("resourcequota", "small", environment.name)
    run.finish()
    environment.assert_live(run)


def test_the_application_follows_another_path_in_mid_watch(environment: Environment) -> None:
    def copy(root: Path) -> None:
        (root / "overlays" / "other").mkdir(parents=True)
        for file in (root / OVERLAY).iterdir():
            (root / "overlays" / "other" / file.name).write_bytes(file.read_bytes())

    environment.repository.commit("Add another overlay", copy)
    run = environment.promoting(GOOD)
    run.until("rolling")
    environment.patch_application({"spec": {"source": {"path": "overlays/other"}}})
    run.finish()
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "follows something else")), str(run)
    assert "overlays/other" in _last(run)["summary"], str(run)


def test_a_rollout_that_takes_its_pods_from_elsewhere_in_mid_watch(environment: Environment) -> None:
    run = environment.promoting(GOOD)
    run.until("rolling")
    elsewhere = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "pods"}
    change = {"spec": {"template": None, "workloadRef": elsewhere}}
    environment.cluster.patch("rollouts.argoproj.io", "inference-service", environment.name, change)
    run.finish()
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "can't be watched")), str(run)
    assert "takes its pods from Deployment pods (spec.workloadRef)" in _last(run)["summary"], str(run)
