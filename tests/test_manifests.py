"""The shipped manifests as Argo CD would apply them: what base, components, overlays and environments promise."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from promoter import config
from promoter.commands.scaffold import template
from promoter.demo.sandbox.render import render
from tests.support.manifests import (
    CHOICES,
    COMPONENTS,
    ENVIRONMENTS,
    RELEASE,
    Built,
    Manifest,
    build,
    built,
    carry,
    jobs,
    matches,
    named,
    pod_templates,
    workload,
    write_template,
)

__all__ = ["built"]

everything = pytest.mark.parametrize("components", CHOICES, ids=lambda names: "+".join(names) or "as-shipped")
everywhere = pytest.mark.parametrize("name", ENVIRONMENTS)
SHIPPED_WITH = ("release", "links", "link-dashboard")
REPLICAS = {"staging": 2, "production": 3}


def load(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


def test_every_component_is_built_here() -> None:
    folders = {name.split("/")[2] for name, _ in template.files() if name.startswith("base/components/")}
    assert folders == {*COMPONENTS, *SHIPPED_WITH, "model-volume", "unreleased"}


# -- what holds for every overlay with every component --------------------------------------------------------------------


@everywhere
@everything
def test_it_builds_and_lies_in_the_namespace_that_the_application_syncs_to(
    built: Built, name: str, components: tuple[str, ...]
) -> None:
    application = load(built.root / f"environments/{name}.yaml")
    manifests = built(name, *components)
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == {application["spec"]["destination"]["namespace"]}
    identities = [(item["apiVersion"].rpartition("/")[0], item["kind"], item["metadata"]["name"]) for item in manifests]
    assert len(set(identities)) == len(identities)


@everywhere
@everything
def test_the_project_allows_every_kind_and_nothing_carries_the_release_but_the_pods(
    built: Built, name: str, components: tuple[str, ...]
) -> None:
    manifests = built(name, *components)
    allowed = load(built.root / "environments/project.yaml")["spec"]["namespaceResourceWhitelist"]
    kinds = {(item["apiVersion"].rpartition("/")[0], item["kind"]) for item in manifests}
    assert kinds <= {(one["group"], one["kind"]) for one in allowed}
    assert not {"release", "settings"} & set(named(manifests, "ConfigMap")), "they are local to the build"
    pod = workload(manifests)["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert container["image"] == RELEASE.image
    environ = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environ["MODEL_NAME"] == RELEASE.model
    assert environ["MODEL_VERSION"] == pod["metadata"]["labels"]["model-version"] == RELEASE.version
    assert environ["MODEL_DIGEST"] == pod["metadata"]["annotations"]["model-digest"] == RELEASE.model_digest


@everywhere
@everything
def test_every_pod_runs_without_privileges(built: Built, name: str, components: tuple[str, ...]) -> None:
    manifests = built(name, *components)
    templates = list(pod_templates(manifests))
    assert len(templates) == (1 if "deployment" in components else 3)
    for pod in (one["spec"] for one in templates):
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] in named(manifests, "ServiceAccount")
        context = pod["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 10001, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        assert all(set(volume) == {"name", "emptyDir"} and volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"])
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
        assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
        assert set(container["resources"]["limits"]) >= {"cpu", "memory"}


@everywhere
@everything
def test_the_server_is_probed_and_ends_gently(built: Built, name: str, components: tuple[str, ...]) -> None:
    pod = workload(built(name, *components))["spec"]["template"]["spec"]
    [server] = pod["containers"]
    paths = {probe: server[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/ready", "readinessProbe": "/ready", "livenessProbe": "/health"}
    assert server["readinessProbe"]["periodSeconds"] == server["livenessProbe"]["periodSeconds"] == 10
    assert server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"] == 300
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert {server[probe]["httpGet"]["port"] for probe in paths} == set(ports)
    assert {variable["value"] for variable in server["env"] if variable["name"] == "PORT"} == {str(ports["http"])}
    assert pod["terminationGracePeriodSeconds"] == 30
    assert 0 < server["lifecycle"]["preStop"]["sleep"]["seconds"] < 30
    secrets = {source["secretRef"]["name"]: source["secretRef"]["optional"] for source in server["envFrom"]}
    assert secrets == {"inference-service-mlflow": True, "inference-service-artifact-store": True}


@everywhere
@everything
def test_pods_are_many_and_apart(built: Built, name: str, components: tuple[str, ...]) -> None:
    manifests = built(name, *components)
    made = workload(manifests)
    labels, pod = made["spec"]["template"]["metadata"]["labels"], made["spec"]["template"]["spec"]
    assert matches(made["spec"]["selector"], labels)
    [affinity] = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    [spread] = pod["topologySpreadConstraints"]
    apart = (affinity["podAffinityTerm"], spread)
    assert {one["topologyKey"] for one in apart} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(matches(one["labelSelector"], labels) for one in apart)
    kind = "ScaledObject" if "keda" in components else "HorizontalPodAutoscaler"
    [scaler] = [item for item in manifests if item["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")]
    target, scaled = scaler["spec"]["scaleTargetRef"], scaler["spec"]
    assert target == {"apiVersion": made["apiVersion"], "kind": made["kind"], "name": made["metadata"]["name"]}
    if scaler["kind"] == "ScaledObject":
        least, most, down = (
            scaled["minReplicaCount"],
            scaled["maxReplicaCount"],
            scaled["advanced"]["horizontalPodAutoscalerConfig"],
        )
        assert {one["type"] for one in scaled["triggers"]} == {"prometheus", "cpu", "memory"}
        assert scaled["fallback"]["replicas"] == least
    else:
        least, most, down = scaled["minReplicas"], scaled["maxReplicas"], scaled
        assert scaler["metadata"]["annotations"]["argocd.argoproj.io/ignore-healthcheck"] == "true"
        assert {one["resource"]["name"] for one in scaled["metrics"]} == {"cpu", "memory"}
    assert scaler["kind"] == kind
    assert down["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert down["behavior"] == named(built(name), "HorizontalPodAutoscaler")["inference-service"]["spec"]["behavior"]
    assert made["spec"]["replicas"] == least == REPLICAS[name]
    assert most == {"staging": 3, "production": 10}[name]
    [budget] = named(manifests, "PodDisruptionBudget").values()
    assert budget["spec"]["minAvailable"] == REPLICAS[name] - 1
    selected = [matches(budget["spec"]["selector"], one["metadata"]["labels"]) for one in pod_templates(manifests)]
    assert selected == [True] + [False] * (len(selected) - 1), "of the server, and of no Job"


@everywhere
@everything
def test_the_account_may_do_nothing(built: Built, name: str, components: tuple[str, ...]) -> None:
    manifests = built(name, *components)
    [account], [role] = named(manifests, "ServiceAccount").values(), named(manifests, "Role").values()
    [binding] = named(manifests, "RoleBinding").values()
    assert account["automountServiceAccountToken"] is False
    assert "azure.workload.identity/client-id" in account["metadata"]["annotations"]
    assert workload(manifests)["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert role["rules"] == []
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role["metadata"]["name"])
    subject = {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"]}
    assert binding["subjects"] == [subject]
    secrets = [{"name": "inference-service-registry"}] if "image-pull-secrets" in components else None
    assert account.get("imagePullSecrets") == secrets


@everywhere
@everything
def test_services_lead_to_the_server(built: Built, name: str, components: tuple[str, ...]) -> None:
    manifests = built(name, *components)
    pod, services = workload(manifests)["spec"]["template"], named(manifests, "Service")
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    for service in services.values():
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert [(port["port"], port["targetPort"] in ports) for port in service["spec"]["ports"]] == [(80, True), (8000, True)]
    missing = {"stable"} if "blue-green" in components else {"stable", "canary"} if "deployment" in components else set()
    wanted = {"inference-service", *(f"inference-service-{role}" for role in {"stable", "canary"} - missing)}
    assert set(services) == wanted


@everywhere
@everything
def test_links_are_on_the_workload_and_not_on_its_pods(built: Built, name: str, components: tuple[str, ...]) -> None:
    made, link = workload(built(name, *components)), "link.argocd.argoproj.io/"
    links = {key.removeprefix(link): value for key, value in made["metadata"]["annotations"].items() if key.startswith(link)}
    assert links == {
        "mlflow": f"https://mlflow.example.com/#/models/{RELEASE.model}/versions/{RELEASE.version}",
        "commits": f"https://github.com/your-org/your-gitops-repository/commits/main/overlays/{name}",
        "grafana": f"https://grafana.example.com/d/inference-service?var-namespace={made['metadata']['namespace']}",
    }
    assert not [key for key in made["spec"]["template"]["metadata"]["annotations"] if key.startswith(link)]


def test_the_address_of_mlflow_may_have_a_path_and_a_port(tmp_path: Path) -> None:
    root = write_template(tmp_path)
    carry(root, "production", RELEASE)
    settings = root / "overlays/production/settings.yaml"
    settings.write_text(
        settings.read_text().replace("MLFLOW_UI: https://mlflow.example.com", "MLFLOW_UI: https://ml.team:8443/a/b")
    )
    annotations = workload(build(settings.parent))["metadata"]["annotations"]
    wanted = f"https://ml.team:8443/a/b/#/models/{RELEASE.model}/versions/{RELEASE.version}"
    assert annotations["link.argocd.argoproj.io/mlflow"] == wanted


@everywhere
def test_keda_counts_the_requests_of_this_namespace_for_each_worker(built: Built, name: str) -> None:
    manifests = built(name, "keda")
    [scaler] = named(manifests, "ScaledObject").values()
    [trigger] = [one["metadata"] for one in scaler["spec"]["triggers"] if one["type"] == "prometheus"]
    series = f'http_requests_in_flight{{namespace="{scaler["metadata"]["namespace"]}"}}'
    assert trigger["query"] == f"sum(clamp_min({series} - 1, 0))"
    environ = {one["name"]: one["value"] for one in workload(manifests)["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert trigger["threshold"] == environ["WORKERS"]
    assert trigger["ignoreNullValues"] == "false", "no series is no load"
    assert trigger["serverAddress"] == load(built.root / f"overlays/{name}/settings.yaml")["data"]["PROMETHEUS"]
    # KEDA takes over the HPA of this name: its webhook refuses a second scaler of one workload.
    assert scaler["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"] in named(built(name), "HorizontalPodAutoscaler")
    assert scaler["metadata"]["annotations"]["scaledobject.keda.sh/transfer-hpa-ownership"] == "true"


# -- the strategies -------------------------------------------------------------------------------------------------------


@everywhere
def test_a_canary_takes_steps_and_is_aborted_when_it_does_not_progress(built: Built, name: str) -> None:
    spec = workload(built(name))["spec"]
    canary = spec["strategy"]["canary"]
    assert [next(iter(step)) for step in canary["steps"]] == ["setWeight", "analysis", "setWeight", "pause"]
    assert all(step["pause"]["duration"] for step in canary["steps"] if "pause" in step), "no step waits for a person"
    assert (canary["maxSurge"], canary["maxUnavailable"]) == (1, 0)
    assert spec["progressDeadlineAbort"] is True
    assert spec["progressDeadlineSeconds"] > spec["minReadySeconds"]
    assert spec["rollbackWindow"] == {"revisions": 3}
    assert spec["revisionHistoryLimit"] >= spec["rollbackWindow"]["revisions"]
    assert {canary["stableService"], canary["canaryService"]} < set(named(built(name), "Service"))


@everywhere
def test_blue_green_asks_the_preview_before_clients_are_moved(built: Built, name: str) -> None:
    manifests = built(name, "blue-green")
    blue_green = workload(manifests)["spec"]["strategy"]["blueGreen"]
    assert "canary" not in workload(manifests)["spec"]["strategy"]
    assert (blue_green["activeService"], blue_green["previewService"]) == ("inference-service", "inference-service-canary")
    assert {blue_green["activeService"], blue_green["previewService"]} == set(named(manifests, "Service"))
    used = [one["templateName"] for one in blue_green["prePromotionAnalysis"]["templates"]]
    assert used == ["inference-service-health", "inference-service-predictions"]


@everywhere
def test_a_deployment_takes_no_pod_away_before_another_is_ready(built: Built, name: str) -> None:
    manifests = built(name, "deployment")
    spec = workload(manifests)["spec"]
    assert workload(manifests)["apiVersion"] == "apps/v1"
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert not named(manifests, "AnalysisTemplate")
    assert spec["template"] == workload(built(name))["spec"]["template"]


@everywhere
@pytest.mark.parametrize(("component", "kind"), [("istio", "VirtualService"), ("gateway-api", "HTTPRoute")])
def test_the_route_leads_to_stable_and_canary(built: Built, name: str, component: str, kind: str) -> None:
    manifests = built(name, component)
    canary = workload(manifests)["spec"]["strategy"]["canary"]
    [route] = named(manifests, kind).values()
    if kind == "VirtualService":
        virtual, [http] = canary["trafficRouting"]["istio"]["virtualService"], route["spec"]["http"]
        assert (virtual["name"], virtual["routes"]) == (route["metadata"]["name"], [http["name"]])
        weights = {one["destination"]["host"]: one["weight"] for one in http["route"]}
        assert {one["destination"]["port"]["number"] for one in http["route"]} == {80}, (
            "without it a gateway at 443 finds none of two"
        )
    else:
        plugin, [rule] = canary["trafficRouting"]["plugins"]["argoproj-labs/gatewayAPI"], route["spec"]["rules"]
        assert plugin == {"httpRoute": route["metadata"]["name"], "namespace": route["metadata"]["namespace"]}
        weights = {one["name"]: one["weight"] for one in rule["backendRefs"]}
    assert weights == {canary["stableService"]: 100, canary["canaryService"]: 0}


def test_a_gpu_is_asked_for_and_its_taints_tolerated(built: Built) -> None:
    pod = workload(built("production", "gpu"))["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {one["key"] for one in pod["tolerations"]} == {"nvidia.com/gpu", "sku"}


# -- analysis -------------------------------------------------------------------------------------------------------------


def analyses(manifests: list[Manifest]) -> list[Manifest]:
    """Every analysis that the Rollout runs."""
    strategy = workload(manifests)["spec"].get("strategy", {})
    steps = [step["analysis"] for step in strategy.get("canary", {}).get("steps", []) if "analysis" in step]
    phases = ("prePromotionAnalysis", "postPromotionAnalysis")
    return steps + [strategy["blueGreen"][phase] for phase in phases if phase in strategy.get("blueGreen", {})]


def given(argument: Manifest, rollout: Manifest) -> str:
    """The value of an argument, as Argo Rollouts finds it (utils/analysis/factory.go); a hash stands for itself."""
    source = argument.get("valueFrom")
    if source is None:
        return str(argument["value"])
    if "podTemplateHashValue" in source:
        return f"hash-of-{source['podTemplateHashValue']}"
    node: Any = rollout
    for part in filter(None, re.split(r"[.\[\]]+", source["fieldRef"]["fieldPath"])):
        node = node[int(part)] if isinstance(node, list) else node[part]
    assert isinstance(node, str)
    return node


def resolved(manifests: list[Manifest], analysis: Manifest) -> dict[str, Manifest]:
    """The metrics of an analysis by name, with the values of its arguments in place."""
    templates, rollout = named(manifests, "AnalysisTemplate"), workload(manifests)
    arguments = {argument["name"]: given(argument, rollout) for argument in analysis["args"]}
    metrics: dict[str, Manifest] = {}
    for used in analysis["templates"]:
        spec = templates[used["templateName"]]["spec"]
        defaults = {argument["name"]: argument["value"] for argument in spec["args"] if "value" in argument}
        values = {**defaults, **{key: arguments[key] for key in arguments if key in {one["name"] for one in spec["args"]}}}
        metrics |= {metric["name"]: filled(metric, values) for metric in spec["metrics"]}
    return metrics


def filled(node: Any, values: dict[str, str]) -> Any:
    """Argo's substitution; an argument without a value is a KeyError."""
    if isinstance(node, str):
        return re.sub(r"\{\{args\.([\w-]+)\}\}", lambda found: values[found[1]], node)
    if isinstance(node, list):
        return [filled(child, values) for child in node]
    return {key: filled(child, values) for key, child in node.items()} if isinstance(node, dict) else node


