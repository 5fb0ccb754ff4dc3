"""Rendering with the real kustomize (or kubectl) of this machine."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest

from promoter.demo import template
from promoter.errors import ExitCode, RefusedError
from promoter.gitops.tree import normalize
from promoter.kustomize.render import render, tool

pytestmark = pytest.mark.skipif(tool() is None, reason="neither kustomize nor kubectl is here")


@dataclass(frozen=True)
class Files:
    """A tree that is a mapping; `asked` remembers which folders were wanted."""

    files: Mapping[str, bytes]

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def export(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        wanted = set(paths)
        return {
            file: content for file, content in self.files.items() if any(f"{file}/".startswith(f"{path}/") for path in wanted)
        }


@pytest.fixture
def shipped() -> dict[str, bytes]:
    return dict(template.files())


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_shipped_overlays_build(shipped: dict[str, bytes], environment: str) -> None:
    text = render(Files(shipped), f"overlays/{environment}", {}) or ""
    assert "kind: Rollout" in text
    assert f"namespace: fraud-detector-{environment}" in text
    assert "name: release\n" not in text, "the release's ConfigMap is local"


def test_a_release_reaches_image_environment_and_label(shipped: dict[str, bytes]) -> None:
    path = "overlays/staging/kustomization.yaml"
    digest = "sha256:" + "a" * 64
    entry = f'- name: inference-service\n  newName: r.example.com/fraud\n  newTag: "v7-20261123000000"\n  digest: {digest}\n'
    changed = {
        path: shipped[path].replace(b"- name: inference-service\n", entry.encode()),
        "overlays/staging/release.yaml": shipped["overlays/staging/release.yaml"].replace(
            b'modelVersion: ""', b'modelVersion: "7"'
        ),
    }
    text = render(Files(shipped), "overlays/staging", changed) or ""
    assert f"image: r.example.com/fraud:v7-20261123000000@{digest}" in text
    assert 'name: MODEL_VERSION\n          value: "7"' in text
    assert 'model-version: "7"' in text


def test_an_overlay_that_does_not_build_is_refused_in_the_tools_words(shipped: dict[str, bytes]) -> None:
    path = "overlays/staging/kustomization.yaml"
    with pytest.raises(RefusedError) as caught:
        render(Files(shipped), "overlays/staging", {path: shipped[path].replace(b"release.yaml", b"gone.yaml")})
    assert caught.value.exit_code == ExitCode.REFUSED
    assert caught.value.message.startswith("overlays/staging does not build: ")
    assert "gone.yaml" in caught.value.message
    assert "/tmp" not in caught.value.message


def test_only_what_the_overlay_names_is_read(shipped: dict[str, bytes]) -> None:
    asked: list[str] = []

    @dataclass(frozen=True)
    class Watched(Files):
        def export(self, paths: Iterable[str]) -> Mapping[str, bytes]:
            asked.extend(paths := list(paths))
            return super().export(paths)

    render(Watched({**shipped, "other/secret.yaml": b"x"}), "overlays/staging", {})
    assert "overlays/staging" in asked
    assert "base" in asked
    assert not [path for path in asked if posixpath.commonpath([path, "other"]) == "other"]


def test_what_no_tree_can_be_asked_for_is_no_file(shipped: dict[str, bytes]) -> None:
    path = "overlays/staging/kustomization.yaml"
    odd = b"""commonAnnotations:
  escaped: a\\.b/c
  repository: ssh/.git/hooks
"""

    @dataclass(frozen=True)
    class Strict(Files):
        def export(self, paths: Iterable[str]) -> Mapping[str, bytes]:
            return super().export([normalize(path) for path in paths])

    assert "kind: Rollout" in (render(Strict({**shipped, path: shipped[path] + odd}), "overlays/staging", {}) or "")


def test_files_named_beside_the_overlay_come_along(shipped: dict[str, bytes]) -> None:
    path = "overlays/production/kustomization.yaml"
    more = (
        shipped[path].replace(b"components:", b"components:\n- ../../shared\n#")
        + b"configMapGenerator:\n- name: app\n  files: [app.conf=../production/app.txt]\n"
    )
    patch = b"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: inference-service}\nspec: {replicas: 5}\n"
    component = b"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- path: scale.yaml\n"
    shared = {"shared/kustomization.yaml": component, "shared/scale.yaml": patch}
    tree = Files({**shipped, **shared, path: more, "overlays/production/app.txt": b"hello"})
    text = render(tree, "overlays/production", {}) or ""
    assert "replicas: 5" in text
    assert "app.conf: hello" in text
