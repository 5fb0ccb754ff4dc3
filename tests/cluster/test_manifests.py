"""The API server takes every object that is shipped, with every component: a dry run, in which unknown fields are errors.

Admission and Argo's own schemas decide. Kinds that the cluster does not have are left to tests/test_manifest_schemas.py, as are
NetworkPolicies' effects to tests/test_network_policies.py: whether they are enforced is the cluster's affair.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from promoter.models import Workload
from tests.cluster.cluster import ENVIRON, ROOT, Cluster
from tests.support.manifests import CHOICES, ENVIRONMENTS, Built, Manifest, build, built, jobs
from tests.support.scaffolds import release_into, scaffold, wanted

__all__ = ["built"]


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"promoter-test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.delete("namespace", name)


@pytest.fixture(scope="module")
def kinds(cluster: Cluster) -> set[str]:
    """The resources that the API server knows, as group/kind."""
    rows = [line.split() for line in cluster.kubectl("api-resources", "--no-headers").splitlines()]
    return {f"{version.rpartition('/')[0]}/{kind}" for *_, version, _, kind in rows}


def dry_run(manifests: list[Manifest]) -> list[str]:
    """The API server's complaints about these objects."""
    arguments = ["--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts"]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    command = ["kubectl", "apply", *arguments, "--filename=-"]
    done = subprocess.run(command, input=given, env=ENVIRON, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 or done.stderr, done.stdout
    return done.stderr.splitlines()


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("components", CHOICES, ids=lambda names: "+".join(names) or "as-shipped")
def test_every_object_is_accepted(
    built: Built, namespace: str, kinds: set[str], name: str, components: tuple[str, ...]
) -> None:
    manifests = [moved(item, namespace) for item in built(name, *components)]
    known = [item for item in manifests if f"{item['apiVersion'].rpartition('/')[0]}/{item['kind']}" in kinds]
    assert len(known) >= 8
    assert dry_run(known) == []


def test_what_the_analyses_start_is_accepted(built: Built, namespace: str) -> None:
    made = []
    for metric, spec in jobs(built("production")).items():
        text = json.dumps(spec).replace("{{args.canary-hash}}", "5d8f7c9b6d")
        metadata = {"name": metric, "namespace": namespace}
        made.append({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": json.loads(text)})
    assert len(made) == 2
    assert dry_run(made) == []


def test_the_environments_are_accepted(cluster: Cluster) -> None:
    manifests = [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "environments").glob("*.yaml"))]
    for manifest in manifests:
        manifest["metadata"]["namespace"] = cluster.argocd_namespace
    assert dry_run(manifests) == []


def test_promoter_itself_is_accepted(namespace: str) -> None:
    assert dry_run([moved(item, namespace) for item in build(ROOT / "overlays" / "promoter")]) == []


@pytest.mark.parametrize("workload", Workload)
def test_what_init_writes_is_accepted(
    cluster: Cluster, namespace: str, kinds: set[str], tmp_path: Path, workload: Workload
) -> None:
    """Overlays before and with a first release, the Applications and their project."""
    found = scaffold(tmp_path, wanted(workload=workload, environments=("dev", "production")))
    for one in found.environments:
        for released in (False, True):
            if released:
                release_into(tmp_path, one)
            manifests = [moved(item, namespace) for item in build(tmp_path / one.application.path)]
            known = [item for item in manifests if f"{item['apiVersion'].rpartition('/')[0]}/{item['kind']}" in kinds]
            assert len(known) >= 4
            assert dry_run(known) == []
    manifests = [yaml.safe_load(file.read_text()) for file in sorted((tmp_path / "environments").glob("*.yaml"))]
    for manifest in manifests:
        manifest["metadata"]["namespace"] = cluster.argocd_namespace
    assert dry_run(manifests) == []


def test_a_field_that_is_misspelt_is_not_accepted(built: Built, namespace: str) -> None:
    [rollout] = [moved(item, namespace) for item in built("production") if item["kind"] == "Rollout"]
    rollout["spec"]["strategy"]["canary"]["maxSurgee"] = 1
    assert "maxSurgee" in " ".join(dry_run([rollout]))


def moved(manifest: Manifest, namespace: str) -> Manifest:
    """A copy of the object in the namespace of the test."""
    text = json.dumps(manifest).replace(f'"{manifest["metadata"]["namespace"]}"', json.dumps(namespace))
    copied: Manifest = json.loads(text)
    return copied
