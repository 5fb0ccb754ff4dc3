"""The NetworkPolicies against each flow of the rendered set. Who speaks to whom is read from the rendered objects: ports of
Services, commands of Jobs, annotations, settings. Nothing here enforces a policy: that is the cluster's network."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

import pytest

from tests.support.manifests import Built, Manifest, built, jobs, matches, named, workload

__all__ = ["built"]

NAMESPACE = "fraud-detector-production"
SERVER = "inference-service"
STRATEGIES = pytest.mark.parametrize("components", [(), ("blue-green",), ("istio",)], ids=str)


@dataclass(frozen=True)
class Peer:
    """A pod by its labels and namespace, or an address outside of the cluster."""

    labels: Manifest = field(default_factory=dict)
    namespace: str = NAMESPACE
    address: str = ""


GATEWAY = Peer({"app": "gateway"}, "gateway-system")
PROMETHEUS = Peer({"app.kubernetes.io/name": "prometheus"}, "monitoring")
AZURE_PROMETHEUS = Peer({"rsName": "ama-metrics"}, "kube-system")
DNS = Peer({"k8s-app": "kube-dns"}, "kube-system")
NODE_DNS = Peer(address="169.254.20.10")
MLFLOW = Peer({"app": "mlflow-tracking"}, "mlflow")
NEIGHBOUR = Peer({"app": "something-else"})
STRANGER = Peer({"app": SERVER}, "somewhere-else")
INTERNET, PRIVATE, METADATA = (Peer(address=address) for address in ("20.60.1.1", "10.1.2.3", "169.254.169.254"))


def allowed(manifests: list[Manifest], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether the policies let the connection out of the one and into the other (NetworkPolicy v1: what none selects is free)."""
    return _lets(manifests, "Egress", source, target, port, protocol) and _lets(
        manifests, "Ingress", target, source, port, protocol
    )


def _lets(manifests: list[Manifest], direction: str, pod: Peer, other: Peer, port: int, protocol: str) -> bool:
    specs = [item["spec"] for item in named(manifests, "NetworkPolicy").values()] if pod.namespace == NAMESPACE else []
    selecting = [spec for spec in specs if direction in spec["policyTypes"] and matches(spec["podSelector"], pod.labels)]
    if not selecting or pod.address:
        return True
    side = "to" if direction == "Egress" else "from"
    rules = [rule for spec in selecting for rule in spec.get(direction.lower()) or []]
    return any(_is_among(rule.get(side), other) and _has_port(rule.get("ports"), port, protocol) for rule in rules)


def _is_among(peers: list[Manifest] | None, other: Peer) -> bool:
    return peers is None or any(_is(peer, other) for peer in peers)


def _is(peer: Manifest, other: Peer) -> bool:
    if block := peer.get("ipBlock"):
        networks = [ipaddress.ip_network(cidr) for cidr in (block["cidr"], *block.get("except", []))]
        address = ipaddress.ip_address(other.address) if other.address else None
        return address is not None and address in networks[0] and not any(address in network for network in networks[1:])
    if other.address:
        return False
    namespace = {"kubernetes.io/metadata.name": other.namespace}
    there = matches(peer["namespaceSelector"], namespace) if "namespaceSelector" in peer else other.namespace == NAMESPACE
    return there and matches(peer.get("podSelector") or {}, other.labels)


def _has_port(ports: list[Manifest] | None, port: int, protocol: str) -> bool:
    return ports is None or any((one["port"], one.get("protocol", "TCP")) == (port, protocol) for one in ports)


def server(manifests: list[Manifest]) -> Peer:
    return Peer(workload(manifests)["spec"]["template"]["metadata"]["labels"])


def job_pods(manifests: list[Manifest]) -> dict[str, Peer]:
    return {name: Peer(job["template"]["metadata"]["labels"]) for name, job in jobs(manifests).items()}


def port_behind(manifests: list[Manifest], service: str) -> int:
    """The container's port that a Service leads to, from 80 and from 8000."""
    targets = {port["port"]: port["targetPort"] for port in named(manifests, "Service")[service]["spec"]["ports"]}
    assert targets.keys() == {80, 8000}
    [target] = set(targets.values())
    [container] = workload(manifests)["spec"]["template"]["spec"]["containers"]
    [found] = [one["containerPort"] for one in container["ports"] if one["name"] == target]
    return int(found)


@STRATEGIES
def test_clients_reach_the_server_through_a_gateway_only(built: Built, components: tuple[str, ...]) -> None:
    manifests = built("production", *components)
    services = named(manifests, "Service")
    assert services
    for service in services:
        port = port_behind(manifests, service)
        assert allowed(manifests, GATEWAY, server(manifests), port)
        assert not allowed(manifests, GATEWAY, server(manifests), port + 1)
        assert not allowed(manifests, NEIGHBOUR, server(manifests), port)
        assert not allowed(manifests, STRANGER, server(manifests), port)


