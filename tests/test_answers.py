"""Argo CD's JSON as values: tolerant where nothing depends on a field, strict where a verdict does."""

from __future__ import annotations

from typing import Any

import pytest

from promoter.argocd.answers import (
    analysis_run,
    application_state,
    pod_template,
    resource_tree,
    sync_windows,
    workload,
)
from promoter.argocd.state import CanaryStep, ContainerImage, ResourceTree, RunningRelease
from promoter.errors import UnexpectedAnswerError
from promoter.models import Release

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("r.example.com/m:v1@sha256:ab", ContainerImage("r.example.com/m", "v1", "sha256:ab")),
        ("127.0.0.1:5000/models/m", ContainerImage("127.0.0.1:5000/models/m")),
        ("127.0.0.1:5000/m@sha256:ab", ContainerImage("127.0.0.1:5000/m", "", "sha256:ab")),
        ("m:1", ContainerImage("m", "1")),
        ("m", ContainerImage("m")),
        ("", ContainerImage("")),
    ],
)
def test_an_image_reference_is_taken_apart_and_put_together(text: str, reference: ContainerImage) -> None:
    assert ContainerImage.parse(text) == reference
    assert str(reference) == text


def test_an_application_of_which_almost_nothing_is_known_yet() -> None:
    state = application_state(
        {"metadata": {"name": "a"}, "spec": {"source": {"path": "p"}}, "status": {"operationState": None}}
    )
    assert (state.sync, state.health, state.revision, state.operation, state.reconciled_at) == (
        "Unknown",
        "Unknown",
        "",
        None,
        None,
    )
    assert not state.operation_in_progress
    assert not state.auto_sync


@pytest.mark.parametrize(
    ("automated", "on"),
    [(None, False), ({}, True), ({"enabled": False}, False), ({"enabled": True}, True), ({"prune": True}, True)],
)
def test_auto_sync_is_on_unless_set_otherwise(automated: Any, on: bool) -> None:
    assert application_state({"metadata": {"name": "a"}, "spec": {"syncPolicy": {"automated": automated}}}).auto_sync is on


def several_sources() -> dict[str, Any]:
    return {
        "metadata": {"name": "a"},
        "spec": {
            "sources": [{"ref": "values"}, {"path": "charts"}, {"path": "overlays/p", "kustomize": {"images": ["x=y:1"]}}]
        },
        "status": {
            "sync": {"revisions": ["r0", "r1", "r2"]},
            "history": [{"revisions": ["h0", "h1", "h2"]}],
            "operationState": {"phase": "Running", "operation": {"sync": {"revisions": ["o0", "o1", "o2"]}}},
        },
    }


def test_of_several_sources_ours_is_read() -> None:
    state = application_state(several_sources(), path="overlays/p")
    assert (state.revision, state.last_synced_revision, state.image_overrides) == ("r2", "h2", ("x=y:1",))
    assert state.operation is not None
    assert state.operation.revision == "o2"
    assert application_state(several_sources()).revision == "r1"  # the first that has a path


def test_a_list_shorter_than_the_sources_is_no_revision() -> None:
    document = several_sources()
    document["status"]["sync"] = {"revisions": ["r0"]}
    assert application_state(document, path="overlays/p").revision == ""


def rollout(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "m", "namespace": "n", "generation": 3},
        "spec": {"template": {"spec": {"containers": [{"image": f"r/m:1@{DIGEST}"}]}}},
        "status": {"observedGeneration": "3"},
        **changes,
    }


@pytest.mark.parametrize(("written", "observed"), [("3", True), (3, True), ("2", False), ("", False), (None, False)])
def test_the_observed_generation_is_a_string_or_a_number(written: Any, observed: bool) -> None:
    assert workload(rollout(status={"observedGeneration": written})).observed is observed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metadata": {"name": "m"}}, "Rollout m: metadata.generation is missing"),
        ({"status": {"observedGeneration": "three"}}, "status.observedGeneration is 'three'"),
        ({"spec": {}}, "has no pod template"),
        ({"spec": {"workloadRef": {"kind": "Deployment", "name": "d"}}}, "Rollout m takes its pods from Deployment d"),
    ],
)
def test_what_a_verdict_depends_on_must_be_there(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UnexpectedAnswerError) as error:
        workload(rollout(**changes))
    assert said in error.value.message


IGNORED = (
    {"kind": "Rollout", "jsonPointers": ["/spec/template/spec/containers/0/image", "/spec/template"]},
    {"kind": "Deployment", "jqPathExpressions": [".spec.template.spec.containers[].image"]},
    {"kind": "Service", "jsonPointers": ["/spec"]},
)


@pytest.mark.parametrize(
    ("options", "ignored"),
    [
        (
            ["RespectIgnoreDifferences=true"],
            ("/spec/template/spec/containers/0/image", "/spec/template", ".spec.template.spec.containers[].image"),
        ),
        ([], ("/spec/template",)),
    ],
)
def test_what_of_a_pod_template_a_sync_leaves_as_it_is(options: list[str], ignored: tuple[str, ...]) -> None:
    spec = {"syncPolicy": {"syncOptions": options}, "ignoreDifferences": list(IGNORED)}
    assert application_state({"metadata": {"name": "x"}, "spec": spec}).ignored_fields == ignored


@pytest.mark.parametrize(
    ("retry", "seconds"),
    [
        ({}, 0),
        ({"limit": 5}, 155),  # Argo CD's own: 5, 10, 20, 40, 80
        ({"limit": 3, "backoff": {"duration": "1m30s", "factor": 3, "maxDuration": "4m"}}, 570),
        ({"limit": 2, "backoff": {"duration": "500ms", "factor": 1}}, 1),
    ],
)
def test_how_long_an_operation_is_tried_again(retry: dict[str, Any], seconds: float) -> None:
    state = {"phase": "Running", "operation": {"retry": retry}}
    operation = application_state({"metadata": {"name": "x"}, "status": {"operationState": state}}).operation
    assert operation is not None
    assert operation.retry_seconds == seconds


