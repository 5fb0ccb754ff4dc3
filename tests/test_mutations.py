"""Files of people that went wrong: promoter reads them or refuses them, and never ends in a traceback."""

from __future__ import annotations

import pytest

from promoter.config.manifest import application_in
from promoter.config.yaml import documents
from promoter.errors import ConfigError
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
