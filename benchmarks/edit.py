"""One release written into an overlay, proof included, compared with ruamel's round trip and `kustomize edit set image`."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.figures import Figure, Section
from promoter.kustomize.release import Overlay, write_release
from promoter.models import Model, Release
from tests.support.without_c import kustomize_without_c

_REPOSITORY = "registry.example.com/models/fraud-detector"
_MODEL = Model(name="fraud-detector", repository=_REPOSITORY, image_name="fraud-detector", release_file="release.yaml")
_RELEASE = Release(
    model="fraud-detector",
    version="8",
    model_digest="sha256:" + "8" * 64,
    repository=_REPOSITORY,
    tag="v8-20260801T101500Z",
    digest="sha256:" + "b" * 64,
)
_KUSTOMIZATION = f"""\
# Production of the fraud detector. Ask #payments before changing anything but images.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: payments

resources:
  - ../../base # the Rollout, its Services and analysis
  - release.yaml

components:
  - ../../base/components/hpa

labels:
  - pairs:
      team: payments
      tier: "1" # paged at night

images:
  - name: envoy # sidecar, pinned by the platform team
    newTag: "1.10"
  - name: fraud-detector
    newName: {_REPOSITORY}
    newTag: "v7-20260701T080000Z" # written by promoter
    digest: sha256:{"a" * 64}

replacements:
  - source: {{kind: ConfigMap, name: release, fieldPath: data.modelVersion}}
    targets:
      - select: {{group: argoproj.io, kind: Rollout, name: fraud-detector}}
        fieldPaths:
          - spec.template.metadata.labels.model-version

patches:
  - target: {{kind: Rollout, name: fraud-detector}}
    patch: |-
      - op: replace
        path: /spec/strategy/canary/steps/0/setWeight
        value: 10
"""
_CONFIG_MAP = f"""\
# Read by replacements only; promoter writes the data.
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
  annotations:
    config.kubernetes.io/local-config: "true"
data:
  modelName: fraud-detector
  modelVersion: "7"
  modelDigest: sha256:{"7" * 64}
"""


def measure(rounds: int = 30) -> Section:
    """Milliseconds for each file, best of `rounds` taken in turn."""
    overlay = Overlay("o", "kustomization.yaml", _KUSTOMIZATION.encode(), "release.yaml", _CONFIG_MAP.encode())
    in_python = kustomize_without_c().write_release
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "promoter": (lambda: write_release(overlay, _MODEL, _RELEASE), 2),
        "promoter without ruamel's C extension": (lambda: in_python(overlay, _MODEL, _RELEASE), 2),
        "ruamel.yaml round trip, quotes preserved": (_round_trip, 2),
    }
    with tempfile.TemporaryDirectory() as folder:
        if program := os.environ.get("CLUSTER_KUSTOMIZE") or shutil.which("kustomize"):
            ways["kustomize edit set image (a process)"] = (lambda: _kustomize_edit(program, Path(folder)), 1)
        best = _in_turn(ways, rounds)
    ours, round_trip, *edit_set_image = (best[name] for name in ways if "without" not in name)
    figures = [
        Figure("promoter's edit and proof of a file", ours, at_most=2, unit="ms"),
        Figure("ruamel round trip / promoter", round_trip / ours, at_least=5),
        *(Figure("kustomize edit set image / promoter", peer / ours, at_least=15) for peer in edit_set_image),
    ]
    return Section(
        title="Overlay edit (per file, best of runs in turn)",
        rows=tuple((name, f"{milliseconds:.2f} ms") for name, milliseconds in best.items()),
        figures=tuple(figures),
        notes=() if edit_set_image else ("kustomize is not on this machine (CLUSTER_KUSTOMIZE, PATH): not measured.",),
    )


def _in_turn(ways: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, float]:
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, (edit, files) in ways.items():
            started = time.perf_counter()
            edit()
            best[name] = min(best[name], (time.perf_counter() - started) * 1000 / files)
    return best


def _round_trip() -> None:
    """The same values set in both files, written the way ruamel writes them."""
    yaml = YAML()
    yaml.preserve_quotes = True
    kustomization, config_map = yaml.load(_KUSTOMIZATION), yaml.load(_CONFIG_MAP)
    entry = next(image for image in kustomization["images"] if image["name"] == _MODEL.image_name)
    entry |= {"newName": _RELEASE.repository, "newTag": _RELEASE.tag, "digest": _RELEASE.digest}
    config_map["data"] |= {"modelVersion": _RELEASE.version, "modelDigest": _RELEASE.model_digest}
    for document in (kustomization, config_map):
        yaml.dump(document, io.StringIO())


def _kustomize_edit(program: str, folder: Path) -> None:
    folder.joinpath("kustomization.yaml").write_text(_KUSTOMIZATION)
    subprocess.run([program, "edit", "set", "image", f"{_MODEL.image_name}={_RELEASE.image}"], cwd=folder, check=True)


if __name__ == "__main__":
    section = measure()
    print(section.markdown())
    print(json.dumps(dataclasses.asdict(section), indent=2))
