"""The overlay edit: golden files, what is refused, generated kustomizations, and what a real kustomize makes of the result."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from ruamel.yaml import YAML

from promoter.errors import ConfigError
from promoter.kustomize import release as kustomize
from promoter.kustomize import yaml_file
from promoter.kustomize.release import Edited, Overlay, deployed, write_release
from promoter.models import Change, Model, Release
from tests.support.kustomizations import Slot, Written, kustomizations
from tests.support.without_c import kustomize_without_c

DATA = Path(__file__).parent / "data" / "kustomize"
CASES = sorted(path.name for path in DATA.iterdir() if path.is_dir())

REPOSITORY = "registry.example.com/models/fraud-detector"
MODEL = Model(name="fraud-detector", repository=REPOSITORY, image_name="fraud-detector", release_file="release.yaml")
RELEASE = Release(
    model="fraud-detector",
    version="8",
    model_digest="sha256:" + "8" * 64,
    repository=REPOSITORY,
    tag="v8-20260801T101500Z",
    digest="sha256:" + "b" * 64,
)
CONFIG_MAP = b"kind: ConfigMap\ndata:\n  modelName: fraud-detector\n  modelVersion: '7'\n  modelDigest: sha256:7\n"
KUSTOMIZATION = b"images:\n- name: fraud-detector\n  newName: r\n  newTag: v7\n  digest: sha256:a\n"

C_PARSER = vars(yaml_file)["CParser"]
WITHOUT_C = kustomize_without_c()


def overlay(kustomization: bytes | str = KUSTOMIZATION, release: bytes | str = CONFIG_MAP) -> Overlay:
    kustomization, release = (text.encode() if isinstance(text, str) else text for text in (kustomization, release))
    return Overlay("overlays/production", "kustomization.yaml", kustomization, "release.yaml", release)


def edited(before: Overlay, edit: Edited) -> Overlay:
    return dataclasses.replace(
        before,
        kustomization=edit.files.get(before.kustomization_file, before.kustomization),
        release=edit.files.get(before.release_file, before.release),
    )


def written(before: Overlay, release: Release = RELEASE) -> Overlay:
    """The overlay after the edit, which also without the C extension is the same, is complete, and is the last one."""
    edit = write_release(before, MODEL, release)
    assert WITHOUT_C.write_release(before, MODEL, release).files == edit.files
    assert all(edit.files.values())
    after = edited(before, edit)
    assert deployed(after, MODEL) == release == WITHOUT_C.deployed(after, MODEL)
    assert write_release(after, MODEL, release) == Edited({}, ())
    return after


def test_the_c_extension_is_compared_with_the_parser_in_python() -> None:
    assert kustomize.write_release is not WITHOUT_C.write_release
    if C_PARSER is None:
        pytest.skip("ruamel.yaml's C extension is missing")


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    before = overlay((DATA / case / "kustomization.yaml").read_bytes(), (DATA / case / "release.yaml").read_bytes())
    after = written(before)
    assert after.kustomization.decode() == (DATA / case / "expected" / "kustomization.yaml").read_bytes().decode()
    assert after.release.decode() == (DATA / case / "expected" / "release.yaml").read_bytes().decode()


def test_changes_name_file_key_old_and_new_value() -> None:
    edit = write_release(overlay("images:\n- name: fraud-detector\n  newTag: 1.10\n  digest:\n"), MODEL, RELEASE)
    assert edit.changes == (
        Change("kustomization.yaml", "images[fraud-detector].newTag", "1.10", RELEASE.tag),
        Change("kustomization.yaml", "images[fraud-detector].digest", None, RELEASE.digest),
        Change("kustomization.yaml", "images[fraud-detector].newName", None, RELEASE.repository),
        Change("release.yaml", "data.modelVersion", "7", RELEASE.version),
        Change("release.yaml", "data.modelDigest", "sha256:7", RELEASE.model_digest),
    )


def test_only_files_that_differ_are_given() -> None:
    after = written(overlay())
    newer = dataclasses.replace(RELEASE, tag="v8-rebuilt")
    assert list(write_release(after, MODEL, newer).files) == ["kustomization.yaml"]


def test_an_overlay_that_carries_nothing() -> None:
    assert deployed(overlay("resources: [a]", "kind: ConfigMap"), MODEL) is None
    assert deployed(overlay("images: [{name: fraud-detector, newName: r}]", "kind: ConfigMap"), MODEL) is None


def test_parts_that_are_absent_are_empty_and_are_not_added() -> None:
    tag_only = overlay("images: [{name: fraud-detector, newTag: v1}]", "kind: ConfigMap\ndata: {modelName: fraud-detector}")
    before = deployed(tag_only, MODEL)
    assert before == Release("fraud-detector", "", "", "", "v1", "")
    assert write_release(tag_only, MODEL, before) == Edited({}, ())


def test_a_restored_tag_only_release_leaves_no_digest_behind() -> None:
    tag_only = dataclasses.replace(RELEASE, digest="")
    assert b'digest: ""\n' in written(written(overlay()), tag_only).kustomization


@pytest.mark.parametrize("old", ["1.10", "1e3", "0x1F", "12:30", "true", "off", "2026-08-01", "~", "1_000", ".5"])
def test_what_is_no_string_to_some_parser_is_quoted_although_the_text_is_the_same(old: str) -> None:
    release = dataclasses.replace(RELEASE, tag=old)
    after = written(overlay(f"images:\n- name: fraud-detector\n  newTag: {old}\n"), release)
    assert f'\n  newTag: "{old}"\n' in after.kustomization.decode()


def test_tabs_between_tokens_need_the_c_extension() -> None:
    if C_PARSER is None:
        pytest.skip("ruamel.yaml's C extension is missing")
    before = overlay("images:\n- name: fraud-detector\t# a tab\n  newTag:\tv1\t# another\n")
    edit = write_release(before, MODEL, RELEASE)
    assert f"# a tab\n  newTag:\t{RELEASE.tag}\t# another\n".encode() in edit.files["kustomization.yaml"]
    with pytest.raises(ConfigError, match=r"^kustomization\.yaml:\d: not YAML: found character"):
        WITHOUT_C.write_release(before, MODEL, RELEASE)


def test_another_model_in_the_same_kustomization_is_left_alone() -> None:
    other = "- name: churn\n  newTag: v1 # churn's\n"
    after = written(overlay(f"images:\n{other}- name: fraud-detector\n  newTag: v1\n{other.replace('churn', 'late')}"))
    assert after.kustomization.decode().startswith(f"images:\n{other}")
    assert after.kustomization.decode().endswith(other.replace("churn", "late"))


# -- refusals ---------------------------------------------------------------------------------------------------------

ENTRY = "images:\n- name: fraud-detector\n"
REFUSED_KUSTOMIZATIONS: dict[str, tuple[bytes | str, int | None, str]] = {
    "empty": ("", None, "empty"),
    "comments only": ("# nothing\n", None, "empty"),
    "not a mapping": ("- a\n", 1, "not a mapping"),
    "several documents": (ENTRY + "---\n" + ENTRY, 4, "several documents"),
    "images a scalar": ("a: b\nimages: none\n", 2, "not a list"),
    "images a mapping": ("images:\n  name: x\n", 2, "not a list"),
    "images an alias": ("a: &a []\nimages: *a\n", 2, "not a list"),
    "an item that is an alias": ("a: &a {name: fraud-detector}\nimages:\n- *a\n", 3, "not a mapping"),
    "images twice": ("images: []\na: b\nimages: []\n", 3, "twice"),
    "key twice": (ENTRY + "  newTag: a\n  newTag: b\n", 4, "twice"),
    "entry twice": (ENTRY + "- name: fraud-detector\n", 3, "second entry"),
    "merge key": ("a: &a {newTag: x}\n" + ENTRY + "  <<: *a\n", 4, "merge key"),
    "merge key above": ("a: &a {images: []}\n<<: *a\n", 2, "merge key"),
    "target is an alias": ("a: &a v1\n" + ENTRY + "  newTag: *a\n", 4, "alias *a"),
    "target is aliased": (ENTRY + "  newTag: &a v1\nb: *a\n", 3, "anchor &a is used elsewhere"),
    "entry is aliased": ("images:\n- &a\n  name: fraud-detector\nb: *a\n", 2, "anchor &a is used elsewhere"),
    "images is aliased": ("images: &a\n- name: x\nb: *a\n", 1, "anchor &a is used elsewhere"),
    "tag of a number": (ENTRY + "  newTag: !!int '1'\n", 3, "something else than a string"),
    "folded scalar": (ENTRY + "  newTag: >-\n    v1\n", 3, "block scalar"),
    "literal scalar": (ENTRY + "  newTag: |\n    v1\n", 3, "block scalar"),
    "a list": (ENTRY + "  newTag: [v1]\n", 3, "a list or mapping"),
    "newTag in another case": (ENTRY + "  newtag: x\n", 3, "kustomize reads 'newtag' as newTag"),
    "newName in another case": (ENTRY + "  newName: y\n  NEWNAME: x\n", 4, "kustomize reads 'NEWNAME' as newName"),
    "images in another case": (ENTRY + "Images: []\n", 3, "kustomize reads 'Images' as images"),
    "imageTags": (ENTRY + "imageTags:\n- name: fraud-detector\n  newTag: x\n", 4, "changes the image again"),
    "imageTags of the repository": (ENTRY + f"imageTags:\n- name: {REPOSITORY}\n  newTag: x\n", 4, "changes the image again"),
    "renamed before": ("images:\n- name: fraud.detector\n  newName: x\n- name: fraud-detector\n", 2, "renames"),
    "changed after": (ENTRY + f"- name: {REPOSITORY}\n  newTag: x\n", 3, "changes it again"),
    "would match another": ("images:\n- name: x\n  newName: fraud-detector\n", 2, "would also match"),
    "tagged null": ("a: b\nimages: !!null\n", 2, "not a list"),
    "anchored null": ("a: b\nimages: &a\n", 2, "a tag or an anchor on nothing"),
    "explicit keys": ("images:\n- ? name\n  : fraud-detector\n", 3, "sure to change nothing else"),
    "open literal at the end": ("a: |+\n  text\n\n", 2, "sure to change nothing else"),
    "unclosed quote": ("a: b\nc: 'd\n", 3, "not YAML: found unexpected end of stream"),
    "tab indentation": ("a:\n\tb: c\n", 2, "not YAML: found character"),
    "control character": ("a: b\nc: \x07\n", 2, "not YAML"),
    "next line": ("a: b\n# c \x85 d\n", 2, "U+0085"),
    "line separator": ("a: b\n\nc: 'd \u2028 e'\n", 3, "U+2028"),
    "Latin-1": (b"a: b\n# caf\xe9\n", 2, "not UTF-8"),
    "UTF-16": ("a: b\n".encode("utf-16"), 1, "not UTF-8"),
}
REFUSED_RELEASES = {
    "empty": ("", None, "no ConfigMap"),
    "another kind": ("kind: Secret\n", None, "no ConfigMap"),
    "another model": ("kind: ConfigMap\ndata:\n  modelName: churn\n", 3, "is for model 'churn', not 'fraud-detector'"),
    "none of several": ("kind: ConfigMap\n---\nkind: ConfigMap\n", 1, "no ConfigMap of these"),
    "two of ours": (CONFIG_MAP.decode() + "---\n" + CONFIG_MAP.decode(), 7, "a second ConfigMap"),
    "data twice": ("kind: ConfigMap\ndata: {}\ndata: {}\n", 3, "twice"),
    "data a list": ("kind: ConfigMap\ndata: [a]\n", 2, "not a mapping"),
    "data an alias": ("a: &a {}\nkind: ConfigMap\ndata: *a\n", 3, "not a mapping"),
    "data is aliased": ("kind: ConfigMap\ndata: &a {x: y}\nb: *a\n", 2, "anchor &a is used elsewhere"),
    "value a mapping": ("kind: ConfigMap\ndata:\n  modelVersion: {a: b}\n", 3, "a list or mapping"),
    "malformed": ("kind: ConfigMap\ndata: }\n", 2, "not YAML"),
}


def refusal(module: ModuleType, before: Overlay) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        module.write_release(before, MODEL, RELEASE)
    return caught.value


def check_refusal(before: Overlay, file: str, line: int | None, message: str) -> None:
    error = refusal(kustomize, before)
    assert (error.file, error.line) == (file, line)
    assert message in error.message
    assert error.hint
    assert str(refusal(WITHOUT_C, before)) == str(error)


@pytest.mark.parametrize("name", REFUSED_KUSTOMIZATIONS)
def test_refused_kustomization(name: str) -> None:
    text, line, message = REFUSED_KUSTOMIZATIONS[name]
    check_refusal(overlay(kustomization=text), "kustomization.yaml", line, message)


@pytest.mark.parametrize("name", REFUSED_RELEASES)
def test_refused_release_file(name: str) -> None:
    text, line, message = REFUSED_RELEASES[name]
    check_refusal(overlay(release=text), "release.yaml", line, message)


def test_reading_refuses_values_that_stand_elsewhere() -> None:
    with pytest.raises(ConfigError, match=r"^kustomization.yaml:4: images\[fraud-detector\].newTag: not a string"):
        deployed(overlay("a: &a v1\n" + ENTRY + "  newTag: *a\n"), MODEL)


def test_several_models_in_a_release_file_without_a_name_of_ours() -> None:
    with pytest.raises(ConfigError, match="no ConfigMap of these is for model 'fraud-detector'"):
        deployed(overlay(release="kind: ConfigMap\ndata: {modelName: a}\n---\nkind: ConfigMap\ndata: {modelName: b}\n"), MODEL)


# -- generated kustomizations -----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kustomizations())
@example(Written(("images: [{newTag: ", Slot("newTag", "sha256:a"), ", name: fraud-detector}]")))
def test_nothing_but_the_meant_values_changes(source: Written) -> None:
    before = overlay(source.text)
    after = written(before).kustomization.decode()
    assert load(after) == with_release(load(source.text))

    replaced = written(before, without(RELEASE, {"newName", "newTag", "digest"} - source.keys))
    pattern = "".join("(.*)" if isinstance(part, Slot) else re.escape(part) for part in source.parts)
    assert re.fullmatch(pattern, replaced.kustomization.decode(), re.DOTALL)

    assert written(replaced).kustomization.decode() == after
    emptied = replaced.kustomization.decode().replace("images: null", "images: ").replace("images: ~", "images: ")
    assert is_insertion(emptied, after)


def without(release: Release, keys: set[str]) -> Release:
    """The release as far as these keys of the entry don't matter: an empty value is not added."""
    fields = {"newName": "repository", "newTag": "tag", "digest": "digest"}
    return dataclasses.replace(release, **{fields[key]: "" for key in keys})


