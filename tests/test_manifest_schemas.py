"""Rendered objects against the published CustomResourceDefinitions of their kinds, strictly: a field that is not in the schema is
an error, as `kubectl --validate=strict` has it. Kubernetes' own kinds are checked by the API server of a cluster
(tests/cluster/test_manifests.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.manifests import CHOICES, ENVIRONMENTS, Built, Manifest, built

__all__ = ["built"]

SCHEMAS = {
    file.stem: json.loads(file.read_text())["schema"] for file in (Path(__file__).parent / "data" / "crds").glob("*.json")
}
# Azure's managed Prometheus publishes the Prometheus operator's ServiceMonitor under a group of its own.
SCHEMAS["azmonitoring.coreos.com_v1_ServiceMonitor"] = SCHEMAS["monitoring.coreos.com_v1_ServiceMonitor"]
KUBERNETES = {"", "apps", "autoscaling", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"}


def strict(node: Any) -> Any:
    """The schema with unknown fields refused where Kubernetes would drop them; its int-or-string in JSON Schema's words."""
    if isinstance(node, list):
        return [strict(child) for child in node]
    if not isinstance(node, dict):
        return node
    made = {key: strict(child) for key, child in node.items() if key not in ("properties", "format")}
    if "properties" in node:
        made["properties"] = {key: strict(child) for key, child in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in node and "type" in node:
            made["additionalProperties"] = False
    if node.get("x-kubernetes-int-or-string"):
        made = {"type": ["integer", "string"]}
    return made


def validator(identity: str) -> Draft202012Validator:
    schema = strict(SCHEMAS[identity])
    schema["properties"] |= {key: {"type": "string"} for key in ("apiVersion", "kind")}  # the API server knows these itself
    schema["properties"]["metadata"] = {"type": "object"}
    return Draft202012Validator(schema)


VALIDATORS = {identity: validator(identity) for identity in SCHEMAS}


def identity_of(manifest: Manifest) -> str:
    return f"{manifest['apiVersion'].replace('/', '_')}_{manifest['kind']}"


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("components", CHOICES, ids=lambda names: "+".join(names) or "as-shipped")
def test_every_field_is_in_the_schema_of_its_kind(built: Built, name: str, components: tuple[str, ...]) -> None:
    custom = [item for item in built(name, *components) if item["apiVersion"].rpartition("/")[0] not in KUBERNETES]
    for manifest in custom:
        errors = [f"{error.json_path}: {error.message}" for error in VALIDATORS[identity_of(manifest)].iter_errors(manifest)]
        assert errors == [], manifest["kind"]
    expected = 0 if "deployment" in components else 3
    assert len(custom) >= expected


def test_every_schema_is_used_and_refuses_what_it_does_not_know(built: Built) -> None:
    """So that the test above can fail: each kind, with a field misspelt at two depths and a value of the wrong type."""
    every = {identity_of(item): item for components in CHOICES for item in built("production", *components)}
    assert VALIDATORS.keys() <= every.keys()
    for identity, check in VALIDATORS.items():
        manifest = json.loads(json.dumps(every[identity]))
        assert check.is_valid(manifest)
        assert not check.is_valid({**manifest, "sepc": {}}), identity
        assert not check.is_valid({**manifest, "spec": {**manifest["spec"], "unknown": 1}}), identity
        assert not check.is_valid({**manifest, "spec": "text"}), identity
