"""`require-analysis`: a promotion that is live, and that no analysis looked at, needs a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promoter.argocd.answers import workload
from promoter.commands.rollback import plan_rollback, rollback
from promoter.errors import ExitCode
from promoter.verdict import Kind
from tests.support.argo_world import World, world
from tests.support.faults import changed
from tests.support.sandbox import BASE

WITHOUT = BASE["base/rollout.yaml"].replace(
    "      - analysis:\n          templates:\n          - templateName: success-rate\n", ""
)


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ, lines="  require-analysis: true\n") as one:
        yield one


def no_runs(tree: dict[str, Any]) -> None:
    tree["nodes"] = [node for node in tree["nodes"] if node["kind"] != "AnalysisRun"]


def test_a_promotion_that_was_analysed_is_done(it: World) -> None:
    assert it.follow(it.promote(2)).exit_code is ExitCode.DONE


def test_one_without_an_analysis_needs_a_person_who_gets_the_command(it: World) -> None:
    with it.argocd.fault(changed(no_runs, "resource-tree")):
        ending = it.follow(it.promote(2))
    assert (ending.exit_code, ending.verdict.kind, ending.restored) == (ExitCode.NEEDS_PERSON, Kind.LIVE, None)
    assert ending.note.startswith("it is live, and no analysis looked at it (require-analysis)")
    assert "kubectl argo rollouts create analysisrun -n staging --from success-rate" in ending.note


def test_where_the_strategy_has_none_that_is_said(it: World) -> None:
    assert BASE["base/rollout.yaml"] != WITHOUT
    it.remote.commit({"base/rollout.yaml": WITHOUT})
    ending = it.follow(it.promote(2))
    assert (ending.exit_code, "its strategy has none" in ending.note) == (ExitCode.NEEDS_PERSON, True)


def test_what_comes_back_needs_none(it: World) -> None:
    it.follow(it.promote(2))
    repository = it.clients.repository(it.environment.application)
    back = rollback(repository, plan_rollback(repository, it.environment, "1"))
    with it.argocd.fault(changed(no_runs, "resource-tree")):
        assert it.follower().follow(back, restoring=False).exit_code is ExitCode.DONE


def test_arguments_are_filled_in_as_they_are_now() -> None:
    container = {"name": "model", "image": "registry.example.com/m:v1"}
    arguments: list[dict[str, Any]] = [
        {"name": "service", "valueFrom": {"fieldRef": {"fieldPath": "spec.strategy.canary.canaryService"}}},
        {"name": "image", "valueFrom": {"fieldRef": {"fieldPath": "spec.template.spec.containers[0].image"}}},
        {"name": "team", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['example.com/team']"}}},
        {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}},
        {"name": "limit", "value": "0.9"},
        {"name": "missing", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing.here"}}},
    ]
    analysis = {"templates": [{"templateName": "health"}, {"templateName": "rate", "clusterScope": True}], "args": arguments}
    canary = {"canaryService": "m-canary", "steps": [{"setWeight": 10}, {"analysis": analysis}]}
    manifest = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "m", "generation": 1, "labels": {"example.com/team": "fraud"}},
        "spec": {"strategy": {"canary": canary}, "template": {"spec": {"containers": [container]}}},
        "status": {"observedGeneration": "1", "currentPodHash": "7d9"},
    }
    rollout = workload(manifest).rollout
    assert rollout is not None
    health, rate = rollout.analyses
    assert (health.template, health.everywhere, rate.template, rate.everywhere) == ("health", False, "rate", True)
    assert dict(health.arguments) == {
        "service": "m-canary",
        "image": "registry.example.com/m:v1",
        "team": "fraud",
        "hash": "7d9",
        "limit": "0.9",
        "missing": "",
    }
