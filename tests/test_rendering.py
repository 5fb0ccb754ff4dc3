"""What a change does to what Argo CD applies, where kustomize's defaults are not enough: Argo CD's options, and its answer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from promoter import config
from promoter.commands.check import check
from promoter.commands.check_files import WorkTree
from promoter.commands.init import init, plan_init
from promoter.commands.scaffold import Wanted
from promoter.errors import ExitCode, RefusedError
from promoter.kustomize.overlay import read_overlay
from promoter.kustomize.release import parse_overlay
from promoter.kustomize.render import tool
from promoter.models import Environment, Release
from promoter.promotion.clients import Clients
from promoter.promotion.rendering import Rendered, asked, rendered_change
from promoter.transport.credential import PLAIN_HTTP
from tests.support.replay import Answer, Replay, replaying

pytestmark = pytest.mark.skipif(tool() is None, reason="neither kustomize nor kubectl is here")

OVERLAY = "overlays/churn/staging"
NO_RESTRICTIONS = "--load-restrictor LoadRestrictionsNone"
COMMON = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: common}\n"
CHART = "helmCharts:\n- {name: redis, repo: 'https://charts.example.com', version: 1.0.0}\n"
COMMIT = "0123456789" * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init(plan_init(tmp_path, Wanted("churn", "registry.team/ml", "https://git.example.dev/team/gitops.git")))
    return tmp_path


def settings(options: str) -> dict[str, Answer]:
    return {"/api/v1/settings": Answer({"kustomizeOptions": {"BuildOptions": options, "BinaryPath": "", "Versions": None}})}


def clients_of(folder: Path, argocd: Replay | None = None) -> Clients:
    server = {"ARGOCD_SERVER": argocd.url, "ARGOCD_AUTH_TOKEN": "t", PLAIN_HTTP: argocd.url} if argocd else {}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARGOCD_")}
    return Clients(config.load(folder / config.FILE), environ | server)


def staging(clients: Clients) -> Environment:
    return clients.config.environment("staging")


def a_release(environment: Environment) -> Release:
    model, digest = environment.model, "sha256:" + "1" * 64
    return Release(model.name, "1", digest, model.repository, "v1-20260101T000000Z", digest)


def change(folder: Path, clients: Clients) -> Rendered:
    environment, tree = staging(clients), WorkTree(folder)
    release = a_release(environment)
    files = parse_overlay(read_overlay(tree, environment)).write(environment.model, release).files
    found = rendered_change(clients, tree, environment, files, release)
    assert found is not None
    return found


def above_the_overlay(folder: Path) -> None:
    """A file that kustomize reads only without its load restrictor."""
    (folder / "overlays/common.yaml").write_text(COMMON)
    file = folder / OVERLAY / "kustomization.yaml"
    file.write_text(file.read_text().replace("resources:\n", "resources:\n- ../../common.yaml\n", 1))


def append(folder: Path, name: str, text: str) -> None:
    with (folder / name).open("a") as file:
        file.write(text)


def test_the_options_of_argo_cd_are_used_where_the_defaults_do_not_build(folder: Path) -> None:
    above_the_overlay(folder)
    with replaying(settings(NO_RESTRICTIONS)) as argocd:
        clients = clients_of(folder, argocd)
        found = change(folder, clients)
    assert found.unknown == ""
    assert a_release(staging(clients)).image in found.diff
    assert found.carriers.watched


def test_an_overlay_that_builds_costs_argo_cd_no_request(folder: Path) -> None:
    with replaying(settings(NO_RESTRICTIONS)) as argocd:
        assert change(folder, clients_of(folder, argocd)).carriers.watched
        assert argocd.asked == []


@pytest.mark.parametrize("answers", [settings(""), {}, {"/api/v1/settings": Answer({"error": "x", "code": 7}, 403)}])
def test_without_options_of_argo_cd_the_refusal_names_them(folder: Path, answers: Mapping[str, Answer]) -> None:
    above_the_overlay(folder)
    with replaying(answers) as argocd, pytest.raises(RefusedError) as caught:
        change(folder, clients_of(folder, argocd))
    assert "build-options: --load-restrictor LoadRestrictionsNone" in caught.value.hint


def test_options_that_are_written_are_the_ones_that_count(folder: Path) -> None:
    above_the_overlay(folder)
    append(folder, "promoter.yaml", 'kustomize: {build-options: ""}\n')
    with replaying(settings(NO_RESTRICTIONS)) as argocd:
        with pytest.raises(RefusedError):
            change(folder, clients_of(folder, argocd))
        assert argocd.asked == []


@pytest.mark.parametrize("options", ["--enable-alpha-plugins --enable-exec", "--new-in-some-version"])
def test_options_of_argo_cd_that_promoter_does_not_use_leave_it_unknown(folder: Path, options: str) -> None:
    above_the_overlay(folder)
    with replaying(settings(options)) as argocd:
        found = change(folder, clients_of(folder, argocd))
    assert found.unknown == f"Argo CD builds it with {options.split()[0]}, which promoter does not use"
    assert found.warnings


def test_check_builds_as_argo_cd_does(folder: Path) -> None:
    above_the_overlay(folder)
    with replaying(settings(NO_RESTRICTIONS)) as argocd:
        clients = clients_of(folder, argocd)
        offline = check(clients, [staging(clients)], offline=True, say=lambda _: None)
        online = check(clients, [staging(clients)], offline=False, say=lambda _: None)
    name = "overlay of churn in staging"
    assert (name in offline.passed, name in online.passed) == (False, True)


def test_check_reports_what_can_not_be_built_here(folder: Path) -> None:
    append(folder, "promoter.yaml", "kustomize: {build-options: --enable-helm}\n")
    append(folder, f"{OVERLAY}/kustomization.yaml", CHART)
    clients = clients_of(folder)
    found = check(clients, [staging(clients)], offline=True, say=lambda _: None)
    (finding,) = (one for one in found.findings if one.where == OVERLAY)
    assert "is not built here, so nothing shows that it runs the release: the chart redis" in finding.problem
    assert finding.exit_code is ExitCode.DONE


# -- what Argo CD renders of the tip ----------------------------------------------------------------------------------


def rollout(image: str) -> str:
    container = {"name": "model", "image": image}
    template = {"metadata": {"labels": {}}, "spec": {"containers": [container]}}
    kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "churn"}}
    return json.dumps({**kind, "spec": {"template": template}})


def answered(folder: Path, answer: Answer, *, deployed: bool = True) -> str:
    path = "/api/v1/applications/churn-staging/manifests"
    with replaying({path: answer}) as argocd:
        clients = clients_of(folder, argocd)
        environment = staging(clients)
        return asked(clients, environment, COMMIT, a_release(environment) if deployed else None)


def test_argo_cd_is_asked_for_what_is_there_now_and_what_that_does_not_show_is_named(folder: Path) -> None:
    clients = clients_of(folder)
    image = a_release(staging(clients)).image
    with_it = Answer({"manifests": [rollout(image), '{"kind": "Service"}']})
    unproven = "that does not show what it renders with this change"
    at = "Argo CD renders what is there now, at 0123456789"
    assert answered(folder, with_it) == f"{at}, with its release in Rollout churn: {unproven}"
    assert answered(folder, with_it, deployed=False) == f"{at}: {unproven}"
    without = answered(folder, Answer({"manifests": [rollout("nginx:1")]}))
    assert without.startswith(f"{at}, without its release: no Rollout or Deployment that {OVERLAY} renders runs {image}")


def test_an_answer_that_argo_cd_does_not_give_is_named(folder: Path) -> None:
    message = "Manifest generation error (cached): `kustomize build` failed exit status 1"
    failed = answered(folder, Answer({"error": message, "code": 2, "message": message}, 500))
    assert failed.startswith("Argo CD did not render what is there now, at 0123456789: ")
    assert message in failed
    clients = clients_of(folder)
    assert asked(clients, staging(clients), COMMIT, None) == "Argo CD is not configured, and can't be asked"
