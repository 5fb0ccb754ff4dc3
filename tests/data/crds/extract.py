"""Writes the schemas next to this file again: `python tests/data/crds/extract.py`, on a machine with go and its module proxy.

Each is the openAPIV3Schema of one version of one published CustomResourceDefinition, without descriptions and CEL rules.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd"
ROLLOUTS = "github.com/argoproj/argo-rollouts@v1.10.2", "manifests/crds"
ISTIO = "istio.io/api@v1.31.1", "kubernetes"
GATEWAY = "sigs.k8s.io/gateway-api@v1.6.3", "config/crd/standard"
KEDA = "github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases"
WANTED = {
    ("argoproj.io", "v1alpha1", "Rollout"): (*ROLLOUTS, "rollout-crd.yaml"),
    ("argoproj.io", "v1alpha1", "AnalysisTemplate"): (*ROLLOUTS, "analysis-template-crd.yaml"),
    ("networking.istio.io", "v1", "VirtualService"): (*ISTIO, "customresourcedefinitions.gen.yaml"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute"): (*GATEWAY, "gateway.networking.k8s.io_httproutes.yaml"),
    ("keda.sh", "v1alpha1", "ScaledObject"): (*KEDA, "keda.sh_scaledobjects.yaml"),
    ("monitoring.coreos.com", "v1", "ServiceMonitor"): (*OPERATOR, "monitoring.coreos.com_servicemonitors.yaml"),
    ("monitoring.coreos.com", "v1", "PrometheusRule"): (*OPERATOR, "monitoring.coreos.com_prometheusrules.yaml"),
}


def main() -> None:
    for (group, version, kind), (module, folder, file) in WANTED.items():
        with zipfile.ZipFile(_download(module)) as files:
            crds = [item for item in YAML(typ="safe", pure=True).load_all(files.read(f"{module}/{folder}/{file}")) if item]
        [crd] = [one for one in crds if (one["spec"]["group"], one["spec"]["names"]["kind"]) == (group, kind)]
        [schema] = [one["schema"]["openAPIV3Schema"] for one in crd["spec"]["versions"] if one["name"] == version]
        content = {"source": f"{module}/{folder}/{file}", "license": "Apache-2.0", "schema": _without_texts(schema)}
        target = Path(__file__).parent / f"{group}_{version}_{kind}.json"
        target.write_text(json.dumps(content, separators=(",", ":"), sort_keys=True) + "\n")


def _download(module: str) -> Path:
    """The module's archive; go may complain about its own version when it has it already."""
    done = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True, check=False)
    return Path(json.loads(done.stdout)["Zip"])


def _without_texts(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_texts(child) for child in node]
    if not isinstance(node, dict):
        return node
    kept = {key: child for key, child in node.items() if key != "x-kubernetes-validations"}
    if isinstance(kept.get("description"), str):
        del kept["description"]
    return {key: _without_texts(child) for key, child in kept.items()}


if __name__ == "__main__":
    main()
