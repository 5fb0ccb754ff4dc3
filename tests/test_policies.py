"""Every render against what AKS enforces, Pod Security `restricted`, and rules that companies use; what is not followed is in
docs/manifests.md."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.manifests import CHOICES, ENVIRONMENTS, Built, Manifest, build, built, named, workload
from tests.support.policies import POLICIES, Policy, states

__all__ = ["built"]

RENDERS = [(name, components) for name in ENVIRONMENTS for components in CHOICES]
# What a pod of every earlier base has: a Service that selects by anything else is without pods while an upgrade rolls.
EARLIER = {"app": "inference-service", "azure.workload.identity/use": "true"}


def found(manifests: list[Manifest]) -> list[str]:
    return [f"{policy.name}: {what}" for policy in POLICIES for what in policy.rule(manifests)]


@pytest.mark.parametrize(
    ("name", "components"), RENDERS, ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
def test_a_render_keeps_every_policy(built: Built, name: str, components: tuple[str, ...]) -> None:
    assert found(built(name, *components)) == []


def test_promoters_own_manifests_keep_every_policy(built: Built) -> None:
    assert found(build(built.root / "overlays/promoter")) == []


@pytest.mark.parametrize("components", CHOICES, ids=lambda names: "+".join(names) or "as-shipped")
def test_an_upgrade_leaves_no_service_without_pods(built: Built, components: tuple[str, ...]) -> None:
    manifests = built("production", *components)
    services = named(manifests, "Service").values()
    assert services
    for service in services:
        assert service["spec"]["selector"].items() <= EARLIER.items()
    assert workload(manifests)["spec"]["selector"] == {"matchLabels": {"app": "inference-service"}}, "it can't be changed"


def test_the_states_of_a_release_are_looked_at(built: Built) -> None:
    """So that the rule of unique selectors sees the state in which stable and canary have the same hash."""
    canary = dict(list(states(built("production")))[1:])["between releases"]
    pinned = {name for name, selector in canary.items() if selector.get("rollouts-pod-template-hash") == "a"}
    assert pinned == {"inference-service-stable", "inference-service-canary"}
    blue_green = dict(list(states(built("production", "blue-green")))[1:])["during a release"]
    assert {selector["rollouts-pod-template-hash"] for selector in blue_green.values()} == {"a", "b"}


# -- each rule can fail -------------------------------------------------------------------------------------------------------


def server(manifests: list[Manifest]) -> Any:
    return workload(manifests)["spec"]["template"]["spec"]


def container(manifests: list[Manifest]) -> Any:
    return server(manifests)["containers"][0]


def analysis_job(manifests: list[Manifest]) -> Any:
    return named(manifests, "AnalysisTemplate")["inference-service-health"]["spec"]["metrics"][0]["provider"]["job"]["spec"][
        "template"
    ]["spec"]


def together(manifests: list[Manifest]) -> None:
    """As they were: three Services with one selector."""
    for service in named(manifests, "Service").values():
        service["spec"]["selector"] = {"app": "inference-service"}


Break = Callable[[list[Manifest]], object]
BREAKS: dict[str, Break] = {
    "unique_service_selectors": together,
    "readiness_and_liveness_probes": lambda all_: analysis_job(all_)["containers"][0].pop("livenessProbe"),
    "cpu_and_memory_limits": lambda all_: container(all_)["resources"]["limits"].pop("cpu"),
    "cpu_and_memory_requests": lambda all_: container(all_)["resources"]["requests"].update(cpu="50m"),
    "anti_affinity_or_topology_spread": lambda all_: (
        server(all_).pop("affinity"),
        server(all_).pop("topologySpreadConstraints"),
    ),
    "no_labels_of_aks": lambda all_: (
        all_[0]["metadata"].setdefault("labels", {}).update({"kubernetes.azure.com/mode": "system"})
    ),
    "no_toleration_of_reserved_taints": lambda all_: server(all_).update(tolerations=[{"key": "CriticalAddonsOnly"}]),
    "images_by_registry_and_never_latest": lambda all_: container(all_).update(image="r.example.com/fraud:latest"),
    "csi_storage_classes": lambda all_: all_.append(
        {"kind": "StorageClass", "metadata": {"name": "old", "namespace": "n"}, "provisioner": "kubernetes.io/azure-disk"}
    ),
    "budgets_that_let_a_node_be_drained": lambda all_: named(all_, "PodDisruptionBudget")["inference-service"]["spec"].update(
        minAvailable=3
    ),
    "restricted_pods": lambda all_: server(all_)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "restricted_containers": lambda all_: container(all_)["securityContext"].update(allowPrivilegeEscalation=True),
    "read_only_root_and_high_user": lambda all_: server(all_)["securityContext"].update(runAsUser=1000),
    "no_token_and_an_account_of_its_own": lambda all_: server(all_).pop("serviceAccountName"),
    "roles_without_wildcards_or_anonymous": lambda all_: named(all_, "Role")["inference-service"].update(
        rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}]
    ),
    "services_inside_the_cluster_that_lead_somewhere": lambda all_: named(all_, "Service")["inference-service"]["spec"].update(
        selector={"app": "another"}
    ),
    "every_pod_under_a_network_policy": lambda all_: named(all_, "NetworkPolicy")["inference-service"]["spec"].update(
        policyTypes=["Ingress"]
    ),
    "nothing_in_the_default_namespace": lambda all_: all_[0]["metadata"].pop("namespace"),
    "no_secret_in_plain_text": lambda all_: container(all_)["env"].append({"name": "MLFLOW_TRACKING_TOKEN", "value": "t"}),
    "scaled_objects_with_room": lambda all_: named(all_, "ScaledObject")["inference-service"]["spec"].update(
        minReplicaCount=10
    ),
    "autoscalers_with_room": lambda all_: named(all_, "HorizontalPodAutoscaler")["inference-service"]["spec"].update(
        maxReplicas=3
    ),
}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.rule.__name__)
def test_a_rule_finds_what_it_is_about(built: Built, policy: Policy) -> None:
    manifests = copy.deepcopy([*built("production"), *named(built("production", "keda"), "ScaledObject").values()])
    assert list(policy.rule(manifests)) == []
    BREAKS[policy.rule.__name__](manifests)
    assert list(policy.rule(manifests)) != []


def test_the_documentation_names_the_sources() -> None:
    text = (Path(__file__).parent.parent / "docs/manifests.md").read_text()
    sources = {policy.source.partition(" (")[0].partition(",")[0] for policy in POLICIES}
    assert [source for source in sources if source not in text] == []
