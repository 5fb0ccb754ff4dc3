"""Alerts, analysis queries and dashboard, evaluated by Prometheus's own promtool over series that stand for a good and a bad day."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from promoter.serving.app import PREDICT_PATHS
from tests.cluster.manifests import OVERLAY, write_files
from tests.support.manifests import Built, build, built, matches, named, workload
from tests.test_manifests import analyses, resolved

__all__ = ["built"]

ROOT = Path(__file__).parents[1]
NAMESPACE = "fraud-detector-production"
BRIEF = {
    "InferenceServiceRestarts": "5m",
    "InferenceServiceReplicas": "10m",
    "InferenceServiceErrors": "5m",
    "InferenceServiceLatency": "5m",
    "InferenceServiceRolloutAborted": "",
}
SERVER_METRICS = {"http_requests_total", "http_request_duration_seconds_bucket", "http_requests_in_flight", "model_info"}
OTHER_METRICS = {
    "kube_pod_container_status_restarts_total",
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_available",
    "rollout_info_replicas_desired",
    "rollout_info_replicas_available",
    "rollout_info_replicas_updated",
    "rollout_events_total",
}
Series = dict[str, str]


def promtool(folder: Path, *arguments: str) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not here")
    done = subprocess.run([tool, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def evaluate(
    folder: Path, series: Series, rules: object = None, alerts: Sequence[Any] = (), queries: Sequence[Any] = ()
) -> None:
    """Runs one test of promtool over these series, a sample every 15 s."""
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "15s", "input_series": given, "alert_rule_test": alerts, "promql_expr_test": queries}
    (folder / "rules.json").write_text(json.dumps(rules or {"groups": []}))
    (folder / "test.json").write_text(json.dumps({"rule_files": ["rules.json"], "evaluation_interval": "15s", "tests": [test]}))
    promtool(folder, "test", "rules", "test.json")


def rules(built: Built) -> Any:
    [rule] = named(built("production", "monitoring"), "PrometheusRule").values()
    return rule["spec"]


# -- alerts ---------------------------------------------------------------------------------------------------------------


def requests(status: str, rate: int, path: str = "/predict") -> Series:
    """A counter that grows by so many requests every 15 s, for an hour."""
    return {f'http_requests_total{{namespace="{NAMESPACE}", path="{path}", status="{status}"}}': f"0+{rate}x240"}


def latency(buckets: Mapping[str, int], **labels: str) -> Series:
    """A histogram that grows in its cumulative buckets, for an hour."""
    all_labels = {"namespace": NAMESPACE, "path": "/predict", **labels}
    text = ", ".join(f'{key}="{value}"' for key, value in all_labels.items())
    return {f'http_request_duration_seconds_bucket{{{text}, le="{le}"}}': f"0+{rate}x240" for le, rate in buckets.items()}


Place = dict[str, str]
HONOURED: Place = {"namespace": NAMESPACE}
# As a ServiceMonitor without honorLabels has it: the exporter's own labels win, the object's are renamed.
RENAMED: Place = {"namespace": "monitoring", "pod": "exporter-0", "container": "exporter", "exported_namespace": NAMESPACE}


def labelled(metric: str, place: Place, values: str, **labels: str) -> Series:
    """One series; labels that the exporter has itself are renamed where it does not honour the object's."""
    renamed = {f"exported_{key}" if key in place else key: value for key, value in labels.items()}
    text = ", ".join(f'{key}="{value}"' for key, value in {**place, **renamed}.items())
    return {f"{metric}{{{text}}}": values}


