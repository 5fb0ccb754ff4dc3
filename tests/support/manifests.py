"""The shipped manifests with a release, built by the real kustomize: any overlay with any components."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from promoter import config
from promoter.commands.scaffold import template
from promoter.kustomize.release import Overlay, write_release
from promoter.kustomize.render import tool
from promoter.models import Release

RELEASE = Release("fraud-detector", "7", "sha256:" + "b" * 64, "r.example.com/fraud", "v7-20261123000000", "sha256:" + "a" * 64)
ENVIRONMENTS = ("staging", "production")
COMPONENTS = (
    "artifact-store",
    "blue-green",
    "deployment",
    "gateway-api",
    "gpu",
    "image-pull-secrets",
    "istio",
    "keda",
    "monitoring",
    "monitoring-azure",
    "prometheus-analysis",
    "tracing",
)
TOGETHER = (
    ("blue-green", "prometheus-analysis", "monitoring", "gpu", "tracing"),
    ("blue-green", "artifact-store", "image-pull-secrets", "monitoring-azure"),
    ("keda", "tracing", "deployment", "monitoring", "artifact-store", "image-pull-secrets", "gpu"),
    ("istio", "prometheus-analysis", "monitoring", "artifact-store", "keda"),
    ("gateway-api", "prometheus-analysis", "monitoring-azure", "artifact-store", "image-pull-secrets", "gpu"),
)
CHOICES: tuple[tuple[str, ...], ...] = ((), *((name,) for name in COMPONENTS), *TOGETHER)
"""What is switched on: nothing, each component alone, and what people would choose together."""

Manifest = dict[str, Any]


@dataclass
class Built:
    """A repository as it starts, with a release in its overlays; what was built of it is kept."""

    root: Path
    _kept: dict[tuple[str, tuple[str, ...]], list[Manifest]] = field(default_factory=dict)

    def __call__(self, environment: str, *components: str) -> list[Manifest]:
        """The manifests of an overlay with these components switched on. Nothing may be written to stderr."""
        key = (environment, components)
        if key not in self._kept:
            folder = self.root / "overlays" / "-".join((environment, *components))
            if components:
                write_overlay(self.root / "overlays" / environment, folder, components)
            self._kept[key] = build(folder)
        return self._kept[key]


def write_overlay(shipped: Path, folder: Path, components: Sequence[str]) -> None:
    """A copy of an overlay with components switched on."""
    folder.mkdir()
    for file in shipped.iterdir():
        text, first = file.read_text(), "- ../../base/components/release\n"
        listed = "".join(f"- ../../base/components/{name}\n" for name in components)
        (folder / file.name).write_text(text.replace(first, listed + first))


def build(folder: Path) -> list[Manifest]:
    """What kustomize makes of a folder; it must succeed without a warning."""
    command = tool()
    if command is None:
        pytest.skip("neither kustomize nor kubectl is here")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return [item for item in YAML(typ="safe", pure=True).load_all(done.stdout) if item]


def write_template(root: Path) -> Path:
    """A GitOps repository as it starts."""
    for name, content in template.files():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def carry(root: Path, name: str, release: Release) -> None:
    """Writes the release into the overlay, as a promotion does."""
    overlay, model = f"overlays/{name}", config.load(root / config.FILE).environment(name).model
    files = (f"{overlay}/kustomization.yaml", f"{overlay}/{model.release_file}")
    kustomization, config_map = ((root / file).read_bytes() for file in files)
    edited = write_release(Overlay(overlay, files[0], kustomization, files[1], config_map), model, release)
    for file, content in edited.files.items():
        (root / file).write_bytes(content)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = write_template(tmp_path_factory.mktemp("repository"))
    for name in ENVIRONMENTS:
        carry(root, name, RELEASE)
    return Built(root)


# -- looking into what was built ------------------------------------------------------------------------------------------


def named(manifests: Sequence[Manifest], kind: str) -> dict[str, Manifest]:
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


def workload(manifests: Sequence[Manifest]) -> Manifest:
    """The Rollout or Deployment."""
    [found] = [manifest for manifest in manifests if manifest["kind"] in ("Rollout", "Deployment")]
    return found


def jobs(manifests: Sequence[Manifest]) -> dict[str, Manifest]:
    """The specs of the Jobs that the analyses run, by the name of the metric."""
    metrics = (metric for item in named(manifests, "AnalysisTemplate").values() for metric in item["spec"]["metrics"])
    return {metric["name"]: metric["provider"]["job"]["spec"] for metric in metrics if "job" in metric["provider"]}


def pod_templates(manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    """Of everything that makes pods."""
    yield workload(manifests)["spec"]["template"]
    yield from (job["template"] for job in jobs(manifests).values())


def pod_templates_of(manifests: Sequence[Manifest]) -> Iterator[tuple[str, int, Manifest]]:
    """The name, the replicas and the pod template of everything that makes pods, promoter's own manifests too."""
    for kind in ("Rollout", "Deployment"):
        for name, item in named(manifests, kind).items():
            yield f"{kind} {name}", item["spec"]["replicas"], item["spec"]["template"]
    for name, item in named(manifests, "CronJob").items():
        yield f"CronJob {name}", 1, item["spec"]["jobTemplate"]["spec"]["template"]
    yield from ((f"Job of the analysis {name}", 1, job["template"]) for name, job in jobs(manifests).items())


def matches(selector: Manifest, labels: Manifest) -> bool:
    """Whether a Kubernetes label selector selects these labels."""
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    assert {one["operator"] for one in expressions} <= {"In"}, "only In is understood here"
    return wanted.items() <= labels.items() and all(labels.get(one["key"]) in one["values"] for one in expressions)