def is_insertion(before: str, after: str) -> bool:
    """Whether one piece of text put into `before`, or none, makes `after`."""
    same = next((place for place, pair in enumerate(zip(before, after, strict=False)) if len(set(pair)) > 1), len(before))
    return after.endswith(before[same:])


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def with_release(data: dict[str, Any]) -> dict[str, Any]:
    release = {"newName": RELEASE.repository, "newTag": RELEASE.tag, "digest": RELEASE.digest}
    entries = data.get("images") or []
    if not any(entry["name"] == "fraud-detector" for entry in entries):
        entries = [*entries, {"name": "fraud-detector"}]
    images = [entry | release if entry["name"] == "fraud-detector" else entry for entry in entries]
    return data | {"images": images}


# -- real kustomize ---------------------------------------------------------------------------------------------------


def build_command() -> list[str]:
    if found := os.environ.get("CLUSTER_KUSTOMIZE") or shutil.which("kustomize"):
        return [found, "build"]
    if found := shutil.which("kubectl"):
        return [found, "kustomize"]
    pytest.skip("neither kustomize (CLUSTER_KUSTOMIZE or on PATH) nor kubectl is on this machine")


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: fraud-detector}
spec:
  template:
    metadata: {labels: {model-version: unset}}
    spec: {containers: [{name: server, image: fraud-detector}]}
"""
REPLACEMENTS = """\
resources: [deployment.yaml, release.yaml]
replacements:
- source: {kind: ConfigMap, name: release, fieldPath: data.modelVersion}
  targets:
  - select: {kind: Deployment}
    fieldPaths: [spec.template.metadata.labels.model-version]
"""


@pytest.mark.parametrize(
    "images",
    [
        "",
        "images:\n",
        "images: [{name: fraud-detector, newTag: 1.10}]\n",
        "images:\n- name: fraud-detector\n  digest: sha256:aa\n",
    ],
)
def test_kustomize_builds_the_edited_overlay(tmp_path: Path, images: str) -> None:
    config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: release\n"
    after = written(overlay(REPLACEMENTS + images, config_map))
    (tmp_path / "deployment.yaml").write_text(DEPLOYMENT)
    (tmp_path / "kustomization.yaml").write_bytes(after.kustomization)
    (tmp_path / "release.yaml").write_bytes(after.release)
    built = subprocess.run([*build_command(), str(tmp_path)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert f"image: {RELEASE.image}\n" in built.stdout
    assert 'model-version: "8"\n' in built.stdout