@everywhere
@everything
def test_every_analysis_has_its_arguments_its_limits_and_its_evidence(
    built: Built, name: str, components: tuple[str, ...]
) -> None:
    manifests = built(name, *components)
    used = {one["templateName"] for analysis in analyses(manifests) for one in analysis["templates"]}
    assert used == set(named(manifests, "AnalysisTemplate"))
    for analysis in analyses(manifests):
        for metric in resolved(manifests, analysis).values():
            assert metric["count"] >= 1, "it comes to an end"
            assert metric["failureLimit"] < metric["count"]
            assert "inconclusiveLimit" not in metric, "what decides nothing is for a person to decide"
    for item in named(manifests, "AnalysisTemplate").values():
        kept = {one["metricName"]: one["limit"] for one in item["spec"]["measurementRetention"]}
        counts = {metric["name"]: metric["count"] for metric in item["spec"]["metrics"]}
        assert set(kept) == set(counts), "Argo Rollouts takes a rule that matches no metric for an error of the analysis"
        assert all(kept[metric] >= count for metric, count in counts.items())


@everywhere
@pytest.mark.parametrize("strategy", [(), ("blue-green",), ("istio",)], ids=str)
def test_health_and_predictions_ask_the_new_pods_with_the_image_of_the_release(
    built: Built, name: str, strategy: tuple[str, ...]
) -> None:
    manifests = built(name, *strategy)
    metrics = resolved(manifests, analyses(manifests)[0])
    assert set(metrics) == {"health", "predictions"} == set(jobs(manifests))
    commands = {}
    for metric, spec in metrics.items():
        job = spec["provider"]["job"]["spec"]
        pod = job["template"]["spec"]
        [container] = pod["containers"]
        assert (job["backoffLimit"], pod["restartPolicy"], spec["failureLimit"]) == (0, "Never", 0)
        assert container["image"] == RELEASE.image
        environ = {variable["name"]: variable["value"] for variable in container["env"]}
        stable = "inference-service" if strategy == ("blue-green",) else "inference-service-stable"
        declared = {"WITHOUT_GOLDEN": "pass", "MOST_DIFFERENT": "1", "STABLE_SERVICE": stable}
        asked = {"MLFLOW_TRACKING_URI": "http://mlflow-tracking:5000", **declared} if metric == "predictions" else {}
        assert environ == asked | {"MODEL_VERSION": RELEASE.version, "MODEL_DIGEST": RELEASE.model_digest}
        [beside] = pod["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        hashes = beside["podAffinityTerm"]["labelSelector"]["matchLabels"]
        assert hashes == {"rollouts-pod-template-hash": "hash-of-Latest"}
        commands[metric] = container["command"]
    attempts = {"staging": 10, "production": 30}[name]
    url = "http://inference-service-canary/"
    health = ["promoter.serving.health", f"--url={url}health", f"--attempts={attempts}", "--interval=3"]
    assert commands["health"] == ["python", "-m", *health]
    predictions = ["promoter.serving.predictions", f"--url={url}", "--times=5", "--without-example=pass"]
    assert commands["predictions"] == ["python", "-m", *predictions]


@pytest.mark.parametrize("strategy", [(), ("blue-green",)], ids=str)
def test_traffic_is_compared_and_an_empty_answer_passes_nothing(built: Built, strategy: tuple[str, ...]) -> None:
    manifests = built("production", *strategy, "prometheus-analysis")
    metrics = resolved(manifests, analyses(manifests)[-1])
    compared = {name: metric for name, metric in metrics.items() if "prometheus" in metric["provider"]}
    assert set(compared) == {"success-rate-drop", "refusal-rate-rise", "latency-ratio"}
    for metric in compared.values():
        assert metric["successCondition"].startswith("len(result) > 0 && !isNaN(result[0]) && result[0] <= ")
        assert "failureCondition" not in metric, "what is no success is a failure"
        query = metric["provider"]["prometheus"]["query"]
        series = re.findall(r"\{(namespace=[^}]*)\}", query)
        assert series
        assert all('namespace="fraud-detector-production"' in one for one in series)
        hashes = {found for one in series for found in re.findall(r'rollouts_pod_template_hash="([^"]*)"', one)}
        assert hashes == {"hash-of-Latest", "hash-of-Stable"}
        assert all("rollouts_pod_template_hash=" in one for one in series)
        assert set(re.findall(r"offset (\w+)", query)) == {"5m" if strategy else "1s"}
        assert metric["initialDelay"] == re.findall(r"\[(\w+)\]", query)[0], "the window is full of the canary's own requests"


# -- releases and settings ------------------------------------------------------------------------------------------------


def test_a_release_put_back_restores_the_identical_pod_template(tmp_path: Path) -> None:
    repository = write_template(tmp_path)
    carry(repository, "staging", RELEASE)
    before = build(repository / "overlays/staging")
    other = replace(
        RELEASE, version="8", model_digest="sha256:" + "c" * 64, digest="sha256:" + "d" * 64, tag="v8-20261124000000"
    )
    carry(repository, "staging", other)
    assert workload(build(repository / "overlays/staging")) != workload(before)
    carry(repository, "staging", RELEASE)
    assert build(repository / "overlays/staging") == before


def test_settings_are_values_of_the_pod_template(tmp_path: Path) -> None:
    repository = write_template(tmp_path)
    folder = repository / "overlays/production"
    settings = folder / "settings.yaml"
    settings.write_text(settings.read_text().replace('WORKERS: "4"', 'WORKERS: "8"').replace('ID: ""', "ID: 1234-abcd"))
    patch = '- {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: MY_MODEL_NAME, value: "mine"}}'
    kustomization = folder / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text() + f"patches:\n- target: {{kind: Rollout}}\n  patch: |-\n    {patch}\n")
    manifests = build(folder)
    [container] = workload(manifests)["spec"]["template"]["spec"]["containers"]
    environ = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environ == {
        "MODEL_NAME": "fraud-detector",
        "MODEL_VERSION": "",
        "MODEL_DIGEST": "",
        "MODEL_STAGE": "Production",
        "MLFLOW_TRACKING_URI": "http://mlflow-tracking:5000",
        "LOG_LEVEL": "INFO",
        "WORKERS": "8",
        "INFERENCE_TIMEOUT": "30",
        "MAX_BATCH_SIZE": "32",
        "BATCH": "off",
        "PORT": "8000",
        "MY_MODEL_NAME": "mine",
    }
    [account] = named(manifests, "ServiceAccount").values()
    assert account["metadata"]["annotations"]["azure.workload.identity/client-id"] == "1234-abcd"


