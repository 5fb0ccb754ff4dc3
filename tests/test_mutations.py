"""Files of people that went wrong: promoter reads them or refuses them, and never ends in a traceback."""

from __future__ import annotations

from contextlib import suppress

import pytest

from promoter.config.manifest import application_in
from promoter.config.yaml import documents
from promoter.errors import ConfigError, RefusedError
from promoter.image.runtime.requirements import read_requirements
from promoter.kustomize import promotion_file
from promoter.kustomize.outside import charts, require_inside
from promoter.kustomize.release import Overlay, deployed, write_release
from promoter.model_registry import mlmodel
from promoter.models import Application, Environment, Model, Release
from tests.support.models import listing, model_version, store
from tests.support.mutations import mutated

MANIFEST = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: fraud-detector-staging
  namespace: argocd
spec:
  project: fraud-detector
  source:
    repoURL: https://git.example.com/fleet.git
    targetRevision: main
    path: overlays/staging
    kustomize:
      images: [envoy:v1]
  sources:
  - repoURL: https://charts.example.com
    chart: x
  - repoURL: https://git.example.com/fleet.git
    path: overlays/staging
---
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: fraud}
"""


def read_manifest(seed: int) -> bool:
    """Whether the mutated manifest still is one."""
    try:
        application_in(documents(mutated(MANIFEST, seed), "environments/staging.yaml"), "environments/staging.yaml")
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_a_manifest_that_went_wrong_is_read_or_refused(first: int) -> None:
    read = [read_manifest(seed) for seed in range(first, first + 100)]
    assert {True, False} == set(read)  # else the mutations are too mild, or too harsh


KUSTOMIZATION = """\
resources:
- ../../base
- release.yaml
images:
- name: envoy
  newTag: "1.10"
- name: fraud-detector
  newName: registry.example.com/old
  newTag: v7
  digest: sha256:aa
patches:
- path: scale.yaml
helmCharts:
- {name: x, repo: "https://charts.example.com"}
configMapGenerator:
- {name: x, files: [a=b.yaml]}
"""
RELEASE_FILE = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
data:
  modelName: fraud
  modelVersion: "7"
  modelDigest: sha256:m7
"""
DECISIONS = """\
versions:
- environment: staging
  model: fraud
  version: "7"
  state: quarantined
  since: 2026-01-31T08:00:00Z
  failures: 2
"""
RELEASE = Release("fraud", "8", "sha256:m8", "registry.example.com/fraud", "v8", "sha256:88")
MODEL = Model("fraud", "registry.example.com/fraud", "fraud-detector", "release.yaml")
ENVIRONMENT = Environment("staging", MODEL, Application("fraud", "default", "argocd", "https://x/y", "o", "main"))


def edit_overlay(seed: int) -> bool:
    """Whether the mutated overlay could be edited; then it carries the release, and the second edit changes nothing."""
    kustomization, release = mutated(KUSTOMIZATION, seed), mutated(RELEASE_FILE, seed) if seed % 2 else RELEASE_FILE
    before = Overlay("o", "o/kustomization.yaml", kustomization.encode(), "o/release.yaml", release.encode())
    try:
        edited = write_release(before, MODEL, RELEASE).files
    except ConfigError:
        return False
    content = [
        edited.get(path, old)
        for path, old in (("o/kustomization.yaml", before.kustomization), ("o/release.yaml", before.release))
    ]
    after = Overlay("o", "o/kustomization.yaml", content[0], "o/release.yaml", content[1])
    assert deployed(after, MODEL) == RELEASE, f"seed {seed}"
    assert not write_release(after, MODEL, RELEASE).files, f"seed {seed}"
    return True


def read_decisions(seed: int) -> bool:
    try:
        promotion_file.read("promotion.yaml", mutated(DECISIONS, seed).encode(), ENVIRONMENT)
    except ConfigError:
        return False
    return True


def look_outside(seed: int) -> bool:
    files = {"o/kustomization.yaml": mutated(KUSTOMIZATION, seed).encode()}
    list(charts(files))
    try:
        require_inside(files, network=False)
    except RefusedError:
        return False
    return True


MODEL_FILES = {
    "requirements.txt": "mlflow==3.4.1\nscikit-learn==1.9.1 ; python_version > '3.9'  # x\n-c constraints.txt\n--pre\n",
    "constraints.txt": "numpy<3\n",
    "conda.yaml": "channels: [conda-forge]\ndependencies:\n- python=3.11.4\n- pip:\n  - mlflow==3.4.1\n  - xgboost\n",
    "python_env.yaml": "python: 3.11.7\ndependencies:\n- -r requirements.txt\n",
    "MLmodel": """\
flavors:
  python_function: {env: conda.yaml, python_version: 3.11.4}
mlflow_version: 3.4.1
model_id: m-1
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}]'
  outputs: '[]'
""",
}


def read_model(seed: int) -> bool:
    """What a registered version needs and describes; one without requirements.txt has conda.yaml only."""
    files = {name: mutated(text, seed + number).encode() for number, (name, text) in enumerate(MODEL_FILES.items())}
    if seed % 2:
        del files["requirements.txt"]
    read = False
    with suppress(ConfigError, RefusedError):
        read_requirements(model_version(listing(files)), store(files).open)
        read = True
    with suppress(RefusedError):
        mlmodel.parse(files["MLmodel"], reference="fraud:7")
    return read


READERS = {
    "manifest": read_manifest,
    "overlay": edit_overlay,
    "decisions": read_decisions,
    "outside": look_outside,
    "model": read_model,
}


@pytest.mark.parametrize("name", ["overlay", "decisions", "outside", "model"])
def test_an_overlay_that_went_wrong_is_edited_or_refused(name: str) -> None:
    read = [READERS[name](seed) for seed in range(200)]
    assert {True, False} == set(read)