def restarts(every: int, place: Place = HONOURED) -> Series:
    """A counter of restarts, one more at every so many samples."""
    values = " ".join(str(sample // every) for sample in range(240))
    pod = {"pod": "churn-inference-service-5d8f7-abcde", "container": "server"}
    return labelled("kube_pod_container_status_restarts_total", place, values, **pod)


def replicas(desired: int, available: int, place: Place = HONOURED) -> Series:
    """And those of another model in another namespace, which misses no pod."""
    other = {"exported_namespace" if "exported_namespace" in place else "namespace": "other-model"}
    return {
        key: value
        for kind, count in (("desired", desired), ("available", available))
        for where, pods in ((place, count), (place | other, 10))
        for key, value in labelled(f"rollout_info_replicas_{kind}", where, f"{pods}x240", name="inference-service").items()
    }


def deployment(desired: int, available: int, place: Place = HONOURED) -> Series:
    name = {"deployment": "churn-inference-service"}
    return labelled("kube_deployment_spec_replicas", place, f"{desired}x240", **name) | labelled(
        "kube_deployment_status_replicas_available", place, f"{available}x240", **name
    )


def aborts(happen: bool, place: Place = HONOURED) -> Series:
    values = "0x60 1x180" if happen else "0x240"
    return labelled("rollout_events_total", place, values, name="churn-inference-service", reason="RolloutAborted")


QUICK, SLOW = {"0.1": 100, "2.5": 100, "+Inf": 100}, {"0.1": 50, "2.5": 50, "5": 100, "+Inf": 100}
ALERTS = [
    *(
        alert
        for place in (HONOURED, RENAMED)
        for alert in (
            ("InferenceServiceRestarts", restarts(20, place), restarts(120, place)),
            ("InferenceServiceReplicas", replicas(3, 2, place), replicas(3, 3, place)),
            ("InferenceServiceReplicas", deployment(3, 2, place), deployment(3, 3, place)),
            ("InferenceServiceRolloutAborted", aborts(True, place), aborts(False, place)),
        )
    ),
    ("InferenceServiceErrors", requests("200", 90) | requests("503", 10), requests("200", 96) | requests("500", 4)),
    ("InferenceServiceErrors", requests("500", 10), requests("200", 9) | requests("500", 99, "/health")),
    ("InferenceServiceLatency", latency(SLOW), latency(QUICK)),
]


@pytest.mark.parametrize(("alert", "bad", "good"), ALERTS, ids=[f"{alert}-{n}" for n, (alert, _, _) in enumerate(ALERTS)])
def test_an_alert_is_raised_on_a_bad_day_only(built: Built, tmp_path: Path, alert: str, bad: Series, good: Series) -> None:
    at = "20m"
    evaluate(tmp_path, good, rules(built), [{"eval_time": at, "alertname": alert, "exp_alerts": []}])
    quiet = [{"eval_time": at, "alertname": alert, "exp_alerts": []}]
    with pytest.raises(AssertionError, match=alert):
        evaluate(tmp_path, bad, rules(built), quiet)
    early = {"": "10m"}.get(BRIEF[alert], "3m")  # before the alert's time has passed
    evaluate(tmp_path, bad, rules(built), [{"eval_time": early, "alertname": alert, "exp_alerts": []}])


@pytest.mark.parametrize("place", [HONOURED, RENAMED], ids=["honoured", "renamed"])
def test_an_alert_names_the_namespace_of_the_model(built: Built, tmp_path: Path, place: Place) -> None:
    every = {rule["alert"]: rule for rule in rules(built)["groups"][0]["rules"]}
    annotations = every["InferenceServiceReplicas"]["annotations"]
    filled = {
        key: text.replace("{{ $labels.namespace }}", NAMESPACE).replace("{{ $value }}", "5")
        for key, text in annotations.items()
    }
    alert = {
        "exp_labels": {"severity": "warning", "namespace": NAMESPACE, "name": "inference-service"},
        "exp_annotations": filled,
    }
    wanted = {"eval_time": "20m", "alertname": "InferenceServiceReplicas", "exp_alerts": [alert]}
    assert NAMESPACE in filled["summary"]
    evaluate(tmp_path, replicas(5, 2, place), rules(built), [wanted])


@pytest.mark.parametrize("place", [HONOURED, RENAMED], ids=["honoured", "renamed"])
def test_the_dashboard_shows_pods_and_restarts(built: Built, tmp_path: Path, place: Place) -> None:
    shown = {key: text.replace("$namespace", NAMESPACE) for key, text in expressions(built).items() if "/" in key}
    series = (
        replicas(5, 2, place)
        | restarts(20, place)
        | labelled("rollout_info_replicas_updated", place, "1x240", name="inference-service")
    )
    wanted = {"Pods/A": ("{}", 5.0), "Pods/B": ("{}", 2.0), "Pods/C": ("{}", 1.0)}
    assert wanted.keys() < shown.keys()
    wanted["Restarts per minute/A"] = ('{pod="churn-inference-service-5d8f7-abcde"}', 0.2)
    queries = [
        {"expr": f"round({shown[panel]}, 0.1)", "eval_time": "20m", "exp_samples": [{"labels": labels, "value": value}]}
        for panel, (labels, value) in wanted.items()
    ]
    evaluate(tmp_path, series, queries=queries)


def test_the_alerts_are_the_briefs(built: Built) -> None:
    [group] = rules(built)["groups"]
    assert {rule["alert"]: rule.get("for", "") for rule in group["rules"]} == BRIEF
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


# -- analysis -------------------------------------------------------------------------------------------------------------


def served(release: str, status: str, rate: int) -> Series:
    labels = f'namespace="{NAMESPACE}", rollouts_pod_template_hash="hash-of-{release}", path="/predict", status="{status}"'
    return {f"http_requests_total{{{labels}}}": f"0+{rate}x40"}


def took(release: str, buckets: Mapping[str, int]) -> Series:
    return latency(buckets, rollouts_pod_template_hash=f"hash-of-{release}")


STABLE = served("Stable", "200", 100) | took("Stable", QUICK)
SLOWER = {"0.1": 0, "2.5": 0, "5": 100, "+Inf": 100}
CANARIES: dict[str, tuple[str, Series, str, bool]] = {
    "as good": ("success-rate-drop", served("Latest", "200", 50), "0", True),
    "a fifth fails": ("success-rate-drop", served("Latest", "200", 40) | served("Latest", "500", 10), "0.2", False),
    "clients are wrong": ("success-rate-drop", served("Latest", "400", 50), "0", True),
    "all fail": ("success-rate-drop", served("Latest", "500", 50), "1", False),
    "no series": ("success-rate-drop", {}, "", False),
    "no requests": ("success-rate-drop", served("Latest", "200", 0), "NaN", False),
    "as quick": ("latency-ratio", took("Latest", QUICK), "1", True),
    "slower": ("latency-ratio", took("Latest", SLOWER), "48.75", False),
    "no histogram": ("latency-ratio", {}, "", False),
    "an empty histogram": ("latency-ratio", took("Latest", dict.fromkeys(QUICK, 0)), "NaN", False),
}


@pytest.mark.parametrize("case", CANARIES)
def test_the_canary_is_measured_against_stable(built: Built, tmp_path: Path, case: str) -> None:
    metric, canary, measured, passes = CANARIES[case]
    manifests = built("production", "prometheus-analysis")
    spec = resolved(manifests, analyses(manifests)[0])[metric]
    expr, found = f"round({spec['provider']['prometheus']['query']}, 0.01)", measured
    if measured == "NaN":  # which is the only number that is not itself
        expr, found = f"count({expr} != {expr})", "1"
    samples = [{"labels": "{}", "value": float(found)}] if found else []
    evaluate(tmp_path, {**STABLE, **canary}, queries=[{"expr": expr, "eval_time": "5m", "exp_samples": samples}])
    limit = float(spec["successCondition"].rpartition(" ")[2])
    assert (measured != "" and float(measured) <= limit) is passes


@pytest.mark.parametrize("variant", ["inference", "inference-blue-green"])
def test_what_the_cluster_suite_measures_is_promql(tmp_path: Path, variant: str) -> None:
    """Its variants change arguments by their place: one more argument in the base, and a window is written over a number."""
    write_files(tmp_path / "repository", NAMESPACE, variant)
    manifests = build(tmp_path / "repository" / OVERLAY)
    metrics = [one for analysis in analyses(manifests) for one in resolved(manifests, analysis).values()]
    queries = [one["provider"]["prometheus"]["query"] for one in metrics if "prometheus" in one["provider"]]
    assert len(queries) == 3
    assert all("[20s]" in query for query in queries)
    evaluate(tmp_path, {}, queries=[{"expr": query, "eval_time": "1m", "exp_samples": []} for query in queries])


def test_keda_counts_requests_and_not_those_of_prometheus(built: Built, tmp_path: Path) -> None:
    [scaler] = named(built("production", "keda"), "ScaledObject").values()
    query = scaler["spec"]["triggers"][0]["metadata"]["query"]
    assert NAMESPACE in query
    series = {
        f'http_requests_in_flight{{namespace="{NAMESPACE}", pod="{pod}"}}': f"{count}x40" for pod, count in (("a", 1), ("b", 5))
    }
    other = {'http_requests_in_flight{namespace="other-model", pod="c"}': "100x40"}
    evaluate(
        tmp_path, series | other, queries=[{"expr": query, "eval_time": "5m", "exp_samples": [{"labels": "{}", "value": 4}]}]
    )


# -- what is scraped and shown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["monitoring", "monitoring-azure"])
def test_each_pod_is_scraped_once_and_knows_its_release(built: Built, component: str) -> None:
    manifests = built("production", component)
    [monitor] = named(manifests, "ServiceMonitor").values()
    group = {"monitoring": "monitoring.coreos.com/v1", "monitoring-azure": "azmonitoring.coreos.com/v1"}[component]
    assert monitor["apiVersion"] == group
    services = named(manifests, "Service").values()
    [service] = [one for one in services if matches(monitor["spec"]["selector"], one["metadata"]["labels"])]
    assert "rollouts-pod-template-hash" not in service["spec"]["selector"]
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    annotations = workload(manifests)["spec"]["template"]["metadata"]["annotations"]
    assert endpoint["path"] == annotations["prometheus.io/path"] == "/metrics"
    assert annotations["prometheus.io/scrape"] == "true"
    assert monitor["spec"]["podTargetLabels"] == ["rollouts-pod-template-hash", "model-version"]
    assert bool(named(manifests, "PrometheusRule")) is (component == "monitoring")


def expressions(built: Built) -> dict[str, str]:
    """Every PromQL expression of the dashboard and the alerts, by where it is."""
    [config_map] = named(built("production", "monitoring"), "ConfigMap").values()
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    [content] = config_map["data"].values()
    dashboard = json.loads(content)
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({(place["x"], place["y"]) for place in places}) == len(places) == len(dashboard["panels"])
    shown = {f"{panel['title']}/{one['refId']}": one["expr"] for panel in dashboard["panels"] for one in panel["targets"]}
    alerted = {rule["alert"]: rule["expr"] for rule in rules(built)["groups"][0]["rules"]}
    return shown | alerted


def test_every_expression_is_promql_over_metrics_that_exist(built: Built, tmp_path: Path) -> None:
    every = expressions(built)
    assert len(every) > 10
    used = {name for text in every.values() for name in re.findall(r"\b(\w+)\{", text)}
    assert used <= SERVER_METRICS | OTHER_METRICS
    filled = [text.replace("$__rate_interval", "1m").replace("$namespace", NAMESPACE) for text in every.values()]
    evaluate(tmp_path, {}, queries=[{"expr": text, "eval_time": "1m", "exp_samples": []} for text in filled])


@pytest.mark.parametrize(
    "file", ["monitoring/prometheus-rule.yaml", "monitoring/dashboard.yaml", "prometheus-analysis/traffic.yaml"]
)
def test_requests_for_predictions_are_counted_at_each_of_their_paths(file: str) -> None:
    """A chat model's clients ask at a path of their own: its canary would pass with no traffic at all."""
    text = (ROOT / "base/components" / file).read_text()
    counted = re.findall(r"path=~\\?\"([^\"\\]+)\\?\"", text)
    assert len(counted) >= 3
    assert {tuple(one.split("|")) for one in counted} == {PREDICT_PATHS}