def test_the_address_of_prometheus_is_the_first_argument_that_the_component_asks_to_patch(tmp_path: Path) -> None:
    folder = write_template(tmp_path) / "overlays/production"
    told = (tmp_path / "base/components/prometheus-analysis/kustomization.yaml").read_text()
    lines = [line.removeprefix("#   ") for line in told.splitlines() if line.startswith("#   ")]
    kustomization = folder / "kustomization.yaml"
    text = kustomization.read_text().replace("components:", "components:\n- ../../base/components/prometheus-analysis\n#")
    kustomization.write_text(text + "\n".join(lines) + "\n")
    template = named(build(folder), "AnalysisTemplate")["inference-service-traffic"]
    assert template["spec"]["args"][0] == {"name": "prometheus", "value": "http://prometheus.example:9090"}


@pytest.mark.parametrize("key", ["WORKERS", "AZURE_CLIENT_ID"])
def test_a_setting_that_is_missing_fails_the_build(tmp_path: Path, key: str) -> None:
    folder = write_template(tmp_path) / "overlays/production"
    settings = folder / "settings.yaml"
    settings.write_text(re.sub(rf"  {key}: .*\n", "", settings.read_text()))
    with pytest.raises(AssertionError, match=key):
        build(folder)


def test_kustomize_knows_the_names_in_a_rollout(tmp_path: Path) -> None:
    folder = write_template(tmp_path) / "overlays/production"
    kustomization = folder / "kustomization.yaml"
    generator = "configMapGenerator:\n- name: more\n  literals: [A=1]\nreplicas:\n- {name: inference-service, count: 7}\n"
    patch = "- {op: add, path: /spec/template/spec/containers/0/envFrom/-, value: {configMapRef: {name: more}}}"
    text = kustomization.read_text().replace("components:", "components:\n- ../../base/components/istio\n#")
    text += f"namePrefix: eu-\n{generator}patches:\n- target: {{kind: Rollout}}\n  patch: |-\n    {patch}\n"
    kustomization.write_text(text)
    manifests = build(folder)
    rollout = workload(manifests)
    canary, pod = rollout["spec"]["strategy"]["canary"], rollout["spec"]["template"]["spec"]
    assert rollout["spec"]["replicas"] == 7
    services = set(named(manifests, "Service"))
    assert {canary["stableService"], canary["canaryService"]} == {"eu-inference-service-stable", "eu-inference-service-canary"}
    assert services == {"eu-inference-service", canary["stableService"], canary["canaryService"]}
    used = {one["templateName"] for one in analyses(manifests)[0]["templates"]}
    assert used == set(named(manifests, "AnalysisTemplate"))
    [generated] = named(manifests, "ConfigMap")
    assert re.fullmatch(r"eu-more-\w{10}", generated)
    assert generated in [source.get("configMapRef", {}).get("name") for source in pod["containers"][0]["envFrom"]]
    [autoscaler] = named(manifests, "HorizontalPodAutoscaler").values()
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == rollout["metadata"]["name"] == "eu-inference-service"
    assert {template["spec"]["serviceAccountName"] for template in pod_templates(manifests)} == {"eu-inference-service"}
    [virtual] = named(manifests, "VirtualService").values()
    assert canary["trafficRouting"]["istio"]["virtualService"]["name"] == virtual["metadata"]["name"]
    assert {one["destination"]["host"] for one in virtual["spec"]["http"][0]["route"]} <= services


