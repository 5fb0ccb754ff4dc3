"""What rendered manifests run, and what is refused because promoter could not see it run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promoter.errors import RefusedError
from promoter.kustomize.rendered import carrying
from promoter.models import Release

RELEASE = Release("m", "7", "sha256:" + "d" * 64, "registry.example.com/m", "v7", "sha256:" + "a" * 64)


def manifest(
    kind: str, name: str, image: str, version: str | None = None, label: str | None = None, model: str | None = None
) -> dict[str, Any]:
    api = "argoproj.io/v1alpha1" if kind == "Rollout" else "apps/v1"
    container: dict[str, Any] = {"name": "server", "image": image}
    if version is not None:
        container["env"] = [{"name": "MODEL_VERSION", "value": version}, {"name": "MODEL_NAME", "value": model or "m"}]
    labels = {} if label is None else {"model-version": label}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": {"template": template}}


def text(*manifests: object) -> str:
    return "\n---\n".join(map(json.dumps, manifests))


def test_all_that_carry_the_release_are_named() -> None:
    rendered = text(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {}}},
        manifest("Rollout", "serving", RELEASE.image, "7"),
        manifest("Deployment", "batch", RELEASE.image),
        manifest("Deployment", "explainer", "registry.example.com/explainer:v1", "7"),
        manifest("Deployment", "other", "registry.example.com/other:v1", "3"),
        manifest("Deployment", "another-model", "registry.example.com/another:v1", "7", model="another"),
        manifest("StatefulSet", "cache", RELEASE.image),
        None,
    )
    found = carrying(rendered, "overlays/x", RELEASE)
    assert (found.watched, found.others) == (
        ("Rollout serving", "Deployment batch", "Deployment explainer"),
        ("StatefulSet cache",),
    )
    assert carrying(rendered, "overlays/x", RELEASE, ["serving"]).watched == ("Rollout serving",)


@pytest.mark.parametrize(
    ("manifests", "message"),
    [
        ((), "runs registry.example.com/m:v7@sha256:aaa"),
        ((manifest("Rollout", "serving", "registry.example.com/m:v6"),), "they run registry.example.com/m:v6"),
        ((manifest("Rollout", "serving", "registry.example.com/m:v7"),), "they run registry.example.com/m:v7"),
        ((manifest("StatefulSet", "serving", RELEASE.image),), "there is none"),
        ((manifest("Rollout", "serving", RELEASE.image, "6"),), "renders with model version '6', not '7'"),
        ((manifest("Rollout", "serving", RELEASE.image, label="6"),), "renders with model version '6', not '7'"),
        (
            (
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Rollout",
                    "metadata": {"name": "r"},
                    "spec": {"workloadRef": {"kind": "D"}},
                },
            ),
            "Rollout r takes its pods from another object",
        ),
    ],
)
def test_what_would_not_run_the_release_is_refused(manifests: tuple[object, ...], message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        carrying(text(*manifests), "overlays/x", RELEASE)
    assert message in caught.value.message
    assert caught.value.hint


SHADOW = manifest("Deployment", "shadow", "registry.example.com/m:v5")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "Deployment shadow renders with registry.example.com/m:v5, not registry.example.com/m:v7@"),
        (("serving",), ""),
        (("serving", "shadow"), "`workloads:` names shadow, and overlays/x renders no Rollout or Deployment of that name"),
        (("serving", "batch"), "`workloads:` names batch"),
    ],
)
def test_what_promoter_would_wait_for_in_vain_is_refused(names: tuple[str, ...], message: str) -> None:
    rendered = text(manifest("Rollout", "serving", RELEASE.image, "7"), SHADOW)
    if not message:
        assert carrying(rendered, "overlays/x", RELEASE, names).watched == ("Rollout serving",)
        return
    with pytest.raises(RefusedError) as caught:
        carrying(rendered, "overlays/x", RELEASE, names)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "odd",
    [
        [],
        [1, "a"],
        {"kind": "Rollout", "spec": 3},
        {"kind": "Rollout", "metadata": None, "spec": {"template": {"spec": {"containers": "x"}}}},
        {"kind": "Rollout", "spec": {"template": {"spec": {"containers": [None, {"env": [3]}]}}}},
        {"kind": "Rollout", "spec": {"template": {"metadata": [], "spec": {"containers": [{"env": {}}]}}}},
    ],
)
def test_odd_manifests_are_no_traceback(odd: object) -> None:
    assert carrying(text(odd, manifest("Deployment", "d", RELEASE.image)), "overlays/x", RELEASE).watched == ("Deployment d",)


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("2Gi", 2 << 30),
        ("512Mi", 512 << 20),
        ("1.5Ki", 1536),
        ("1G", 10**9),
        ("250k", 250_000),
        ("1e3", 1000),
        ("128974848", 128974848),
        (1073741824, 1 << 30),
        ("123400m", 123),
        ("much", None),
        (None, None),
    ],
)
def test_what_its_container_gets_is_read(quantity: object, expected: int | None) -> None:
    serving = manifest("Rollout", "serving", RELEASE.image, "7")
    [container] = serving["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"limits": {"memory": quantity}}
    container["env"] += [{"name": "WORKERS", "value": "4"}, {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "x"}}}]
    found = carrying(text(serving), "overlays/x", RELEASE).container
    assert found.memory == expected
    assert found.environ == {"MODEL_VERSION": "7", "MODEL_NAME": "m", "WORKERS": "4"}
