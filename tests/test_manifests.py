"""The shipped manifests as Argo CD would apply them: what base, overlays and environments promise."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from promoter import config, template
from promoter.kustomize import Overlay, write_release
from promoter.models import Environment, Release
from promoter.render import tool

RELEASE = Release("fraud-detector", "7", "sha256:" + "b" * 64, "r.example.com/fraud", "v7-20261123000000", "sha256:" + "a" * 64)
ENVIRONMENTS = ("staging", "production")
Manifest = dict[str, Any]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A GitOps repository as it starts."""
    for name, content in template.files():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path


def environment(repository: Path, name: str) -> Environment:
    return config.load(repository / config.FILE).environment(name)


def carry(repository: Path, name: str, release: Release) -> None:
    """Writes the release into the overlay, as a promotion does."""
    overlay, model = f"overlays/{name}", environment(repository, name).model
    files = (f"{overlay}/kustomization.yaml", f"{overlay}/{model.release_file}")
    kustomization, config_map = ((repository / file).read_bytes() for file in files)
    edited = write_release(Overlay(overlay, files[0], kustomization, files[1], config_map), model, release)
    for file, content in edited.files.items():
        (repository / file).write_bytes(content)


def rendered(repository: Path, name: str) -> list[Manifest]:
    command = tool()
    if command is None:
        pytest.skip("neither kustomize nor kubectl is here")
    done = subprocess.run([*command, str(repository / "overlays" / name)], capture_output=True, text=True, check=True)
    return list(YAML(typ="safe").load_all(done.stdout))


def named(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


def rollout(manifests: list[Manifest]) -> Manifest:
    [found] = named(manifests, "Rollout").values()
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_release_reaches_the_pods_and_nothing_else_carries_it(repository: Path, name: str) -> None:
    carry(repository, name, RELEASE)
    manifests = rendered(repository, name)
    pod = rollout(manifests)["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert container["image"] == RELEASE.image
    environ = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environ["MODEL_NAME"] == RELEASE.model
    assert environ["MODEL_VERSION"] == pod["metadata"]["labels"]["model-version"] == RELEASE.version
    assert environ["MODEL_DIGEST"] == RELEASE.model_digest
    assert named(manifests, "ConfigMap") == {}, "the release's ConfigMap is local to the build"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_everything_lies_in_the_namespace_that_the_application_syncs_to(repository: Path, name: str) -> None:
    application = YAML(typ="safe").load((repository / f"environments/{name}.yaml").read_text())
    wanted = application["spec"]["destination"]["namespace"]
    assert {manifest["metadata"]["namespace"] for manifest in rendered(repository, name)} == {wanted}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_the_rollout_names_is_there(repository: Path, name: str) -> None:
    manifests = rendered(repository, name)
    spec = rollout(manifests)["spec"]
    canary, pod = spec["strategy"]["canary"], spec["template"]
    services, templates = named(manifests, "Service"), named(manifests, "AnalysisTemplate")
    assert {canary["stableService"], canary["canaryService"]} < set(services)
    ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
    for service in services.values():
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    for analysis in [step["analysis"] for step in canary["steps"] if "analysis" in step]:
        given = {argument["name"] for argument in analysis["args"]}
        for used in analysis["templates"]:
            assert {argument["name"] for argument in templates[used["templateName"]]["spec"]["args"]} == given


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_canary_that_never_gets_ready_is_aborted_and_a_bad_answer_fails_the_analysis(repository: Path, name: str) -> None:
    manifests = rendered(repository, name)
    assert rollout(manifests)["spec"]["progressDeadlineAbort"] is True
    for analysis in named(manifests, "AnalysisTemplate").values():
        for metric in analysis["spec"]["metrics"]:
            assert (metric["failureLimit"], metric["consecutiveErrorLimit"]) == (0, 0)
            assert "{{args.model-version}}" in metric["successCondition"]
            host = metric["provider"]["web"]["url"].removeprefix("http://").partition(".")[0]
            assert host == rollout(manifests)["spec"]["strategy"]["canary"]["canaryService"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_pods_run_without_privileges(repository: Path, name: str) -> None:
    pod = rollout(rendered(repository, name))["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} < set(container)


def test_a_release_put_back_restores_the_identical_pod_template(repository: Path) -> None:
    carry(repository, "staging", RELEASE)
    before = rollout(rendered(repository, "staging"))
    other = replace(
        RELEASE, version="8", model_digest="sha256:" + "c" * 64, digest="sha256:" + "d" * 64, tag="v8-20261124000000"
    )
    carry(repository, "staging", other)
    assert rollout(rendered(repository, "staging")) != before
    carry(repository, "staging", RELEASE)
    assert rollout(rendered(repository, "staging")) == before


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_points_at_its_overlay_and_leaves_replicas_alone(repository: Path, name: str) -> None:
    application = environment(repository, name).application
    assert application.path == f"overlays/{name}"
    assert (repository / application.path / "kustomization.yaml").is_file()
    manifest = YAML(typ="safe").load((repository / f"environments/{name}.yaml").read_text())
    ignored = manifest["spec"]["ignoreDifferences"]
    assert [(rule["kind"], rule["jsonPointers"]) for rule in ignored] == [("Rollout", ["/spec/replicas"])]
    assert "RespectIgnoreDifferences=true" in manifest["spec"]["syncPolicy"]["syncOptions"]