@everywhere
def test_the_sandbox_renders_what_kustomize_builds(built: Built, name: str) -> None:
    files = {file.relative_to(built.root).as_posix(): file.read_bytes() for file in built.root.rglob("*.yaml")}
    rendered = render(files, f"overlays/{name}", "elsewhere")
    key = ("kind", "metadata")
    assert sorted(rendered, key=lambda item: str([item[one] for one in key])) == sorted(
        built(name), key=lambda item: str([item[one] for one in key])
    )


# -- environments ---------------------------------------------------------------------------------------------------------


@everywhere
def test_an_environment_points_at_its_overlay_and_leaves_alone_what_controllers_write(built: Built, name: str) -> None:
    application = config.load(built.root / config.FILE).environment(name).application
    assert application.path == f"overlays/{name}"
    assert (built.root / application.path / "kustomization.yaml").is_file()
    spec = load(built.root / f"environments/{name}.yaml")["spec"]
    ignored = {rule["kind"]: rule.get("jsonPointers") or rule["jqPathExpressions"] for rule in spec["ignoreDifferences"]}
    assert ignored == {
        "Rollout": ["/spec/replicas"],
        "Deployment": ["/spec/replicas"],
        "Service": ["/spec/selector/rollouts-pod-template-hash"],
        "VirtualService": [".spec.http[].route[].weight"],
        "HTTPRoute": [".spec.rules[].backendRefs[].weight"],
    }
    assert "RespectIgnoreDifferences=true" in spec["syncPolicy"]["syncOptions"]
    info = {one["name"]: one["value"] for one in spec["info"]}
    assert info["releases"].endswith(f"/commits/main/{application.path}")
    assert config.load(built.root / config.FILE).environment(name).alias in info["model"].split()
    assert info["when something is wrong"] == f"promoter status {name}"


