"""Releases as users have them: images that promoter built and published, the shipped base, real predictions under load."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster import inference, results
from tests.cluster.cluster import Cluster, eventually
from tests.cluster.conftest import row_of, turn
from tests.cluster.images import Service
from tests.cluster.inference import BROKEN, DRIFTING, FIRST, LEAKING, SECOND, SLOW, Images, InferenceEnvironment
from tests.cluster.manifests import OVERLAY
from tests.cluster.model_versions import forgive
from tests.support.docker_engine import DockerEngine, PythonBase, docker_engine, python_base
from tests.support.mlflow_server import MlflowServer, running

__all__ = ["docker_engine", "python_base"]

Make = Callable[[str], InferenceEnvironment]


@pytest.fixture(scope="module")
def images(cluster: Cluster, docker_engine: DockerEngine, python_base: PythonBase) -> Images:
    return Images.prepare(cluster.registry, docker_engine, python_base)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with running(tmp_path_factory.mktemp("mlflow")) as server:
        inference.register(server)
        yield server


@pytest.fixture
def environment(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    service: Service,
    images: Images,
    versions: MlflowServer,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[InferenceEnvironment]:
    """Version 1 is live. Which requests may fail is each test's own affair. Latencies are measured: nothing else runs meanwhile."""
    with ExitStack() as stack:
        stack.enter_context(turn(tmp_path_factory, alone=True))
        stack.callback(forgive, versions, inference.BEHAVIOURS)
        marker = request.node.get_closest_marker("variant")
        variant = marker.args[0] if marker else request.getfixturevalue("variant")
        made = stack.enter_context(inference.environment(cluster, service, images, versions, tmp_path, variant))
        yield made
        results.add(request.node, row_of(request, made))


def assert_none_failed(environment: InferenceEnvironment) -> None:
    assert environment.traffic is not None
    assert environment.traffic.failures == []


@pytest.mark.variant("inference")
def test_second_version_goes_live_by_canary_and_pulls_its_own_layer_only(
    environment: InferenceEnvironment, request: pytest.FixtureRequest
) -> None:
    sent = environment.promoter.value("image", f"fraud-detector:{SECOND}")["sent"]
    run = environment.promote(SECOND)
    environment.assert_live(run)
    assert_none_failed(environment)

    weights = [event["weight"] for event in run.events if event.get("kind") == "rolling" and event.get("weight")]
    assert {34, 67} <= set(weights)
    assert any(event.get("analysis") for event in run.events), "no analysis was shown"
    assert any(event.get("pods") for event in run.events), "no pod was shown"
    (analysis,) = environment.analysis_runs()
    assert {result["name"] for result in analysis["metricResults"]} == {
        "health", "predictions", "success-rate-drop", "refusal-rate-rise", "latency-ratio",
    }  # fmt: skip
    assert analysis["phase"] == "Successful"

    first, second = (
        [pull for pull in environment.pulls() if digest in pull]
        for digest in (environment.before.digest, environment.overlay_digest())  # type: ignore[union-attr] # it was created
    )
    assert second, "the kubelet did not pull the second version by its digest"
    assert sent < 1_000_000, f"{sent} bytes were sent for a version whose runtime is there"
    results.add_fact(request.node, f"first version pulled: {_shortest(first) or 'by an earlier test'}")
    results.add_fact(request.node, f"second version, {sent} bytes sent to the container registry, pulled: {_shortest(second)}")


def _shortest(pulls: list[str]) -> str:
    found = [match[1] for pull in pulls if (match := re.search(r" in (\S+)", pull))]
    return min(found, default="")


@pytest.mark.parametrize("variant", ["inference", "inference-blue-green"])
def test_drifting_predictions_are_restored(environment: InferenceEnvironment, variant: str) -> None:
    run = environment.promote(DRIFTING)
    assert run.verdict == ("aborted", "analysis failed"), str(run)
    environment.assert_restored(run)
    assert environment.failed_metrics() == {"predictions"}
    assert_none_failed(environment)


@pytest.mark.parametrize("variant", ["inference", "inference-blue-green"])
def test_slow_answers_are_restored(environment: InferenceEnvironment, variant: str) -> None:
    run = environment.promote(SLOW)
    assert run.verdict == ("aborted", "analysis failed"), str(run)
    environment.assert_restored(run)
    assert environment.failed_metrics() == {"latency-ratio"}
    assert_none_failed(environment)


@pytest.mark.parametrize("variant", ["inference", "inference-blue-green"])
def test_leaked_errors_are_restored(environment: InferenceEnvironment, variant: str) -> None:
    run = environment.promote(LEAKING)
    assert run.verdict == ("aborted", "analysis failed"), str(run)
    environment.assert_restored(run)
    assert environment.failed_metrics() == {"success-rate-drop"}
    assert environment.traffic is not None
    others = [failure for failure in environment.traffic.failures if f"status 500 of version {LEAKING}" not in failure]
    assert others == []


@pytest.mark.variant("inference-blue-green")
def test_second_version_goes_live_by_blue_green(environment: InferenceEnvironment) -> None:
    environment.assert_live(environment.promote(SECOND))
    assert_none_failed(environment)


@pytest.mark.variant("inference-deployment")
def test_a_deployment_that_never_becomes_ready_is_restored(environment: InferenceEnvironment) -> None:
    run = environment.promote(BROKEN)
    assert run.verdict == ("failed", "progress deadline"), str(run)
    environment.assert_restored(run)
    assert_none_failed(environment)


@pytest.mark.variant("inference")
def test_nothing_that_people_and_nodes_do_fails_a_request(environment: InferenceEnvironment) -> None:
    """A pod is deleted, pods are evicted as a drained node does it, and a setting is changed."""
    cluster, name = environment.cluster, environment.name

    def all_ready() -> bool:
        return environment.is_live(environment.overlay_digest())

    cluster.delete("pod", environment.pods()[0]["metadata"]["name"], name)
    eventually("another pod is there", all_ready)
    first, second = (pod["metadata"]["name"] for pod in environment.pods()[:2])
    evicted = [cluster.evict(name, pod) for pod in (first, second)]
    assert evicted == [True, False], "the budget lets one go, for two have to stay"
    eventually("another pod is there", all_ready)

    before = {pod["metadata"]["uid"] for pod in environment.pods()}

    def edit(root: Path) -> None:
        settings = root / OVERLAY / "settings.yaml"
        assert "LOG_LEVEL: INFO" in settings.read_text()
        settings.write_text(settings.read_text().replace("LOG_LEVEL: INFO", "LOG_LEVEL: DEBUG"))

    environment.repository.commit("Log more", edit)
    environment.refresh()
    eventually(
        "every pod has the new setting",
        lambda: all_ready() and not before & {pod["metadata"]["uid"] for pod in environment.pods()},
        seconds=240,
    )
    assert environment.traffic is not None
    assert set(environment.traffic.answered) == {FIRST}
    assert_none_failed(environment)
    assert json.dumps(environment.workload()["spec"]["template"]).count('"DEBUG"') == 1
