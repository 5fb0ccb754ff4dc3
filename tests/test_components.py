"""Components that contradict each other: named by check, and those that kustomize can refuse do not build."""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path

import pytest

from promoter import config
from promoter.commands.check import check
from promoter.commands.init import init, plan_init
from promoter.commands.scaffold import Wanted
from promoter.kustomize.components import components, contradictions
from promoter.promotion.clients import Clients
from tests.support.manifests import CHOICES, ENVIRONMENTS, Built, build, built, write_overlay

__all__ = ["built"]

PAIRS = [
    ("deployment", "istio"),
    ("deployment", "gateway-api"),
    ("deployment", "prometheus-analysis"),
    ("deployment", "blue-green"),
    ("blue-green", "istio"),
    ("blue-green", "gateway-api"),
    ("istio", "gateway-api"),
]
# In this order kustomize has no way to see it: what the first has added is replaced.
ONLY_CHECK = {("prometheus-analysis", "deployment"), ("istio", "gateway-api"), ("gateway-api", "istio")}
ORDERED = [ordered for pair in PAIRS for ordered in permutations(pair)]


def switched_on(folder: Path, *names: str) -> None:
    file = folder / "overlays/churn/staging/kustomization.yaml"
    listed = "".join(f"- ../../../base/components/{name}\n" for name in names)
    text = file.read_text()
    assert "components:" in text
    file.write_text(text.replace("- ../../../base/components/release\n", f"{listed}- ../../../base/components/release\n"))


def found(tmp_path: Path, *names: str) -> list[tuple[str, str, str]]:
    init(
        plan_init(
            tmp_path,
            Wanted("churn", "registry.team/ml", "https://git.example.dev/team/gitops.git", mlflow="https://mlflow.team"),
        )
    )
    switched_on(tmp_path, *names)
    clients = Clients(config.load(tmp_path / config.FILE), {**os.environ})
    findings = check(clients, clients.config.environments, offline=True, say=lambda _: None).findings
    return [(one.where, one.problem, one.fix) for one in findings]


@pytest.mark.parametrize("names", ORDERED, ids="+".join)
def test_check_names_a_pair_that_contradicts(tmp_path: Path, names: tuple[str, str]) -> None:
    named = [one for one in found(tmp_path, *names) if "contradict each other" in one[1]]
    [(where, problem, fix)] = named
    assert where == "overlays/churn/staging"
    assert {*names} == set(problem.partition(" contradict")[0].removeprefix("components ").split(" and "))
    assert all(name in fix for name in names)


@pytest.mark.parametrize("names", [one for one in ORDERED if one not in ONLY_CHECK], ids="+".join)
def test_what_kustomize_can_refuse_does_not_build(built: Built, names: tuple[str, str]) -> None:
    folder = built.root / "overlays" / f"refused-{'-'.join(names)}"
    write_overlay(built.root / "overlays/production", folder, names)
    with pytest.raises(AssertionError, match=r"base/components/|no matches for Id|trafficRouting"):
        build(folder)


@pytest.mark.parametrize("names", [("prometheus-analysis", "blue-green"), ("deployment", "keda")], ids="+".join)
def test_an_order_that_loses_something_is_named(tmp_path: Path, names: tuple[str, str]) -> None:
    problems = [problem for _, problem, _ in found(tmp_path, *names)]
    assert any(f"component {names[0]} stands before {names[1]}" in problem for problem in problems)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("names", CHOICES, ids=lambda names: "+".join(names) or "as-shipped")
def test_what_makes_sense_together_is_not_refused(built: Built, name: str, names: tuple[str, ...]) -> None:
    built(name, *names)
    files = {file.relative_to(built.root).as_posix(): file.read_bytes() for file in built.root.rglob("*.yaml")}
    listed = components(files, f"overlays/{'-'.join((name, *names))}")
    assert [one for one in listed if one in names] == list(names)
    assert listed[-3:] == ("release", "links", "link-dashboard")
    assert list(contradictions(listed)) == []
