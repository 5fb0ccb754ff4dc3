"""What is recorded of releases: at their images, in MLflow, and as the evidence of an attempt, which names no other attempt."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.cluster.environment import Environment
from tests.cluster.manifests import NAME, WORKLOAD
from tests.cluster.model_versions import CRASHING, GOOD, MODEL, NEWER, STABLE, UNHEALTHY
from tests.support.mlflow_server import MlflowServer

ALIAS = f"live-{NAME}"


def recorded(environment: Environment, commit: str) -> dict[str, Any]:
    """The one record of the release that came with this commit."""
    code, account = environment.promoter.ask("history", NAME, commit)
    assert (code, account["not_known"]) == (0, ""), account
    (found,) = account["recorded"]
    assert found["git"]["commit"] == commit
    return dict(found)


def verified(environment: Environment) -> dict[str, str]:
    """What `promoter verify` found of the record of the release that Git deploys."""
    code, (one,) = environment.promoter.ask("verify", NAME)
    assert code == 0, one
    return {check["of"]: check["result"] for check in one["checks"]}


def test_the_record_of_a_live_release(environment: Environment) -> None:
    run = environment.promote(GOOD)
    environment.assert_live(run)
    found = recorded(environment, run.commit)
    assert (found["verdict"]["kind"], found["verdict"]["exitCode"], found["model"]["version"]) == ("live", 0, GOOD)
    assert found["cluster"]["revision"] == run.commit
    metrics = [metric for one in found["analysis"] for metric in one["metrics"]]
    assert {(metric["name"], metric["phase"]) for metric in metrics} == {
        ("health", "Successful"),
        ("predictions", "Successful"),
    }
    health = next(metric for metric in metrics if metric["name"] == "health")
    assert f'result.model_version == "{GOOD}"' in health["limits"]["successCondition"]
    assert health["measurements"]
    assert {"rolling", "live"} <= {stage["kind"] for stage in found["stages"]}
    assert verified(environment) == {
        "signature": "not known",
        "image": "passed",
        "commit": "passed",
        "Git": "passed",
        "outcome": "passed",
        "cluster": "passed",
    }


@pytest.mark.parametrize("version", [UNHEALTHY, CRASHING])
def test_the_record_of_one_that_is_undone_and_of_what_came_back(environment: Environment, version: str) -> None:
    run = environment.promote(version)
    assert run.exit_code == 10, str(run)
    found = recorded(environment, run.commit)
    assert found["verdict"]["kind"] == run.verdict[0]
    assert found["restored"] == {"commit": run.outcome["restored"], "version": STABLE}
    back = recorded(environment, run.outcome["restored"])
    assert (back["git"]["act"], back["verdict"]["kind"]) == ("restore", "live")
    assert verified(environment)["cluster"] == "passed"


def test_the_record_of_one_that_needs_a_person(environment: Environment) -> None:
    environment.promoter.configure({"require-analysis": True})
    for version in (GOOD, NEWER):
        environment.assert_live(environment.promote(version))
    again = environment.promote(GOOD)  # Rollouts had its pod template a moment ago: no steps, no analysis (rollbackWindow)
    assert (again.exit_code, again.verdict[0]) == (12, "live"), str(again)
    assert f"kubectl argo rollouts create analysisrun -n {environment.name} --from {WORKLOAD}-health" in again.outcome["note"]
    assert environment.serves(environment.overlay_digest())
    found = recorded(environment, again.commit)
    assert (found["verdict"]["kind"], found["verdict"]["exitCode"], found["analysis"]) == ("live", 12, [])


def test_a_release_inside_the_rollback_window_shows_that_no_analysis_looked_at_it(environment: Environment) -> None:
    for version in (GOOD, NEWER):
        environment.assert_live(environment.promote(version))
    again = environment.promote(GOOD)
    assert (again.exit_code, again.verdict[0]) == (0, "live"), str(again)
    evidence = again.outcome["verdict"]["evidence"]
    assert any("Argo CD shows no AnalysisRun of this release" in line for line in evidence), evidence
    assert recorded(environment, again.commit)["analysis"] == []


def test_the_evidence_of_an_abort_names_no_earlier_attempt(environment: Environment) -> None:
    """Two releases went well by the same templates: their runs and pods stay listed."""
    before: set[str] = set()
    for version in (GOOD, NEWER):
        run = environment.promote(version)
        environment.assert_live(run)
        before |= {one["name"] for one in run.outcome["verdict"]["analyses"]}
    assert len(before) >= 2
    pods = {pod["metadata"]["name"] for pod in environment.pods()}
    run = environment.promote(UNHEALTHY)
    assert run.verdict == ("aborted", "analysis failed"), str(run)
    verdict = run.outcome["verdict"]
    evidence = "\n".join(verdict["evidence"])
    named = set(re.findall(r"^analysis (\S+):", evidence, re.MULTILINE))
    assert named
    assert named.isdisjoint(before)
    assert {one["name"] for one in verdict["analyses"]}.isdisjoint(before)
    assert not [pod for pod in pods if pod in evidence]
    first = next(line for line in verdict["evidence"] if line.startswith("analysis "))
    assert "Failed, measured " in first


def test_the_alias_goes_with_what_is_live(environment: Environment, mlflow_versions: MlflowServer) -> None:
    """Through a promotion, an abort and its restore: it never names the version that was aborted."""

    def named() -> str | None:
        found = mlflow_versions.api("GET", "registered-models/get", name=MODEL)["registered_model"].get("aliases", [])
        return next((str(one["version"]) for one in found if one["alias"] == ALIAS), None)

    if named():
        mlflow_versions.api("DELETE", "registered-models/alias", name=MODEL, alias=ALIAS)
    run = environment.promoting(GOOD)
    run.until("rolling")
    assert named() is None
    environment.assert_live(run.finish())
    assert named() == GOOD
    failing = environment.promoting(UNHEALTHY)
    failing.until("rolling")
    assert named() == GOOD
    failing.finish()
    assert failing.exit_code == 10, str(failing)
    assert named() == GOOD
    tags = mlflow_versions.api("GET", "model-versions/get", name=MODEL, version=UNHEALTHY)["model_version"].get("tags", [])
    status = {tag["key"]: tag["value"] for tag in tags}
    assert status[f"promoter.{NAME}.status"] == "aborted"
