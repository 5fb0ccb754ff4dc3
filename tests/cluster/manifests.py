"""The files of one environment: what promoter ships, for a namespace and a repository of the test."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.cluster import ENVIRON, HERE, ROOT, Cluster
from tests.cluster.command import Promoter
from tests.cluster.images import Pushed, Service
from tests.cluster.model_versions import MODEL
from tests.cluster.repository import BRANCH

NAME = "staging"
OVERLAY = f"overlays/{NAME}"
WORKLOAD = "inference-service"


def write_files(root: Path, name: str, variant: str) -> None:
    """The shipped base and overlay, the overlay on top of one of the variants instead of the base itself.

    It is production's overlay, which changes nothing of the base, under the name of the test's environment.
    """
    shutil.copytree(ROOT / "base", root / "base")
    shutil.copytree(HERE / "variants", root / "variants")
    shutil.copytree(ROOT / "overlays" / "production", root / OVERLAY)
    quick = root / "variants" / "quick" / "kustomization.yaml"
    quick.write_text(quick.read_text().replace("namespace-of-the-test", name))
    file = root / OVERLAY / "kustomization.yaml"
    text = file.read_text()
    for old, new in ((r"^namespace: .*$", f"namespace: {name}"), (r"^- \.\./\.\./base$", f"- ../../variants/{variant}")):
        text, count = re.subn(old, new, text, flags=re.MULTILINE)
        assert count == 1, f"{old} is not once in the shipped overlay"
    file.write_text(text)


def write_release(overlay: Path, version: str, image: Pushed) -> None:
    """A release in the form that the shipped overlays have: images entry and release.yaml."""
    entry = f"- name: {WORKLOAD}\n  newName: {image.repository}\n  newTag: {image.tag}\n  digest: {image.digest}\n"
    kustomization, release = overlay / "kustomization.yaml", overlay / "release.yaml"
    written, count = re.subn(rf"^- name: {WORKLOAD}\n(  \w+: .*\n)*", entry, kustomization.read_text(), flags=re.MULTILINE)
    assert count == 1, "the overlay has not one images entry"
    kustomization.write_text(written)
    digest = hashlib.sha256(f"the files of version {version}".encode()).hexdigest()
    text = re.sub(r"modelVersion: .*", f'modelVersion: "{version}"', release.read_text())
    release.write_text(re.sub(r"modelDigest: .*", f"modelDigest: sha256:{digest}", text))


def application(cluster: Cluster, name: str, repo_url: str) -> dict[str, Any]:
    """The shipped Application manifest, for this repository, project and namespace."""
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "environments" / f"{NAME}.yaml").read_text())
    manifest["metadata"] |= {"name": name, "namespace": cluster.argocd_namespace}
    manifest["spec"]["project"] = name
    manifest["spec"]["source"] |= {"repoURL": repo_url, "targetRevision": BRANCH, "path": OVERLAY}
    manifest["spec"]["destination"]["namespace"] = name
    return manifest


def project(cluster: Cluster, name: str, repo_url: str) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": name, "namespace": cluster.argocd_namespace},
        "spec": {
            "sourceRepos": [repo_url],
            "destinations": [{"server": "https://kubernetes.default.svc", "namespace": name}],
            "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
        },
    }


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def promoter_for(
    cluster: Cluster, service: Service, folder: Path, manifest: Mapping[str, Any], mlflow: Mapping[str, str]
) -> Promoter:
    """promoter.yaml and the Application manifest in `folder`, and the environment variables to run promoter with."""
    (folder / "environments").mkdir(parents=True)
    (folder / "environments" / f"{NAME}.yaml").write_text(yaml.safe_dump(dict(manifest)))
    config = {
        # It is the cluster that refuses a release here, also where an engine could have refused it before.
        "models": {MODEL: {"image": service.models.reference, "kustomize-image": WORKLOAD, "smoke": False}},
        "environments": [{"name": NAME, "model": MODEL, "application": f"environments/{NAME}.yaml"}],
        "image": {
            "runtime": service.base.reference,
            "platform": f"linux/{service.architecture}",
            "insecure-registries": [cluster.registry],
        },
    }
    (folder / "promoter.yaml").write_text(yaml.safe_dump(config))
    programs = folder / "bin"
    programs.mkdir()
    git = shutil.which("git", path=ENVIRON["PATH"])
    assert git is not None
    (programs / "git").symlink_to(git)
    environ = {
        "PATH": str(programs),
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "GIT_CONFIG_NOSYSTEM": "1",
        "ARGOCD_SERVER": cluster.argocd_server,
        "ARGOCD_AUTH_TOKEN": cluster.argocd_token,
        "MLFLOW_TRACKING_URI": mlflow["MLFLOW_TRACKING_URI"],
    }
    return Promoter(folder, environ)
