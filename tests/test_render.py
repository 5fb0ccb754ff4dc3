"""Rendering with the real kustomize (or kubectl) of this machine."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from promoter.commands.scaffold import template
from promoter.config import RenderConfig
from promoter.errors import ExitCode, LinkError, RefusedError, UnreachableError
from promoter.gitops.tree import normalize
from promoter.kustomize.render import NotBuiltHereError, render, tool
from tests.support.listener import listening
from tests.support.processes import has_ended

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


@pytest.mark.parametrize("prefix", ["Error: ", "error: ", ""])
def test_what_the_tools_put_in_front_of_their_words_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: dict[str, bytes], prefix: str
) -> None:
    program = tmp_path / "kustomize"
    program.write_text(f"#!/bin/sh\necho '{prefix}no Error: here' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RefusedError) as caught:
        render(Files(shipped), "overlays/staging", {})
    assert caught.value.message == "overlays/staging does not build: no Error: here"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "was ended by SIGKILL: the machine may be out of memory"),
        ("sh -c 'kill -SEGV $$'; exit $?", "was ended by SIGSEGV"),
        ("echo 'panic: runtime error: index out of range' >&2; exit 2", "crashed: panic: runtime error: index out of range"),
        ("exit 1", "ended with status 1 and no message"),
        ("exit 0", "printed nothing"),
        ("sleep 300 & echo $! > {folder}/child; wait", "gave no answer in 1 s and was ended"),
    ],
)
def test_a_tool_that_fails_itself_proves_nothing_about_the_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: dict[str, bytes], script: str, said: str
) -> None:
    program = tmp_path / "kustomize"
    program.write_text(f"#!/bin/sh\n{script.format(folder=tmp_path)}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("promoter.kustomize.render._TIMEOUT", 1.0)
    with pytest.raises(UnreachableError) as caught:
        render(Files(shipped), "overlays/staging", {})
    assert caught.value.exit_code == ExitCode.UNREACHABLE
    assert caught.value.message == f"whether overlays/staging builds is unknown: {program} {said}"
    if (child := tmp_path / "child").exists():
        assert has_ended(int(child.read_text()))


def test_a_tool_that_can_not_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: dict[str, bytes]) -> None:
    (tmp_path / "kustomize").write_text("no program")
    (tmp_path / "kustomize").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UnreachableError, match="can't be started: Exec format error"):
        render(Files(shipped), "overlays/staging", {})


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


def test_files_named_alongside_the_overlay_come_along(shipped: dict[str, bytes]) -> None:
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


# -- options and networks ---------------------------------------------------------------------------------------------

OVERLAY = "overlays/staging/kustomization.yaml"
COMMON = b"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: common}\n"


def with_lines(shipped: dict[str, bytes], lines: bytes) -> dict[str, bytes]:
    return shipped | {OVERLAY: shipped[OVERLAY] + lines}


def test_a_file_above_the_overlay_needs_the_load_restrictor_that_argo_cd_has(shipped: dict[str, bytes]) -> None:
    resources = shipped[OVERLAY].replace(b"resources:\n", b"resources:\n- ../common.yaml\n", 1)
    files = Files(shipped | {"overlays/common.yaml": COMMON, OVERLAY: resources})
    with pytest.raises(RefusedError) as caught:
        render(files, "overlays/staging", {})
    assert "kustomize: {build-options: --load-restrictor LoadRestrictionsNone}" in caught.value.hint
    rules = RenderConfig(("--load-restrictor", "LoadRestrictionsNone"))
    assert "name: common" in (render(files, "overlays/staging", {}, rules) or "")


def test_without_a_load_restrictor_nothing_outside_the_repository_is_read(shipped: dict[str, bytes]) -> None:
    files = Files(with_lines(shipped, b"configMapGenerator:\n- {name: x, files: [/etc/hostname]}\n"))
    with pytest.raises(RefusedError, match="reads /etc/hostname, which is outside the repository"):
        render(files, "overlays/staging", {}, RenderConfig(("--load-restrictor", "LoadRestrictionsNone")))


def test_a_chart_needs_the_option_and_what_is_not_here_is_not_built(shipped: dict[str, bytes]) -> None:
    files = Files(with_lines(shipped, b"helmCharts:\n- {name: redis, repo: 'https://charts.example.com', version: 1.0.0}\n"))
    with pytest.raises(RefusedError) as caught:
        render(files, "overlays/staging", {})
    assert "kustomize: {build-options: --enable-helm}" in caught.value.hint
    with pytest.raises(NotBuiltHereError, match="the chart redis"):
        render(files, "overlays/staging", {}, RenderConfig(("--enable-helm",)))


def test_plugins_are_never_run(shipped: dict[str, bytes]) -> None:
    with pytest.raises(NotBuiltHereError, match="--enable-exec, which promoter does not use"):
        render(Files(shipped), "overlays/staging", {}, RenderConfig(cannot="--enable-exec"))


def test_a_remote_base_is_refused_before_anything_is_asked(shipped: dict[str, bytes]) -> None:
    with listening() as listener:
        files = Files({"overlays/staging/kustomization.yaml": f"resources:\n- {listener.url}/base.yaml\n".encode()})
        with pytest.raises(RefusedError, match=f"{OVERLAY} fetches {listener.url}/base.yaml"):
            render(files, "overlays/staging", {})
        assert not listener.received
        with pytest.raises(RefusedError, match="does not build"):
            render(files, "overlays/staging", {}, RenderConfig(network=True))
        assert b"GET /base.yaml" in listener.received, "else nothing would have been asked anyway"


@dataclass(frozen=True)
class WithALink:
    """Files of which one is a symbolic link."""

    files: Mapping[str, bytes]
    link: str
    target: str

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def export(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        if self.link in paths:
            raise LinkError(f"{self.link} is a symbolic link", hint="x", link=self.link, id="", target=self.target)
        return {name: content for name, content in self.files.items() if any(name.startswith(f"{path}/") for path in paths)}


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("base/kustomization.yaml", "real.yaml"),  # what it names, a remote base for example, would not be looked at
        ("base/rollout.yaml", "../.."),
        ("base/rollout.yaml", ".."),
        ("base/rollout.yaml", "linked/../rollout.yaml"),
    ],
)
def test_a_link_that_can_not_be_made_safely_leaves_unknown_what_is_rendered(
    shipped: dict[str, bytes], link: str, target: str
) -> None:
    resources = shipped[OVERLAY].replace(b"resources:\n", f"resources:\n- ../../{link}\n".encode(), 1)
    with pytest.raises(NotBuiltHereError, match=f"{link} is a symbolic link to {re.escape(target)}"):
        render(WithALink(shipped | {OVERLAY: resources}, link, target), "overlays/staging", {})
