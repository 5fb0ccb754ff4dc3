"""What an overlay may name: nothing on a network, nothing outside its repository."""

from __future__ import annotations

import pytest

from promoter.errors import RefusedError
from promoter.kustomize.outside import charts, require_inside

FILE = "overlays/staging/kustomization.yaml"
REMOTE = [
    "resources: [https://example.com/base.yaml]",
    "resources:\n- http://169.254.169.254/latest/meta-data/",
    "resources: [github.com/org/repo//base?ref=v1]",
    "Resources: [GitHub.com/org/repo]",
    "bases: ['git@git.example.com:org/repo.git']",
    "bases: [ssh://git@example.com/org/repo]",
    "components: ['git::https://example.com/x']",
    "resources: [gh:org/repo]",
    "resources: [file:///etc]",
    "crds: [https://example.com/crd.json]",
    "openapi: {path: 'https://example.com/schema.json'}",
    "patches:\n- path: http://example.com/patch.yaml\n  target: {kind: Rollout}",
    "patchesStrategicMerge: ['http://example.com/patch.yaml']",
    "patchesJson6902:\n- {path: 'http://example.com/patch.yaml', target: {kind: Rollout, name: x, version: v1}}",
    "configMapGenerator:\n- {name: x, files: ['key=http://example.com/x']}",
    "secretGenerator:\n- {name: x, envs: ['http://example.com/x']}",
    "replacements:\n- path: https://example.com/r.yaml",
    "helmCharts:\n- {name: x, valuesFile: 'https://example.com/v.yaml'}",
]
ELSEWHERE = [
    "resources: [../../../base]",
    "resources: [/etc]",
    "configMapGenerator:\n- {name: x, files: [/root/.netrc]}",
    "configMapGenerator:\n- {name: x, files: [key=../../../secret]}",
    "patches: [{path: ../../../x.yaml}]",
    "helmGlobals: {chartHome: /charts}",
]
HARMLESS = [
    "resources: [../../base, release.yaml]",
    "commonAnnotations: {docs: 'https://example.com'}",
    "labels:\n- pairs: {x: y}\n  fields: [{path: /metadata/labels}]",
    "patches:\n- target: {kind: Rollout}\n  patch: |-\n    - {op: replace, path: /spec/replicas, value: 3}",
    "configMapGenerator:\n- {name: x, literals: ['URL=https://example.com', 'DIR=/etc']}",
    "replacements:\n- source: {fieldPath: data.x}\n  targets: [{select: {kind: Rollout}, fieldPaths: ['spec.x']}]",
    "images:\n- {name: x, newName: registry.example.com/x}",
    "resources: [",
]


def refusal(text: str) -> str:
    try:
        require_inside({FILE: text.encode()}, network=False)
    except RefusedError as error:
        return error.message
    return ""


@pytest.mark.parametrize("text", REMOTE)
def test_what_is_fetched_is_refused_by_name_and_allowed_with_a_network(text: str) -> None:
    files = {FILE: text.encode()}
    with pytest.raises(RefusedError, match=f"{FILE} fetches") as caught:
        require_inside(files, network=False)
    assert "render: {network: true}" in caught.value.hint
    require_inside(files, network=True)


@pytest.mark.parametrize("text", ELSEWHERE)
@pytest.mark.parametrize("network", [False, True])
def test_what_is_outside_the_repository_is_refused(text: str, network: bool) -> None:
    with pytest.raises(RefusedError, match="which is outside the repository"):
        require_inside({FILE: text.encode()}, network=network)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_kustomize_does_not_load_may_be_any_text(text: str) -> None:
    assert refusal(text) == ""


def test_a_generator_in_a_file_of_its_own_is_looked_into() -> None:
    generator = b"apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: x}\nfiles: [/etc/passwd]\n"
    with pytest.raises(RefusedError, match=r"overlays/staging/generator\.yaml reads /etc/passwd"):
        require_inside({FILE: b"generators: [generator.yaml]", "overlays/staging/generator.yaml": generator}, network=False)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("helmCharts: [{name: redis, repo: 'https://charts.example.com'}]", ["redis"]),
        ("helmCharts: [{name: local}]", []),
        ("helmGlobals: {chartHome: ../charts}\nhelmCharts: [{name: shared}, {name: local}]", ["local"]),
        ("helmChartInflationGenerator: [{chartName: redis}]", ["redis"]),
        ("helmCharts: 5", []),
    ],
)
def test_charts_that_are_not_in_the_repository_are_named(text: str, missing: list[str]) -> None:
    files = {FILE: text.encode(), "overlays/staging/charts/local/Chart.yaml": b"", "overlays/charts/shared/Chart.yaml": b""}
    assert list(charts(files)) == missing