@pytest.mark.parametrize(
    "document", [{}, {"metadata": {}}, {"metadata": {"name": "a"}, "status": {"reconciledAt": "yesterday"}}]
)
def test_an_application_without_a_name_or_with_a_strange_time_is_none(document: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError):
        application_state(document)


def test_a_rollout_that_nothing_was_reported_of_is_not_healthy() -> None:
    state = workload(rollout(status={}))
    assert state.rollout is not None
    assert (state.rollout.phase, state.rollout.stable_hash, state.stable_replica_set) == ("", "", "")
    assert (state.desired, state.updated, state.available) == (1, 0, 0)


@pytest.mark.parametrize(
    ("pause", "forever"),
    [({}, True), (None, True), ({"duration": "5s"}, False), ({"duration": 5}, False), ({"duration": 0}, False)],
)
def test_only_a_pause_without_duration_is_for_ever(pause: Any, forever: bool) -> None:
    steps = [{"setWeight": 20}, {"pause": pause}, {"analysis": {}}]
    state = workload(rollout(spec={**rollout()["spec"], "strategy": {"canary": {"steps": steps}}}))
    assert state.rollout is not None
    assert state.rollout.steps == (CanaryStep(20), CanaryStep(None, forever), CanaryStep())
    assert state.rollout.active_hash is None


@pytest.mark.parametrize(
    ("blue_green", "promotes"),
    [
        ({"activeService": "s"}, True),
        ({"autoPromotionEnabled": False}, False),
        ({"autoPromotionEnabled": False, "autoPromotionSeconds": 30}, True),
    ],
)
def test_blue_green_promotes_by_itself_unless_configured_not_to(blue_green: dict[str, Any], promotes: bool) -> None:
    state = workload(rollout(spec={**rollout()["spec"], "strategy": {"blueGreen": blue_green}}))
    assert state.rollout is not None
    assert (state.rollout.auto_promotes, state.rollout.active_hash) == (promotes, "")


def test_a_broken_last_applied_annotation_is_none() -> None:
    for text in ("{broken", "[]", '{"spec": {}}', '{"spec": null}', '{"spec": {"template": null}}'):
        metadata = {**rollout()["metadata"], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}}
        assert workload(rollout(metadata=metadata)).applied is None


# -- which release a pod template runs --------------------------------------------------------------------------------

RELEASE = Release("m", "4", "", "r/m", "v4", DIGEST)
SIDECAR = {"image": "envoy:1"}


def template(*containers: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}}


def server(version: str | None, digest: str = DIGEST) -> dict[str, Any]:
    env = [] if version is None else [{"name": "MODEL_VERSION", "value": version}]
    return {"image": f"r/m:v4@{digest}", "env": env}


@pytest.mark.parametrize(
    ("document", "runs"),
    [
        (template(SIDECAR, server("4")), True),
        (template(server(None)), True),
        (template(server(None), **{"model-version": "4"}), True),
        (template(server("3")), False),
        (template(server(None), **{"model-version": "3"}), False),
        (template(server("4", "sha256:" + "b" * 64)), False),
        (template({"image": "r/m:v4", "env": [{"name": "MODEL_VERSION", "value": "4"}]}), False),
        (template(), False),
    ],
)
def test_a_template_runs_a_release_by_digest_and_by_model_version_if_it_has_one(document: dict[str, Any], runs: bool) -> None:
    assert pod_template(document).runs(RELEASE) is runs


def test_what_the_stable_replica_set_runs_can_be_read() -> None:
    running = RunningRelease(ContainerImage("r/m", "v4", DIGEST), "3")
    assert pod_template(template(SIDECAR, server("3"))).release() == running
    assert pod_template(template(SIDECAR, server("3"))).release("r/m") == running
    assert pod_template(template(server(None), SIDECAR)).release("envoy") == RunningRelease(ContainerImage("envoy", "1"))
    assert pod_template(template()).release() is None


# -- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "blocked"),
    [
        ({}, False),
        ({"assignedWindows": [{"kind": "deny"}]}, False),
        ({"activeWindows": [{"kind": "deny"}], "assignedWindows": [{"kind": "deny"}], "canSync": True}, True),
        ({"assignedWindows": [{"kind": "allow"}], "canSync": True}, True),
        ({"activeWindows": [{"kind": "allow"}], "assignedWindows": [{"kind": "allow"}]}, False),
    ],
)
def test_a_window_blocks_auto_sync_whatever_can_sync_reports(document: dict[str, Any], blocked: bool) -> None:
    assert sync_windows(document).blocks_auto_sync is blocked


def test_empty_answers_are_empty_values() -> None:
    assert resource_tree({"nodes": None}) == ResourceTree()
    run = analysis_run({"metadata": {"name": "a"}})
    assert (run.phase, run.metrics) == ("Pending", ())


def test_a_measurement_without_a_value_shows_its_error_or_the_job_that_made_it() -> None:
    job = {"phase": "Failed", "metadata": {"job-name": "a02.predictions.1", "job-namespace": "fraud"}}
    measurements = [{"phase": "Error", "message": "503"}, {"phase": "Failed", "value": "0"}, job]
    run = analysis_run({"status": {"phase": "Error", "metricResults": [{"name": "m", "measurements": measurements}]}})
    assert run.metrics[0].values == ("503", "0", "by Job a02.predictions.1")
