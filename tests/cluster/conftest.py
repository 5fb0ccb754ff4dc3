"""Fixtures: the cluster, the test service and the model versions once a session, one environment of its own for each test."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import results
from tests.cluster.cluster import ENVIRON, ROOT, Cluster
from tests.cluster.environment import Environment
from tests.cluster.images import Service, build
from tests.cluster.manifests import application, promoter_for
from tests.cluster.model_versions import forgive, register
from tests.cluster.repository import GitRepository
from tests.support.mlflow_server import MlflowServer, running

_TABLE = ROOT / "docs" / "cluster-results.md"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "variant(name): the folder under variants/ that the test's overlay builds on")
    config.addinivalue_line("markers", "alone: no other scenario may run at the same time")
    config.addinivalue_line("markers", "unreleased: the overlay deploys no release and Argo CD has no Application yet")
    if ENVIRON.get("PROMOTER_CLUSTER_TABLE") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(results.Table(_TABLE))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return Cluster.from_environment()


@pytest.fixture(scope="session")
def service(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The test service, in a repository that no other session uses: no node has its images yet."""
    architecture = cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.architecture}")
    return build(cluster.registry, f"promoter-test-{uuid.uuid4().hex[:8]}", architecture, tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="session")
def mlflow_versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with running(tmp_path_factory.mktemp("mlflow")) as server:
        register(server)
        yield server


@contextmanager
def turn(factory: pytest.TempPathFactory, *, alone: bool) -> Iterator[None]:
    """Lets scenarios of several workers run at a time, but none next to one that has to be `alone`."""
    folder = factory.getbasetemp()
    file = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "turn"
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.fixture
def environment(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    service: Service,
    mlflow_versions: MlflowServer,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Environment]:
    """An environment whose first release is live; no request to it may fail while the test lasts."""
    with turn(tmp_path_factory, alone=request.node.get_closest_marker("alone") is not None):
        yield from _environment(request, cluster, service, mlflow_versions, tmp_path)


def _environment(
    request: pytest.FixtureRequest, cluster: Cluster, service: Service, mlflow_versions: MlflowServer, tmp_path: Path
) -> Iterator[Environment]:
    marker = request.node.get_closest_marker("variant")
    made = new_environment(cluster, service, mlflow_versions, tmp_path, marker.args[0] if marker else "canary")
    try:
        made.create(released=request.node.get_closest_marker("unreleased") is None)
        yield made
    finally:
        made.remove()
        forgive(mlflow_versions)
    results.add(request.node, row_of(request, made))
    failures = made.traffic.failures if made.traffic else []
    assert not failures, f"{len(failures)} requests failed: {failures[:10]}"


def new_environment(
    cluster: Cluster, service: Service, mlflow_versions: MlflowServer, folder: Path, variant: str = "canary"
) -> Environment:
    """One that is not created yet; `folder` gets its clone and its promoter.yaml."""
    name = f"promoter-test-{uuid.uuid4().hex[:8]}"
    url = f"{cluster.git_url}/{name}.git"
    manifest = application(cluster, name, url)
    return Environment(
        cluster=cluster,
        name=name,
        variant=variant,
        service=service,
        repository=GitRepository.create(cluster.git_root / f"{name}.git", folder / "clone", url),
        promoter=promoter_for(cluster, service, folder / "promoter", manifest, mlflow_versions.environ),
    )


def row_of(request: pytest.FixtureRequest, made: Environment) -> results.Row:
    traffic = made.traffic
    scenario = str(request.node.name).removeprefix("test_").replace("_", " ")
    return results.Row(
        scenario, made.promoter.runs, traffic.requests if traffic else 0, len(traffic.failures) if traffic else 0, made.stages
    )