def test_the_project_holds_the_applications_and_promoter_may_do_three_things(built: Built) -> None:
    project = load(built.root / "environments/project.yaml")
    applications = [load(built.root / f"environments/{name}.yaml")["spec"] for name in ENVIRONMENTS]
    name, spec = project["metadata"]["name"], project["spec"]
    assert {one["project"] for one in applications} == {name}
    assert {one["source"]["repoURL"] for one in applications} == set(spec["sourceRepos"])
    destinations = [one["destination"] for one in applications]
    assert sorted(spec["destinations"], key=str) == sorted(destinations, key=str)
    assert spec["clusterResourceWhitelist"] == [{"group": "", "kind": "Namespace"}]
    seen = {(one["group"], one["kind"]) for one in spec["namespaceResourceWhitelist"]}
    assert {("argoproj.io", "AnalysisRun"), ("apps", "ReplicaSet"), ("batch", "Job"), ("", "Pod")} <= seen
    assert ("", "Secret") not in seen
    [role] = spec["roles"]
    policies = {tuple(part.strip() for part in policy.split(",")) for policy in role["policies"]}
    may = {(resource, action) for _, _, resource, action, _, _ in policies}
    assert may == {("applications", "get"), ("applications", "sync"), ("logs", "get")}
    assert {(subject, scope) for _, subject, _, _, scope, _ in policies} == {(f"proj:{name}:{role['name']}", f"{name}/*")}
