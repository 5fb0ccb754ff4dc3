"""promoter's own manifests and its image: what overlays/promoter builds to, and that the image fits it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from promoter.cli import app
from tests.support.manifests import Manifest, build, matches, named, write_template

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Of the files that a new repository starts from."""
    return build(write_template(tmp_path_factory.mktemp("repository")) / "overlays" / "promoter")


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    yield from (one["spec"]["template"] for one in named(manifests, "Deployment").values())
    yield from (one["spec"]["jobTemplate"]["spec"]["template"] for one in named(manifests, "CronJob").values())


def test_it_is_a_receiver_of_two_replicas_and_a_cron_job(manifests: list[Manifest]) -> None:
    kinds = sorted((item["kind"], item["metadata"]["name"]) for item in manifests if item["kind"] != "ConfigMap")
    assert kinds == [
        ("CronJob", "promoter-reconcile"),
        ("Deployment", "promoter-webhook"),
        ("NetworkPolicy", "promoter"),
        ("NetworkPolicy", "promoter-webhook"),
        ("PodDisruptionBudget", "promoter-webhook"),
        ("Service", "promoter-webhook"),
        ("ServiceAccount", "promoter"),
    ]
    assert {item["metadata"]["namespace"] for item in manifests} == {"promoter"}
    [receiver] = named(manifests, "Deployment").values()
    assert receiver["spec"]["replicas"] == 2
    [job] = named(manifests, "CronJob").values()
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_every_pod_runs_without_privileges(manifests: list[Manifest]) -> None:
    """What the Pod Security Standard `restricted` asks for, and a read-only root file system."""
    specs = [one["spec"] for one in pods(manifests)]
    assert len(specs) == 2
    for pod in specs:
        assert (pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (False, "promoter")
        context = pod["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 10001, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert container["resources"]["limits"]["memory"]
        assert "image" in container
        assert container["image"] == "registry.example.com/promoter:0.1.0"


def test_secrets_come_by_reference_only(manifests: list[Manifest]) -> None:
    assert named(manifests, "Secret") == {}
    [settings] = named(manifests, "ConfigMap").values()
    assert re.fullmatch(r"promoter-[0-9a-z]{10}", settings["metadata"]["name"])
    assert not [key for key in settings["data"] if re.search("TOKEN|PASSWORD|SECRET|KEY", key)]
    specs = [one["spec"] for one in pods(manifests)]
    assert len(specs) == 2
    for pod in specs:
        [container] = pod["containers"]
        sources = [source.get("configMapRef") or source["secretRef"] for source in container["envFrom"]]
        assert sources == [{"name": settings["metadata"]["name"]}, {"name": "promoter"}]
        assert "env" not in container
        mounted = {volume["name"]: volume for volume in pod["volumes"]}
        assert all(volume.keys() == {"name", "emptyDir"} or volume.keys() == {"name", "secret"} for volume in mounted.values())
        paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert paths.keys() == mounted.keys()
        assert settings["data"]["DOCKER_CONFIG"] == paths["registry"]
        assert settings["data"]["HOME"] == paths["tmp"]
    [receiver] = named(manifests, "Deployment").values()
    [container] = receiver["spec"]["template"]["spec"]["containers"]
    assert "--secret-file=/etc/promoter/webhook/secret" in container["args"]


def test_the_arguments_are_commands_and_options_of_promoter(manifests: list[Manifest]) -> None:
    settings = next(iter(named(manifests, "ConfigMap").values()))["data"]
    told = []
    for pod in pods(manifests):
        [container] = pod["spec"]["containers"]
        command: Any = typer.main.get_command(app)
        words = [word for word in container["args"] if not word.startswith("--")]
        for word in words:
            command = command.commands[word]
        options = [word.partition("=") for word in container["args"][len(words) :]]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {name for name, _, _ in options} <= known
        assert all(variable in settings for _, _, value in options for variable in re.findall(r"\$\((\w+)\)", value))
        told.append(" ".join(words))
    assert told == ["webhook serve", "reconcile"]


def test_the_service_leads_to_the_receiver_and_the_policies_cover_every_pod(manifests: list[Manifest]) -> None:
    receiver, job = pods(manifests)
    labels = receiver["metadata"]["labels"]
    [service] = named(manifests, "Service").values()
    [container] = receiver["spec"]["containers"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert not service["spec"]["selector"].items() <= job["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    assert {f"--port={ports['http']}", f"--health-port={ports['health']}"} <= set(container["args"])
    probes = [container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        (path, "health") for path in ("/health", "/health", "/ready")
    ]
    assert receiver["metadata"]["annotations"]["prometheus.io/port"] == str(ports["health"])
    [budget] = named(manifests, "PodDisruptionBudget").values()
    assert matches(budget["spec"]["selector"], labels)
    policies = named(manifests, "NetworkPolicy")
    common, incoming = policies["promoter"]["spec"], policies["promoter-webhook"]["spec"]
    assert all(matches(common["podSelector"], pod["metadata"]["labels"]) for pod in (receiver, job))
    assert common["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in common
    assert matches(incoming["podSelector"], labels)
    assert not matches(incoming["podSelector"], job["metadata"]["labels"])
    deliveries, scrapes = incoming["ingress"]
    assert (deliveries["ports"], scrapes["ports"]) == ([{"port": ports["http"]}], [{"port": ports["health"]}])
    gateway, prometheus = ({"kubernetes.io/metadata.name": name} for name in ("gateway-system", "monitoring"))
    for rule, namespace, allowed in (
        (deliveries, gateway, True),
        (deliveries, prometheus, False),
        (scrapes, gateway, False),
        (scrapes, prometheus, True),
    ):
        assert (
            any(matches(peer["namespaceSelector"], namespace) for peer in rule["from"] if "podSelector" not in peer) is allowed
        )


@pytest.mark.parametrize("taken", ["webhook", "reconcile"])
def test_each_component_stands_alone(tmp_path: Path, taken: str) -> None:
    file = write_template(tmp_path) / "overlays" / "promoter" / "kustomization.yaml"
    other = {"webhook": "reconcile", "reconcile": "webhook"}[taken]
    file.write_text(file.read_text().replace(f"- ../../base/promoter/{other}\n", ""))
    kinds = {item["kind"] for item in build(file.parent)}
    assert ("CronJob" in kinds, "Deployment" in kinds) == (taken == "reconcile", taken == "webhook")


def test_the_image_has_what_promoter_starts() -> None:
    """The Dockerfile is built by .github/workflows/ci.yml; here that it fits the manifests and the build's context."""
    text = (ROOT / "Dockerfile").read_text()
    *_, final = re.split(r"^FROM ", text, flags=re.MULTILINE)
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["promoter"\]$', final, re.MULTILINE)
    assert re.search(r"install .* git\b", final)
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert (ROOT / ".dockerignore").read_text().startswith("*\n")
    assert all((ROOT / name).exists() for name in let_in)
    assert {
        ".ci/install",
        ".ci/lock.py",
        ".ci/uv",
        "requirements.install.lock",
        "pyproject.toml",
        "promoter",
        "base",
        "overlays",
    } <= set(let_in)
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert len(built) > 4
    assert [name for name in built if not any(name == one or name.startswith(f"{one}/") for one in let_in)] == []
