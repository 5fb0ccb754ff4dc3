"""The cluster that the environment names: what is needed to speak to it, read once, and kubectl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

# tests/conftest.py takes such variables away from every test: these are read while it is being collected.
ENVIRON: Mapping[str, str] = dict(os.environ)
ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

_REQUIRED = ("KUBECONFIG", "ARGOCD_SERVER", "ARGOCD_AUTH_TOKEN", "CLUSTER_GIT_ROOT", "CLUSTER_GIT_URL", "CLUSTER_REGISTRY")
_PROGRAMS = ("kubectl", "git", "go")
_SECONDS = 90.0


@dataclass(frozen=True)
class Cluster:
    """Kubernetes with Argo CD and Argo Rollouts.

    `git_root` is a folder on this machine whose bare repositories Argo CD and promoter reach below `git_url`; the kubelet
    pulls from `registry`, over plain HTTP; a Service of type NodePort answers at `node`.
    """

    kubeconfig: str
    argocd_server: str
    argocd_token: str = field(repr=False)
    git_root: Path
    git_url: str
    registry: str
    node: str
    argocd_namespace: str

    @classmethod
    def from_environment(cls) -> Cluster:
        """Skips the test where something is missing, by its name."""
        missing = [name for name in _REQUIRED if not ENVIRON.get(name)]
        missing += [program for program in _PROGRAMS if shutil.which(program, path=ENVIRON.get("PATH")) is None]
        if missing:
            pytest.skip(f"no cluster to test against: {', '.join(missing)} missing")
        return cls(
            kubeconfig=ENVIRON["KUBECONFIG"],
            argocd_server=ENVIRON["ARGOCD_SERVER"],
            argocd_token=ENVIRON["ARGOCD_AUTH_TOKEN"],
            git_root=Path(ENVIRON["CLUSTER_GIT_ROOT"]),
            git_url=ENVIRON["CLUSTER_GIT_URL"].rstrip("/"),
            registry=ENVIRON["CLUSTER_REGISTRY"],
            node=ENVIRON.get("CLUSTER_NODE", "127.0.0.1"),
            argocd_namespace=ENVIRON.get("CLUSTER_ARGOCD_NAMESPACE", "argocd"),
        )

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints; it must succeed."""
        done = subprocess.run(["kubectl", *arguments], input=given, env=ENVIRON, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """The object, or None if it does not exist."""
        found = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return dict(json.loads(found)) if found else None

    def list(self, kind: str, namespace: str, *arguments: str) -> list[dict[str, Any]]:
        return list(json.loads(self.kubectl("get", kind, "-n", namespace, "-o", "json", *arguments))["items"])

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def patch(self, kind: str, name: str, namespace: str, change: Mapping[str, Any]) -> None:
        """A JSON merge patch."""
        self.kubectl("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(change))

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        where = ["-n", namespace] if namespace else []
        self.kubectl("delete", kind, name, *where, "--ignore-not-found", "--wait=false")

    def evict(self, namespace: str, pod: str) -> bool:
        """Asks for what draining a node asks for; False where a PodDisruptionBudget forbids it now."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        command = ["kubectl", "create", "--raw", path, "-f", "-"]
        done = subprocess.run(command, input=json.dumps(eviction), env=ENVIRON, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 or "disruption budget" in done.stderr, done.stderr
        return done.returncode == 0

    def rejects(self, rollout: Mapping[str, Any], version: str) -> bool:
        """Whether the API server would reject this Rollout with another model version in its pod template's label."""
        changed = json.loads(json.dumps(rollout))
        changed["metadata"].pop("managedFields", None)
        changed["spec"]["template"]["metadata"]["labels"]["model-version"] = version
        command = ["kubectl", "replace", "--dry-run=server", "-f", "-"]
        done = subprocess.run(command, input=json.dumps(changed), env=ENVIRON, capture_output=True, text=True, timeout=120)
        return done.returncode != 0 and "ValidatingAdmissionPolicy" in done.stderr


def required(name: str) -> str:
    """The value of an environment variable that one scenario needs; skips where it is not set."""
    value = ENVIRON.get(name)
    if not value:
        pytest.skip(f"{name} is not set")
    return value


def eventually(what: str, look: Callable[[], T | None], seconds: float = _SECONDS, every: float = 1.0) -> T:
    """The first answer of `look` that is neither None nor False; fails when none comes in this time.

    A look is mostly a kubectl: many of them a second starve a small cluster.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None and found is not False:
            return found
        time.sleep(every)
    pytest.fail(f"after {seconds:.0f} s still not: {what}")