@STRATEGIES
def test_prometheus_reaches_what_the_annotations_and_the_monitor_name(built: Built, components: tuple[str, ...]) -> None:
    manifests = built("production", *components, "monitoring")
    annotations = workload(manifests)["spec"]["template"]["metadata"]["annotations"]
    [monitor] = named(manifests, "ServiceMonitor").values()
    [scraped] = [
        name
        for name, service in named(manifests, "Service").items()
        if matches(monitor["spec"]["selector"], service["metadata"]["labels"])
    ]
    for port in (int(annotations["prometheus.io/port"]), port_behind(manifests, scraped)):
        assert allowed(manifests, PROMETHEUS, server(manifests), port)
        assert allowed(manifests, AZURE_PROMETHEUS, server(manifests), port)
    assert not allowed(manifests, Peer({"k8s-app": "metrics-server"}, "kube-system"), server(manifests), 8000)


@STRATEGIES
def test_the_jobs_of_the_analysis_reach_the_pods_they_ask_and_mlflow_and_nothing_else(
    built: Built, components: tuple[str, ...]
) -> None:
    manifests = built("production", *components)
    strategy = workload(manifests)["spec"]["strategy"]
    asked = strategy["canary"]["canaryService"] if "canary" in strategy else strategy["blueGreen"]["previewService"]
    assert job_pods(manifests)
    for name, job in jobs(manifests).items():
        pod = job_pods(manifests)[name]
        [url] = re.findall(r"--url=http://(\S+?)/", " ".join(job["template"]["spec"]["containers"][0]["command"]))
        assert url == "{{args.service}}", "port 80 of the canary's Service"
        assert allowed(manifests, pod, server(manifests), port_behind(manifests, asked))
        assert allowed(manifests, pod, DNS, 53, "UDP")
        assert not any(allowed(manifests, pod, other, 443) for other in (INTERNET, PRIVATE, NEIGHBOUR))
        assert allowed(manifests, pod, MLFLOW, 5000)
        assert not any(allowed(manifests, other, pod, 8000) for other in (GATEWAY, NEIGHBOUR, server(manifests)))


@STRATEGIES
def test_the_server_reaches_names_and_mlflow(built: Built, components: tuple[str, ...]) -> None:
    manifests = built("production", *components)
    pod = server(manifests)
    environ = {one["name"]: one["value"] for one in workload(manifests)["spec"]["template"]["spec"]["containers"][0]["env"]}
    uri = re.fullmatch(r"http://([\w-]+):(\d+)", environ["MLFLOW_TRACKING_URI"])
    assert uri is not None
    assert MLFLOW.labels == {"app": uri[1]}
    assert allowed(manifests, pod, MLFLOW, int(uri[2]))
    for protocol in ("UDP", "TCP"):
        assert allowed(manifests, pod, DNS, 53, protocol)
        assert allowed(manifests, pod, NODE_DNS, 53, protocol)
    assert not any(allowed(manifests, pod, other, 443) for other in (INTERNET, PRIVATE, METADATA, NEIGHBOUR))
    assert not allowed(manifests, pod, METADATA, 80)
    assert not allowed(manifests, pod, NEIGHBOUR, 5000)
    istiod = Peer({"app": "istiod"}, "aks-istio-system")
    assert allowed(manifests, pod, istiod, 15012) is ("istio" in components)


def test_the_artifact_store_is_outside_and_nothing_inside_is_opened_for_it(built: Built) -> None:
    manifests = built("production", "artifact-store")
    pod = server(manifests)
    assert allowed(manifests, pod, INTERNET, 443)
    assert not allowed(manifests, pod, INTERNET, 80)
    assert not any(allowed(manifests, pod, other, 443) for other in (PRIVATE, METADATA, NEIGHBOUR, GATEWAY))
    assert all(allowed(manifests, job, INTERNET, 443) for job in job_pods(manifests).values())
    assert not any(allowed(manifests, job, NEIGHBOUR, 443) for job in job_pods(manifests).values())


def test_traces_go_to_the_collector_of_the_settings_and_nowhere_else(built: Built) -> None:
    manifests = built("production", "tracing")
    pod, collector = server(manifests), Peer({"app": "opentelemetry-collector"}, "monitoring")
    environ = {one["name"]: one.get("value") for one in workload(manifests)["spec"]["template"]["spec"]["containers"][0]["env"]}
    place = re.fullmatch(r"http://[^.]+\.([^:]+):(\d+)", environ["OTEL_EXPORTER_OTLP_ENDPOINT"])
    assert place is not None
    assert (place[1], environ["OTEL_TRACES_SAMPLER"], environ["OTEL_TRACES_SAMPLER_ARG"]) == (
        collector.namespace,
        "parentbased_traceidratio",
        "0.01",
    )
    assert allowed(manifests, pod, collector, int(place[2]))
    assert not allowed(manifests, pod, NEIGHBOUR, int(place[2]))
    assert not allowed(built("production"), pod, collector, int(place[2]))


def test_a_deployment_is_guarded_the_same(built: Built) -> None:
    manifests = built("production", "deployment")
    assert allowed(manifests, GATEWAY, server(manifests), port_behind(manifests, SERVER))
    assert not allowed(manifests, NEIGHBOUR, server(manifests), 8000)
    assert list(named(manifests, "NetworkPolicy")) == [SERVER]
