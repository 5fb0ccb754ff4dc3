"""Argo CD between Git and the cluster: what it may not sync, can't apply or does not do, and who may ask it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.cluster.cluster import ENVIRON, eventually, required
from tests.cluster.environment import Environment
from tests.cluster.manifests import WORKLOAD
from tests.cluster.model_versions import GOOD, LOST, UNHEALTHY

_REJECTED = "- rejected.yaml\n"


def test_image_that_the_registry_does_not_have_is_restored_at_once(environment: Environment) -> None:
    commit = environment.commit(LOST)
    environment.service.models.delete(environment.overlay_digest(commit))
    run = environment.watch(commit)
    assert run.verdict == ("failed", "image")
    environment.assert_restored(run)
    assert not environment.events("RolloutAborted"), "it was told at the deadline only"


def test_a_sync_window_is_a_freeze_and_needs_a_person_after_the_commit(environment: Environment) -> None:
    window = {"kind": "deny", "schedule": "* * * * *", "duration": "24h", "applications": ["*"]}
    environment.patch_project({"spec": {"syncWindows": [window]}})
    tip = environment.repository.tip()
    refused = environment.promote(GOOD)
    assert refused.exit_code == 20, str(refused)
    assert "sync window deny * * * * * for 24h" in refused.errors.read_text()
    assert environment.repository.tip() == tip

    commit = environment.release_by_hand(GOOD)
    run = environment.watch(commit)
    assert (run.exit_code, run.verdict) == (12, ("needs a person", "sync window")), str(run)
    environment.assert_kept(run)
    assert environment.before is not None
    assert environment.is_live(environment.before.digest)

    environment.patch_project({"spec": {"syncWindows": None}})
    environment.assert_live(environment.watch(commit))


def test_image_override_masks_the_release(environment: Environment) -> None:
    assert environment.before is not None
    commit = environment.commit(GOOD)
    stable = environment.before.digest
    override = f"{WORKLOAD}={environment.service.models.reference}@{stable}"
    environment.patch_application({"spec": {"source": {"kustomize": {"images": [override]}}}})
    run = environment.watch(commit)
    assert (run.exit_code, run.verdict) == (12, ("masked", None)), str(run)
    environment.assert_kept(run)
    eventually("the overriding image is live", lambda: environment.is_live(stable))
    assert stable in str(run.outcome["verdict"]), "the override is not named"


def test_deleted_application_needs_a_person(environment: Environment) -> None:
    run = environment.promoting(GOOD)
    run.until("rolling")
    environment.cluster.delete("applications.argoproj.io", environment.name, environment.cluster.argocd_namespace)
    run.finish()
    assert (run.exit_code, run.verdict) == (12, ("application gone", None)), str(run)
    environment.assert_kept(run)


@pytest.mark.alone
def test_argocd_server_restarts_in_mid_canary(environment: Environment) -> None:
    """CLUSTER_RESTART_ARGOCD is the command, `kubectl -n argocd rollout restart deployment/argocd-server` for example."""
    command = shlex.split(required("CLUSTER_RESTART_ARGOCD"))
    run = environment.promoting(GOOD)
    run.until("rolling")
    subprocess.run(command, env=ENVIRON, check=True, timeout=120)
    environment.assert_live(run.finish())


def test_object_that_is_rejected_since_our_commit_is_restored(environment: Environment) -> None:
    with _rejecting(environment, GOOD):
        run = environment.promote(GOOD)
        assert run.verdict == ("failed", "sync")
        environment.assert_restored(run)


def test_object_of_somebody_else_that_is_rejected_is_reported_and_our_release_is_live(environment: Environment) -> None:
    """It is evidence: what our workload runs does not depend on it. They end the operation that goes on retrying."""
    bad = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "rejected"},
        "spec": {"ports": [{"port": 99999}]},
    }
    subject = "Add a service with an impossible port"
    environment.add_to_overlay(subject, _REJECTED, after="- release.yaml\n", rejected=yaml.safe_dump(bad))
    run = environment.promote(GOOD)
    environment.assert_live(run)
    assert "99999" in str(run.outcome["verdict"]["evidence"])

    environment.take_from_overlay("Take the service away", _REJECTED, "rejected")
    environment.end_operation()
    eventually("the operation has ended", lambda: "operation" not in environment.application())
    environment.refresh()
    again = environment.watch(run.commit)
    assert (again.exit_code, again.verdict) == (0, ("live", None)), str(again)
    assert environment.is_live(environment.overlay_digest(run.commit))


def test_reader_token_is_enough(environment: Environment) -> None:
    """Who may only read sees a release go live, and restores another one through Git alone."""
    reader = required("CLUSTER_READER_TOKEN")
    failing = environment.promote(UNHEALTHY, ARGOCD_AUTH_TOKEN=reader)
    assert failing.verdict == ("aborted", "analysis failed")
    environment.assert_restored(failing)
    environment.assert_live(environment.promote(GOOD, ARGOCD_AUTH_TOKEN=reader))


def test_token_without_permission_is_refused_before_anything_is_written(environment: Environment) -> None:
    tip = environment.repository.tip()
    run = environment.promoting(GOOD, ARGOCD_AUTH_TOKEN=required("CLUSTER_NOBODY_TOKEN"))
    assert run.end() == 3, str(run)
    assert environment.repository.tip() == tip


@contextmanager
def _rejecting(environment: Environment, version: str) -> Iterator[None]:
    """The API server rejects the Rollout of one model version in this namespace, as a policy engine would."""
    cluster, name = environment.cluster, environment.name
    rules = [
        {"apiGroups": ["argoproj.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["rollouts"]}
    ]
    expression = f"object.spec.template.metadata.labels['model-version'] != '{version}'"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": expression, "message": f"model version {version} is not allowed here"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
        },
    }
    cluster.apply(policy, binding)
    try:
        eventually("the API server rejects it", lambda: cluster.rejects(environment.workload(), version))
        yield
    finally:
        cluster.delete("validatingadmissionpolicybindings", name)
        cluster.delete("validatingadmissionpolicies", name)
