"""The model as an image that pods mount: rendered, judged, and built by promoter."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from promoter import config
from promoter.argocd.answers import pod_template
from promoter.config.file import ImageSection
from promoter.errors import ConfigError, RefusedError
from promoter.kustomize.rendered import carrying
from promoter.models import Embed
from tests.support.manifests import RELEASE, Built, Manifest, build, built, workload
from tests.support.policies import POLICIES
from tests.test_manifest_schemas import VALIDATORS, identity_of
from tests.test_manifests import analyses, resolved

__all__ = ["built"]

RUNTIME = "registry.example.com/runtime:runtime-0f3a51c2"
STRATEGIES = pytest.mark.parametrize("components", [(), ("blue-green",), ("deployment",), ("istio",)], ids=str)


def mounted(built: Built, *components: str) -> list[Manifest]:
    """The production overlay with the component, and the runtime's entry under `images:`."""
    folder = built.root / "overlays" / "-".join(("volume", *components))
    if not folder.exists():
        folder.mkdir()
        for file in (built.root / "overlays/production").iterdir():
            (folder / file.name).write_text(file.read_text())
        file, first = folder / "kustomization.yaml", "- ../../base/components/release\n"
        listed = "".join(f"- ../../base/components/{name}\n" for name in (*components, "model-volume"))
        name, _, tag = RUNTIME.rpartition(":")
        entry = f"images:\n- name: serving-runtime\n  newName: {name}\n  newTag: {tag}\n"
        file.write_text(file.read_text().replace(first, listed + first).replace("images:\n", entry))
    return build(folder)


@STRATEGIES
def test_pods_mount_the_release_and_run_the_runtime(built: Built, components: tuple[str, ...]) -> None:
    manifests = mounted(built, *components)
    pod = workload(manifests)["spec"]["template"]["spec"]
    [server] = pod["containers"]
    assert server["image"] == RUNTIME
    [volume] = [one for one in pod["volumes"] if "image" in one]
    assert volume["image"] == {"reference": RELEASE.image, "pullPolicy": "IfNotPresent"}
    [mount] = [one for one in server["volumeMounts"] if one["name"] == volume["name"]]
    environ = {one["name"]: one["value"] for one in server["env"]}
    assert environ["MODEL_PATH"] == f"{mount['mountPath']}/opt/model", "where the image has its model"
    assert environ["MODEL_VERSION"] == RELEASE.version


@pytest.mark.parametrize("components", [(), ("blue-green",)], ids=str)
def test_the_analysis_mounts_the_same_model(built: Built, components: tuple[str, ...]) -> None:
    manifests = mounted(built, *components)
    # Argo's substitution is of text; the reference is found in the Rollout by the path in the argument.
    metrics = resolved(manifests, analyses(manifests)[0])
    job = metrics["predictions"]["provider"]["job"]["spec"]["template"]["spec"]
    assert (
        job["containers"][0]["image"]
        == metrics["health"]["provider"]["job"]["spec"]["template"]["spec"]["containers"][0]["image"]
    )
    assert job["containers"][0]["image"] == RUNTIME
    assert [one["image"]["reference"] for one in job["volumes"] if "image" in one] == [RELEASE.image]
    assert {"name": "MODEL_PATH", "value": "/opt/model-image/opt/model"} in job["containers"][0]["env"]


@STRATEGIES
def test_it_keeps_the_policies_and_the_schemas(built: Built, components: tuple[str, ...]) -> None:
    manifests = mounted(built, *components)
    assert [what for policy in POLICIES for what in policy.rule(manifests)] == []
    known = [item for item in manifests if identity_of(item) in VALIDATORS]
    assert [error.message for item in known for error in VALIDATORS[identity_of(item)].iter_errors(item)] == []
    assert known or "deployment" in components


def test_the_argument_of_the_analysis_is_the_place_of_the_volume(built: Built) -> None:
    manifests = mounted(built)
    index = [index for index, one in enumerate(workload(manifests)["spec"]["template"]["spec"]["volumes"]) if "image" in one]
    [path] = set(re.findall(r"volumes\[(\d)\]", json.dumps(manifests)))
    assert index == [int(path)]


# -- judged -------------------------------------------------------------------------------------------------------------------


def test_a_volumes_image_is_read_as_a_containers(built: Built) -> None:
    """In the published schema of a Rollout, as Argo CD returns it."""
    template = pod_template(workload(mounted(built))["spec"]["template"])
    assert template.runs(RELEASE)
    assert template.runs_repository(RELEASE)
    running = template.release(RELEASE.repository)
    assert running is not None
    assert (running.image.digest, running.model_version) == (RELEASE.digest, RELEASE.version)
    assert not template.runs(replace(RELEASE, digest="sha256:" + "c" * 64))
    assert not template.runs(replace(RELEASE, version="8"))


def test_another_image_in_the_volume_is_another_release(built: Built) -> None:
    document = json.loads(json.dumps(workload(mounted(built))["spec"]["template"]))
    document["spec"]["volumes"][1]["image"]["reference"] = f"{RELEASE.repository}:v6@sha256:{'c' * 64}"
    assert not pod_template(document).runs_digest(RELEASE)
    assert pod_template(document).runs_repository(RELEASE), "its own, at another release"
    del document["spec"]["volumes"][1]["image"]
    assert not pod_template(document).runs_repository(RELEASE)


def test_the_render_is_found_to_run_the_release(built: Built) -> None:
    text = json.dumps(workload(mounted(built)))
    assert carrying(text, "overlays/production", RELEASE)
    with pytest.raises(RefusedError, match=f"they run .*{RUNTIME}"):
        carrying(text.replace(RELEASE.image, "registry.example.com/another:v1"), "overlays/production", RELEASE)


# -- built --------------------------------------------------------------------------------------------------------------------


def configured(folder: Path, image: str) -> config.Config:
    file = Path(__file__).parent.parent / "promoter.yaml"
    text = file.read_text()
    for name in ("staging", "production"):
        target = folder / f"environments/{name}.yaml"
        target.parent.mkdir(exist_ok=True)
        target.write_text((file.parent / f"environments/{name}.yaml").read_text())
    (folder / "promoter.yaml").write_text(text.partition("\nimage:")[0] + f"\nimage:\n{image}")
    return config.load(folder / "promoter.yaml")


def test_the_image_is_the_model_alone(tmp_path: Path) -> None:
    image = configured(tmp_path, "  model: volume\n").image
    assert (image.model, image.runtime) == (Embed.VOLUME, "scratch")


@pytest.mark.parametrize("line", ["base: python:3.11-slim", "runtime: scratch", "embed-limit: 2 GiB", "trial: false"])
def test_what_a_model_alone_has_not_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=rf"image\.{line.partition(':')[0]}: can't go with image\.model: volume"):
        configured(tmp_path, f"  model: volume\n  {line}\n")


def test_the_key_has_three_values() -> None:
    assert [one.value for one in Embed] == ["embed", "uri", "volume"]
    assert ImageSection.model_fields["model"].default is Embed.EMBED
