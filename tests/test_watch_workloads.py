"""A release in several workloads: which of an Application's are watched, and that live is all of them. Over real HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from promoter.errors import ExitCode
from promoter.verdict import Kind, Reason
from tests.support.argo_world import REPOSITORY, TIMING, World, world
from tests.support.faults import Answer, Asked, Forward

NOTHING = Answer(
    400, b'{"error":"x not found as part of application x","code":3,"message":"x not found as part of application x"}'
)
ROLLOUT = {"group": "argoproj.io", "version": "v1alpha1", "kind": "Rollout"}
QUICK = replace(TIMING, sync=60.0, roll=60.0, observe=60.0)

Change = Callable[[dict[str, Any]], None]


@dataclass
class Deployments:
    """Deployments next to the Rollout: each has its pod template, unless `changes` makes something else of it, and is available.

    Those in `gone` are listed, and do not exist.
    """

    changes: dict[str, Change]
    gone: set[str] = field(default_factory=set)

    def __call__(self, asked: Asked, forward: Forward) -> Answer | None:
        if asked.call == "application":
            return self._listed(forward(asked))
        name = asked.query.get("resourceName", "")
        if asked.call != "resource" or name not in self.changes:
            return None
        return NOTHING if name in self.gone else self._deployment(asked, forward, name)

    def _listed(self, true: Answer) -> Answer:
        document = json.loads(true.body)
        resources = document["status"].setdefault("resources", [])
        rollout = next(one for one in resources if one["kind"] == "Rollout")
        where = {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": rollout["namespace"]}
        resources += [{**where, "name": name, "status": "Synced"} for name in self.changes]
        results = (document["status"].get("operationState") or {}).get("syncResult", {}).get("resources", [])
        results += [{**where, "name": name, "status": "Synced", "images": [f"{REPOSITORY}:v2"]} for name in self.gone]
        return replace(true, body=json.dumps(document).encode())

    def _deployment(self, asked: Asked, forward: Forward, name: str) -> Answer:
        query = {**asked.query, **ROLLOUT, "resourceName": "fraud-detector"}
        rollout = json.loads(json.loads(forward(replace(asked, query=query)).body)["manifest"])
        made = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": rollout["metadata"]["namespace"], "generation": 1},
            "spec": {"replicas": 1, "template": rollout["spec"]["template"]},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
        }
        self.changes[name](made)
        return Answer(body=json.dumps({"manifest": json.dumps(made)}).encode())


def unchanged(_: dict[str, Any]) -> None:
    pass


def unavailable(deployment: dict[str, Any]) -> None:
    deployment["status"]["availableReplicas"] = 0


def late(deployment: dict[str, Any]) -> None:
    unavailable(deployment)
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    deployment["status"]["conditions"] = [condition]


def with_own_image(*changes: Change, model: str | None = None, version: str | None = None) -> Change:
    """It carries the model version, in an image that is not the model's."""

    def change(deployment: dict[str, Any]) -> None:
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        container["image"] = "registry.example.com/explainer:v1"
        for one in container["env"]:
            if version is not None and one["name"] == "MODEL_VERSION":
                one["value"] = version
        if model is not None:
            container["env"] = [*(one for one in container["env"] if one["name"] != "MODEL_NAME")]
            container["env"].append({"name": "MODEL_NAME", "value": model})
        for one in changes:
            one(deployment)

    return change


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def with_deployments(it: World, **changes: Change) -> Deployments:
    made = Deployments({name.replace("_", "-"): change for name, change in changes.items()})
    it.argocd.faults.append(made)
    return made


@pytest.mark.parametrize("other", [unavailable, with_own_image(unavailable)], ids=["the model's image", "an image of its own"])
def test_a_release_is_live_when_every_workload_of_it_is(it: World, other: Change) -> None:
    deployments = with_deployments(it, explainer=other)
    it.clock.after(
        40, lambda: deployments.changes.update(explainer=with_own_image() if other is not unavailable else unchanged)
    )
    watched = it.watcher(it.promote(2)).watch()
    assert watched.exit_code is ExitCode.DONE
    live = [at for at, verdict in zip(it.told_at, it.told, strict=True) if verdict.kind is Kind.LIVE]
    assert min(live) >= 40
    assert any("Deployment explainer" in verdict.summary for verdict in it.told)
    assert "Deployment explainer" in {verdict.workload for verdict in it.told}


@pytest.mark.parametrize(
    "other",
    [with_own_image(unavailable, version="7"), with_own_image(unavailable, model="another-model")],
    ids=["another version", "another model"],
)
def test_a_workload_of_something_else_does_not_count(it: World, other: Change) -> None:
    with_deployments(it, other=other)
    assert it.watcher(it.promote(2)).watch().exit_code is ExitCode.DONE


def test_one_that_is_gone_keeps_a_release_from_being_live(it: World) -> None:
    """The sync applied it with the model's image: that somebody deleted it since is not that it does not count."""
    with_deployments(it, batch=unchanged).gone.add("batch")
    watched = it.watcher(it.promote(2), QUICK).watch()
    assert watched.timed_out
    assert "Deployment batch does not exist in the cluster" in watched.verdict.evidence


def test_an_explainer_that_fails_restores_the_version_of_all(it: World) -> None:
    with_deployments(it, explainer=with_own_image(late))
    ending = it.follow(it.promote(2))
    assert (ending.verdict.kind, ending.verdict.reason) == (Kind.FAILED, Reason.PROGRESS_DEADLINE)
    assert ending.verdict.summary.startswith("Deployment explainer: ")
    assert ending.stable is not None
    assert ending.stable.version == "1"


def test_only_the_workloads_that_promoter_yaml_names_count(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, lines="  workloads: [fraud-detector]\n") as it:
        with_deployments(it, batch=unavailable)
        assert it.watcher(it.promote(2)).watch().exit_code is ExitCode.DONE
        assert not [one for one in it.argocd.asked if one.query.get("resourceName") == "batch"]


def test_a_workload_that_promoter_yaml_names_has_to_exist(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, lines="  workloads: [fraud-detector, batch]\n") as it:
        watched = it.watcher(it.promote(2), QUICK).watch()
        assert watched.timed_out
        assert "workload batch does not exist in the cluster" in watched.verdict.evidence


def test_three_workloads_cost_hardly_more_than_one(tmp_path: Path) -> None:
    """Requests a minute while a canary is under way: the allowance spreads the looks."""
    asked = []
    for count in (0, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        with world(folder, os.environ) as it:
            with_deployments(it, **{f"batch_{number}": unavailable for number in range(count)})
            it.argocd.asked.clear()
            start = it.clock.now()
            it.watcher(it.promote(2), replace(TIMING, stable_for=300.0, roll=300.0)).watch()
            asked.append(len(it.argocd.asked) / (it.clock.now() - start))
    assert asked[1] <= 1.3 * asked[0], asked
