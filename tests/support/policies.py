"""What platforms and companies refuse or warn of, as rules over rendered manifests, each with its source.

A rule of an admission controller sees pods, whatever made them: Rollouts, the Jobs of analyses and CronJobs are looked into as a cluster
would run them. The rules are written here from what their sources say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.manifests import Manifest, named, pod_templates_of

HASH = "rollouts-pod-template-hash"
Rule = Callable[[Sequence[Manifest]], Iterator[str]]


@dataclass(frozen=True)
class Policy:
    """A rule, and the words under which its source has it."""

    source: str
    rule: Rule

    @property
    def name(self) -> str:
        return f"{self.source}: {self.rule.__name__.replace('_', ' ')}"


@dataclass(frozen=True)
class Pod:
    """A pod as its workload makes it; `job` for one that ends by itself."""

    name: str
    labels: Mapping[str, str]
    spec: Manifest
    replicas: int
    job: bool

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        for container in [*self.spec.get("initContainers", []), *self.spec["containers"]]:
            yield f"{self.name}, container {container['name']}", container


def pods(manifests: Sequence[Manifest]) -> Iterator[Pod]:
    """Those of workloads and Jobs; the Jobs of an analysis have the image of the release."""
    image = next(template["spec"]["containers"][0]["image"] for _, _, template in pod_templates_of(manifests))
    for name, replicas, template in pod_templates_of(manifests):
        spec = json.loads(json.dumps(template["spec"]).replace("{{args.image}}", image))
        yield Pod(name, template["metadata"]["labels"], spec, replicas, spec.get("restartPolicy") == "Never")


def states(manifests: Sequence[Manifest]) -> Iterator[tuple[str, dict[str, dict[str, str]]]]:
    """The selectors of the Services, as rendered and as Argo Rollouts leaves them between and during releases.

    It adds the hash of a ReplicaSet to the Services of a strategy (rollout/service.go): of the same one while nothing is released.
    """
    services = {name: dict(item["spec"]["selector"]) for name, item in named(manifests, "Service").items()}
    yield "as rendered", services
    for rollout in named(manifests, "Rollout").values():
        canary, blue_green = (rollout["spec"]["strategy"].get(kind, {}) for kind in ("canary", "blueGreen"))
        old = canary.get("stableService") or blue_green.get("activeService")
        new = canary.get("canaryService") or blue_green.get("previewService")
        for state, hashes in (("between releases", ("a", "a")), ("during a release", ("a", "b"))):
            pinned = {name: {HASH: value} for name, value in zip((old, new), hashes, strict=True) if name}
            yield state, {name: selector | pinned.get(name, {}) for name, selector in services.items()}


# -- AKS deployment safeguards ------------------------------------------------------------------------------------------------


def unique_service_selectors(manifests: Sequence[Manifest]) -> Iterator[str]:
    for state, services in states(manifests):
        seen: dict[str, str] = {}
        for name, selector in services.items():
            flat = ",".join(sorted(f"{key}:{value}" for key, value in selector.items()))
            if flat in seen:
                yield f"Service {name}: same selector as {seen[flat]}, {state}"
            seen.setdefault(flat, name)


def readiness_and_liveness_probes(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):  # the constraint matches every Pod, those of Jobs too
        for where, container in pod.containers():
            for probe in ("readinessProbe", "livenessProbe"):
                if not {"httpGet", "tcpSocket", "exec"} & set(container.get(probe) or {}):
                    yield f"{where}: no {probe}"


def cpu_and_memory_limits(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        for where, container in pod.containers():
            for kind in {"cpu", "memory"} - set(container["resources"].get("limits", {})):
                yield f"{where}: no limit of {kind}"


def cpu_and_memory_requests(manifests: Sequence[Manifest]) -> Iterator[str]:
    least = {"cpu": 0.1, "memory": 100 * 2**20}  # what is below it is raised: the pods would differ from Git
    for pod in pods(manifests):
        for where, container in pod.containers():
            requests = container["resources"].get("requests", {})
            for kind, minimum in least.items():
                if quantity(requests.get(kind, "0")) < minimum:
                    yield f"{where}: request of {kind} {requests.get(kind)}"


def anti_affinity_or_topology_spread(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        apart = pod.spec.get("affinity", {}).get("podAntiAffinity") or pod.spec.get("topologySpreadConstraints")
        if pod.replicas > 1 and not apart:
            yield f"{pod.name}: neither podAntiAffinity nor topologySpreadConstraints"


def no_labels_of_aks(manifests: Sequence[Manifest]) -> Iterator[str]:
    for item in manifests:
        for label in item["metadata"].get("labels", {}):
            if label.startswith("kubernetes.azure.com/"):
                yield f"{item['kind']} {item['metadata']['name']}: label {label}"


def no_toleration_of_reserved_taints(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        for toleration in pod.spec.get("tolerations", []):
            if toleration.get("key") in (None, "CriticalAddonsOnly"):
                yield f"{pod.name}: tolerates {toleration.get('key', 'everything')}"


def images_by_registry_and_never_latest(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        for where, container in pod.containers():
            if not re.fullmatch(r"[\w.-]+[.:][\w.:-]+/[\w./-]+:(?!latest\b)[\w.-]+(@sha256:[0-9a-f]{64})?", container["image"]):
                yield f"{where}: image {container['image']}"


def csi_storage_classes(manifests: Sequence[Manifest]) -> Iterator[str]:
    for name, item in named(manifests, "StorageClass").items():
        if item["provisioner"].startswith("kubernetes.io/azure-"):
            yield f"StorageClass {name}: {item['provisioner']}"


def budgets_that_let_a_node_be_drained(manifests: Sequence[Manifest]) -> Iterator[str]:
    for name, item in named(manifests, "PodDisruptionBudget").items():
        selector, spec = item["spec"]["selector"]["matchLabels"], item["spec"]
        [replicas] = [pod.replicas for pod in pods(manifests) if not pod.job and selector.items() <= pod.labels.items()]
        if spec.get("maxUnavailable") == 0 or spec.get("minAvailable", 0) >= replicas:
            yield f"PodDisruptionBudget {name}: no pod of {replicas} may go"
        if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"PodDisruptionBudget {name}: a pod that is not ready keeps its node"


# -- Pod Security Standards, restricted ---------------------------------------------------------------------------------------


def restricted_pods(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        context = pod.spec.get("securityContext", {})
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(field):
                yield f"{pod.name}: {field}"
        allowed = {
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
            "image",
        }
        for volume in pod.spec.get("volumes", []):
            if not set(volume) - {"name"} <= allowed:
                yield f"{pod.name}: volume {volume}"
        if context.get("sysctls") or "hostProcess" in context.get("windowsOptions", {}):
            yield f"{pod.name}: {context}"


def restricted_containers(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        for where, container in pod.containers():
            context = pod.spec.get("securityContext", {}) | container.get("securityContext", {})
            capabilities = context.get("capabilities", {})
            wrong = {
                "privileged": context.get("privileged", False),
                "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation", True),
                "may run as root": not context.get("runAsNonRoot") or context.get("runAsUser") == 0,
                "seccompProfile": context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
                "capabilities": capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
                "procMount": context.get("procMount", "Default") != "Default",
                "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
                "seLinuxOptions": context.get("seLinuxOptions"),
            }
            yield from (f"{where}: {what}" for what, is_wrong in wrong.items() if is_wrong)


# -- Gatekeeper's library, kube-linter, polaris, checkov ----------------------------------------------------------------------


def read_only_root_and_high_user(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        if pod.spec["securityContext"].get("runAsUser", 0) < 10000:
            yield f"{pod.name}: a user of the node may have this id"
        for where, container in pod.containers():
            if not container["securityContext"].get("readOnlyRootFilesystem"):
                yield f"{where}: root file system can be written"


def no_token_and_an_account_of_its_own(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        account = pod.spec.get("serviceAccountName", "default")
        if pod.spec.get("automountServiceAccountToken") is not False or account not in named(manifests, "ServiceAccount"):
            yield f"{pod.name}: account {account}, token {pod.spec.get('automountServiceAccountToken')}"


def roles_without_wildcards_or_anonymous(manifests: Sequence[Manifest]) -> Iterator[str]:
    for name, item in named(manifests, "Role").items():
        if any("*" in rule[key] for rule in item["rules"] for key in ("verbs", "resources", "apiGroups")):
            yield f"Role {name}: *"
    for name, item in named(manifests, "RoleBinding").items():
        yield from (f"RoleBinding {name}: {one['name']}" for one in item["subjects"] if one["kind"] != "ServiceAccount")


def services_inside_the_cluster_that_lead_somewhere(manifests: Sequence[Manifest]) -> Iterator[str]:
    every = [pod for pod in pods(manifests) if not pod.job]
    for name, item in named(manifests, "Service").items():
        spec = item["spec"]
        if spec.get("type", "ClusterIP") != "ClusterIP" or spec.get("externalIPs"):
            yield f"Service {name}: {spec.get('type')}"
        found = [pod for pod in every if spec["selector"].items() <= pod.labels.items()]
        ports = {port["name"] for pod in found for _, container in pod.containers() for port in container.get("ports", [])}
        if not found or not {port["targetPort"] for port in spec["ports"]} <= ports:
            yield f"Service {name}: leads to no port of a pod"


def every_pod_under_a_network_policy(manifests: Sequence[Manifest]) -> Iterator[str]:
    chosen = [item["spec"] for item in named(manifests, "NetworkPolicy").values()]
    for pod in pods(manifests):
        mine = [one for one in chosen if one["podSelector"].get("matchLabels", {}).items() <= pod.labels.items()]
        if not {"Ingress", "Egress"} <= {kind for one in mine for kind in one["policyTypes"]}:
            yield f"{pod.name}: no NetworkPolicy for both directions"


def nothing_in_the_default_namespace(manifests: Sequence[Manifest]) -> Iterator[str]:
    for item in manifests:
        if item["metadata"].get("namespace", "default") == "default":
            yield f"{item['kind']} {item['metadata']['name']}"


def no_secret_in_plain_text(manifests: Sequence[Manifest]) -> Iterator[str]:
    for pod in pods(manifests):
        for where, container in pod.containers():
            for variable in container.get("env", []):
                if re.search("TOKEN|PASSWORD|SECRET|KEY", variable["name"]) and "value" in variable:
                    yield f"{where}: {variable['name']}"
    yield from (f"Secret {name}" for name in named(manifests, "Secret"))


def autoscalers_with_room(manifests: Sequence[Manifest]) -> Iterator[str]:
    for name, item in named(manifests, "HorizontalPodAutoscaler").items():
        target = item["spec"]["scaleTargetRef"]
        if target["name"] not in named(manifests, target["kind"]) or item["spec"]["minReplicas"] >= item["spec"]["maxReplicas"]:
            yield f"HorizontalPodAutoscaler {name}: {item['spec']['minReplicas']} to {item['spec']['maxReplicas']}"


def scaled_objects_with_room(manifests: Sequence[Manifest]) -> Iterator[str]:
    for name, item in named(manifests, "ScaledObject").items():
        spec, target = item["spec"], item["spec"]["scaleTargetRef"]
        if target["name"] not in named(manifests, target["kind"]) or spec["minReplicaCount"] >= spec["maxReplicaCount"]:
            yield f"ScaledObject {name}: {spec['minReplicaCount']} to {spec['maxReplicaCount']}"


def quantity(text: Any) -> float:
    """A quantity of Kubernetes in CPUs or bytes."""
    number, unit = re.fullmatch(r"([0-9.]+)(\w*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 1e3, "M": 1e6, "G": 1e9}[unit]


AKS = "AKS deployment safeguards 1.3.3-preview (Azure/azure-policy, AKS_Safeguards.json)"
LIBRARY = "Gatekeeper library, kube-linter, polaris and checkov"
POLICIES = [
    *(
        Policy(AKS, rule)
        for rule in (
            unique_service_selectors,
            readiness_and_liveness_probes,
            cpu_and_memory_limits,
            cpu_and_memory_requests,
            anti_affinity_or_topology_spread,
            no_labels_of_aks,
            no_toleration_of_reserved_taints,
            images_by_registry_and_never_latest,
            csi_storage_classes,
            budgets_that_let_a_node_be_drained,
        )
    ),
    *(
        Policy("Pod Security Standards, restricted, of Kubernetes 1.35", rule)
        for rule in (restricted_pods, restricted_containers)
    ),
    *(
        Policy(LIBRARY, rule)
        for rule in (
            read_only_root_and_high_user,
            no_token_and_an_account_of_its_own,
            roles_without_wildcards_or_anonymous,
            services_inside_the_cluster_that_lead_somewhere,
            every_pod_under_a_network_policy,
            nothing_in_the_default_namespace,
            no_secret_in_plain_text,
            autoscalers_with_room,
            scaled_objects_with_room,
        )
    ),
]
