"""check: finds what would keep a promotion from succeeding, names the place and the fix, and nothing in what init wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from promoter import config
from promoter.commands import check_servers
from promoter.commands.check import Checked, Finding, check
from promoter.commands.check_credentials import credentials
from promoter.commands.init import init, plan_init
from promoter.commands.plan import plan
from promoter.commands.scaffold import Wanted
from promoter.errors import ConfigError, ExitCode, PromoterError, RefusedError
from promoter.model_registry import ModelReference, Webhooks
from promoter.models import Workload
from promoter.promotion.clients import Clients
from promoter.promotion.steps import Steps
from promoter.webhook.events import WAKING
from tests.support.argo_world import world
from tests.support.faults import Answer, Asked, Fault, Forward
from tests.support.git_server import GitServer
from tests.support.registry_server import PASSWORD, USERNAME, RegistryServer, private_registry_server
from tests.support.write_path import WritePath, path, unique_name

__all__ = ["path", "private_registry_server"]

URL = "https://git.example.dev/team/gitops.git"
STAGING = "overlays/churn/staging/kustomization.yaml"
RELEASE = "overlays/churn/staging/release.yaml"
APPLICATION = "environments/churn-staging.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init(plan_init(tmp_path, Wanted("churn", "registry.team/ml", URL, mlflow="https://mlflow.team")))
    return tmp_path


def look(folder: Path, *, offline: bool = True, **environ: str) -> Checked:
    clients = Clients(config.load(folder / config.FILE), {**os.environ, **environ})
    return check(clients, clients.config.environments, offline=offline, say=lambda _: None)


def edit(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("workload", Workload)
def test_nothing_is_found_in_what_init_wrote(tmp_path: Path, workload: Workload) -> None:
    init(plan_init(tmp_path, Wanted("churn", "registry.team/ml", URL, mlflow="https://mlflow.team", workload=workload)))
    checked = look(tmp_path)
    assert (checked.findings, checked.exit_code) == ((), ExitCode.DONE)
    assert len(checked.passed) == 9


IMAGE = "- name: inference-service"
SEEDED: dict[str, tuple[str, str, str, str, str]] = {
    # file, old, new, what the finding reports, its fix
    "registry": (
        "promoter.yaml",
        "registry.team/ml/churn",
        "registry.example.com/churn",
        "promoter.yaml:5: registry.example.com is a placeholder",
        "your own",
    ),
    "repository": (
        APPLICATION,
        URL,
        "https://github.com/your-org/x.git",
        f"{APPLICATION}:10: your-org is a placeholder",
        "your own value",
    ),
    "mlflow": (
        "overlays/churn/production/settings.yaml",
        "https://mlflow.team",
        "https://mlflow.example.com",
        "production/settings.yaml:11: mlflow.example.com",
        "own",
    ),
    "entry later": (
        STAGING,
        "- name: inference-service",
        "- name: inference-service\n- name: inference-service\n  newTag: x",
        "images[inference-service]: a second entry",
        "keep one entry",
    ),
    "release is no resource": (STAGING, "- release.yaml\n", "", "ConfigMap.[noVer].[noGrp]/release", "fix the overlay first"),
    "no component": (
        STAGING,
        "- ../../../base/components/release\n",
        "",
        "renders with model version ''",
        "copy data.modelVersion of the release file there",
    ),
    "base is missing": (STAGING, "- ../../../base\n", "- ../../../bass\n", "does not build", "fix the overlay first"),
    "release is a Secret": (
        RELEASE,
        "kind: ConfigMap",
        "kind: Secret",
        "no ConfigMap in the release file",
        "write a ConfigMap",
    ),
    "another model": (RELEASE, "modelName: churn", "modelName: fraud", "is for model 'fraud'", "write `modelName: churn`"),
    "settings lack a key": (
        "overlays/churn/staging/settings.yaml",
        '  WORKERS: "1" # processes, each with the model\n',
        "",
        "data.WORKERS",
        "fix the overlay first",
    ),
    "a tab": (STAGING, "resources:\n", "resources:\n\t- x\n", "not YAML: found character", "fix the file manually"),
    "decisions": (
        "overlays/churn/staging/promotion.yaml",
        "versions:\n",
        "versions:\n- model: churn\n  state: bad\n",
        "promotion.yaml:4: versions: the entry has no environment",
        "write environment, model, version, state there",
    ),
    "a freeze": (
        "overlays/churn/staging/promotion.yaml",
        "versions:\n",
        "versions:\nfreeze:\n- model: churn\n",
        "promotion.yaml:5: freeze: the entry has no environment, state",
        "write environment, model, state there",
    ),
    "shared overlay": (
        APPLICATION,
        "path: overlays/churn/staging",
        "path: overlays/churn/production",
        "have the same release file",
        "an overlay of its own",
    ),
    "overlay elsewhere": (
        APPLICATION,
        "path: overlays/churn/staging",
        "path: overlays/churn/stagin",
        "is missing",
        "must hold the overlay",
    ),
    "workload by reference": (
        "base/rollout.yaml",
        "  selector:\n",
        "  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: x}\n  selector:\n",
        "workloadRef",
        "move the pod template into the Rollout",
    ),
    "unknown workload": (
        "promoter.yaml",
        "  alias: challenger",
        "  alias: challenger\n  workloads: [nothing]",
        "nothing",
        "name some of: inference-service",
    ),
    "imageTags": (
        STAGING,
        IMAGE,
        f"{IMAGE}\nimageTags:\n- {{name: inference-service, newTag: x}}",
        "imageTags",
        "move it to `images:`",
    ),
    "a key in another case": (STAGING, IMAGE, f"{IMAGE}\n  newtag: x", "newtag: kustomize reads", "write `newTag:`, once"),
    "an entry for what comes of it": (
        STAGING,
        IMAGE,
        f"{IMAGE}\n- name: registry.team/ml/churn\n  newTag: x",
        "changes it again",
        "move it before images[inference-service]",
    ),
    "a regular expression": (
        STAGING,
        IMAGE,
        f"{IMAGE}\n- name: registry.team/ml/c.*\n  newTag: x",
        "no Rollout",
        "no later entry",
    ),
    "Git LFS": (
        STAGING,
        "# promoter writes",
        "version https://git-lfs.github.com/spec/v1\n#",
        "Git LFS pointer",
        "out of Git LFS",
    ),
    "a merge key": (
        STAGING,
        IMAGE,
        "- &a {name: x}\n- <<: *a\n  name: inference-service",
        "a merge key",
        "write the merged keys out",
    ),
    "an anchor": (STAGING, IMAGE, f"{IMAGE}\n  newTag: &t x\n- name: z\n  newTag: *t", "the anchor &t", "write the value out"),
    "two documents": (
        STAGING,
        "kind: Kustomization\n",
        "kind: Kustomization\n---\na: b\n",
        "several documents",
        "keep one document",
    ),
    "images is text": (STAGING, f"images:\n{IMAGE}", "images: x", "not a list of images", "write a list"),
    "an image is text": (STAGING, IMAGE, "- inference-service", "not a mapping", "write its `name:` here"),
    "an image that no workload has": (
        "promoter.yaml",
        "kustomize-image: inference-service",
        "kustomize-image: churn-server",
        "they run inference-service",
        "must be the one in the workload",
    ),
    "a workload of another image": (
        "base/rollout.yaml",
        "        image: inference-service\n",
        "        image: other/server:1\n",
        "they run other/server:1",
        "must be the one in the workload",
    ),
    "no workload": ("base/kustomization.yaml", "- rollout.yaml\n", "", "there is none", "must be the one in the workload"),
    "data is text": (RELEASE, "data:\n", "data: x\nother:\n", "data: not a mapping", "write keys and values"),
    "data is there twice": (
        RELEASE,
        "data:\n",
        "data:\n  modelName: churn\ndata:\n",
        "data: the key is there twice",
        "remove one",
    ),
    "an unknown field": (
        STAGING,
        "resources:\n",
        "resourcess: []\nresources:\n",
        'unknown field "resourcess"',
        "fix the overlay",
    ),
    "a remote base": (
        STAGING,
        "- ../../../base\n",
        "- https://git.team/x/y?ref=main\n",
        "fetches https://git.team",
        "copy it into",
    ),
    "a Helm chart": (
        STAGING,
        "resources:\n",
        "helmCharts:\n- {name: x, repo: https://charts.team, version: '1'}\nresources:\n",
        "HelmChartInflationGenerator",
        "build-options: --enable-helm",
    ),
    "an unknown state": (
        "overlays/churn/staging/promotion.yaml",
        "versions:\n",
        "versions:\n- {environment: staging, model: churn, version: '3', state: bad}\n",
        "unknown state 'bad'",
        "available: quarantined",
    ),
    "the manifest overrides the image": (
        APPLICATION,
        "    path: overlays/churn/staging",
        "    kustomize: {images: ['inference-service=x:1']}\n    path: overlays/churn/staging",
        "manifest of churn in staging: Application 'churn-staging' overrides the image",
        "--kustomize-image",
    ),
    "nothing is reconciled": (
        APPLICATION,
        "  namespace: argocd\n",
        "  namespace: argocd\n  annotations: {argocd.argoproj.io/skip-reconcile: 'true'}\n",
        "skip-reconcile",
        "skip-reconcile-",
    ),
    "the base is not looked at": (
        APPLICATION,
        "  namespace: argocd\n",
        "  namespace: argocd\n  annotations: {argocd.argoproj.io/manifest-generate-paths: .}\n",
        "renders only commits that touch .",
        "add its folder",
    ),
    "the template is ignored": (
        APPLICATION,
        "    jsonPointers:\n    - /spec/replicas",
        "    jsonPointers:\n    - /spec/template\n    - /spec/replicas",
        "ignores differences in /spec/template",
        "take it out of ignoreDifferences",
    ),
}


@pytest.mark.parametrize("what", SEEDED)
def test_a_mistake_in_a_file_is_found_with_its_place_and_fix(folder: Path, what: str) -> None:
    name, old, new, says, fix = SEEDED[what]
    edit(folder, name, old, new)
    checked = look(folder)
    shown = [f"{one.where}: {one.problem}" for one in checked.findings]
    assert any(says in line for line in shown), shown
    assert all(one.fix for one in checked.findings if fix), checked.findings
    assert any(fix in one.fix for one in checked.findings), checked.findings
    assert checked.exit_code is not ExitCode.DONE


@pytest.mark.parametrize("name", [STAGING, RELEASE, "overlays/churn/staging/settings.yaml", "base/kustomization.yaml"])
def test_a_file_that_is_missing_is_found(folder: Path, name: str) -> None:
    (folder / name).unlink()
    checked = look(folder)
    assert checked.findings
    assert checked.exit_code is not ExitCode.DONE


def test_overlays_of_another_repository_are_named_as_not_looked_at(folder: Path) -> None:
    shutil.rmtree(folder / "overlays")
    checked = look(folder)
    shown = {one.where: one.problem for one in checked.findings}
    assert "the overlay was not looked at" in shown["overlays/churn/staging"]
    assert "https://" in shown["overlays/churn/staging"]
    assert checked.exit_code is ExitCode.DONE


@pytest.mark.parametrize("name", [".argocd-source.yaml", ".argocd-source-churn-staging.yaml"])
def test_a_file_that_masks_the_image_is_found(folder: Path, name: str) -> None:
    (folder / "overlays/churn/staging" / name).write_text("kustomize:\n  images: [inference-service=other:1]\n")
    [finding] = look(folder).findings
    assert name in finding.problem
    assert "remove the file" in finding.fix


def test_a_comment_is_no_placeholder(folder: Path) -> None:
    edit(folder, "promoter.yaml", "models:", "# as in github.com/your-org/x\nmodels: # your-org")
    assert look(folder).findings == ()


def test_a_mistake_in_promoter_yaml_ends_it_with_file_and_line(folder: Path) -> None:
    edit(folder, "promoter.yaml", "alias: challenger", "allias: challenger")
    with pytest.raises(ConfigError, match="did you mean 'alias'"):
        look(folder)


SECRET = "hunter2-hunter2-hunter2"


def test_credentials_are_listed_with_their_places_and_without_their_values(folder: Path) -> None:
    edit(
        folder, "promoter.yaml", "models:", "notices:\n- webhook: {url-from: NOTICES_URL, secret-from: NOTICES_SECRET}\nmodels:"
    )
    environ = {
        "MLFLOW_TRACKING_URI": f"https://reader:{SECRET}@mlflow.corp.example",
        "ARGOCD_SERVER": "argocd.corp.example",
        "ARGOCD_AUTH_TOKEN": SECRET,
        "PROMOTER_GIT_TOKEN": SECRET,
        "PROMOTER_GIT_HOSTS": "git.corp.example",
        "GITHUB_APP_ID": "7",
        "SYSTEM_ACCESSTOKEN": SECRET,
        "PROMOTER_DISPATCH_TOKEN": SECRET,
        "NOTICES_URL": f"https://hooks.corp.example/{SECRET}",
        "NOTICES_SECRET": SECRET,
    }
    checked = look(folder, offline=True, **environ)
    assert {one.name: one.origins for one in checked.credentials} == {
        "the password in the address https://mlflow.corp.example": ("https://mlflow.corp.example",),
        "ARGOCD_AUTH_TOKEN": ("https://argocd.corp.example",),
        "PROMOTER_GIT_TOKEN": ("https://api.git.corp.example", "https://git.corp.example"),
        "the GitHub App's token": ("https://api.github.com", "https://github.com"),
        "SYSTEM_ACCESSTOKEN": ("https://dev.azure.com",),
        "PROMOTER_DISPATCH_TOKEN": (),
        "NOTICES_URL": ("https://hooks.corp.example",),
        "NOTICES_SECRET": (),
    }
    assert SECRET not in repr(checked)


def test_a_login_of_a_registry_is_listed_and_a_broken_one_is_found(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"auths": {"registry.team": {"auth": "cm9ib3Q6aHVudGVyMi1odW50ZXIy"}}}))
    clients = Clients(config.load(folder / config.FILE), {"DOCKER_CONFIG": str(folder), "PATH": os.environ["PATH"]})
    refused: list[PromoterError] = []
    listed = credentials(clients, clients.config.environments, refused.append, offline=False)
    assert [(one.name, one.origins) for one in listed] == [("the login of registry.team", ("https://registry.team",))]
    assert refused == []
    (folder / "config.json").write_text("{")
    assert credentials(clients, clients.config.environments, refused.append, offline=False) == ()
    assert ["not readable as JSON" in error.message for error in refused] == [True]


# -- services -----------------------------------------------------------------------------------------------------------------


def test_services_that_answer_pass(path: WritePath) -> None:
    path.register(alias="challenger")
    path.register(alias="champion")
    checked = look(path.folder, offline=False, MLFLOW_TRACKING_URI=path.server.url)
    wrong = {one.where for one in checked.findings if "placeholder" not in one.problem and not one.where.startswith("overlay")}
    assert wrong == {"Argo CD"}, "it is not configured here, and the overlays are not in this folder"
    assert f"Git and {path.model} in staging" in checked.passed
    assert f"MLflow and {path.model} in production" in checked.passed


def found(checked: Checked, part: str) -> Finding:
    return next(one for one in checked.findings if part in f"{one.where}: {one.problem}")


def test_an_alias_that_nobody_has_set_is_a_warning(path: WritePath) -> None:
    path.register(alias="challenger")
    checked = look(path.folder, offline=False, MLFLOW_TRACKING_URI=path.server.url)
    one = found(checked, "no version has the alias champion")
    assert one.exit_code is ExitCode.DONE
    assert "correct `alias:`" in one.fix


def test_services_that_do_not_answer_are_found_each(path: WritePath) -> None:
    checked = look(path.folder, offline=False, MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert found(checked, "MLflow").exit_code is ExitCode.UNREACHABLE
    path.edit("environments/staging.yaml", path.remote.as_uri(), "file:///nowhere.git")
    checked = look(path.folder, offline=False, MLFLOW_TRACKING_URI=path.server.url)
    assert found(checked, "staging: file:///nowhere.git").exit_code is not ExitCode.DONE


def test_a_remote_that_takes_no_push_is_found_and_nothing_is_pushed(path: WritePath) -> None:
    path.git("config", "http.receivepack", "false")
    tip = path.tip
    with GitServer(path.folder) as server:
        for name in ("staging", "production"):
            path.edit(f"environments/{name}.yaml", path.remote.as_uri(), f"{server.url}/gitops.git")
        one = found(
            look(path.folder, offline=False, MLFLOW_TRACKING_URI=path.server.url), f"{path.model} in staging: {server.url}"
        )
        assert one.exit_code is ExitCode.AUTH
        path.git("config", "http.receivepack", "true")
        checked = look(path.folder, offline=False, MLFLOW_TRACKING_URI=path.server.url)
        assert f"Git and {path.model} in staging" in checked.passed
    assert path.tip == tip


def test_a_registry_that_takes_no_push_is_found(path: WritePath, private_registry_server: RegistryServer) -> None:
    repository = f"{private_registry_server.host}/models/x"
    path.edit("promoter.yaml", f"registry.example.com/models/{path.model}", repository)
    path.edit("promoter.yaml", "  layout: oci:images\n", "")
    environ = {"MLFLOW_TRACKING_URI": path.server.url, "DOCKER_CONFIG": str(path.folder)}
    checked = look(path.folder, offline=False, **environ)
    assert found(checked, repository).exit_code is ExitCode.AUTH
    login = {"ACR_LOGIN_SERVER": private_registry_server.host, "ACR_USERNAME": USERNAME, "ACR_PASSWORD": PASSWORD}
    checked = look(path.folder, offline=False, **environ, **login)
    assert not [one for one in checked.findings if repository in one.problem], checked.findings


def no_right_to_sync(asked: Asked, _: Forward) -> Answer | None:
    return Answer(body=b'{"value": "no"}') if "/can-i/applications/sync/" in asked.path else None


def test_argocd_is_asked_for_rights_and_overrides(tmp_path: Path) -> None:
    with world(tmp_path, os.environ) as it:

        def looked() -> Checked:
            return check(it.clients, it.clients.config.environments, offline=False, say=lambda _: None)

        assert [one for one in looked().findings if one.where.startswith("Application")] == []
        with it.argocd.fault(no_right_to_sync):
            one = found(looked(), "the token may not sync applications")
        assert one.exit_code is ExitCode.DONE
        assert "p, proj:default:promoter, applications, sync, default/*, allow" in one.fix


def server_of(version: str, seconds: float) -> Fault:
    """An Argo CD of this version, its clock this many seconds ahead of this machine."""
    date = formatdate(time.time() + seconds, usegmt=True)
    answer = Answer(body=json.dumps({"Version": version}).encode(), headers={"Date": date})
    return lambda asked, _: answer if asked.path.startswith("/api/version") else None


@pytest.mark.parametrize(
    ("version", "ahead", "told"),
    [
        ("v3.1.0+abc", 0, []),
        ("v10.0.0", 50, []),
        ("", 0, []),
        ("v2.14.3", 0, ["version v2.14.3 is older than 3.1, which promoter is tested with"]),
        ("v3.6.1", 400, ["this machine's clock is [34]\\d\\d s behind Argo CD's"]),
        ("v3.6.1", -400, ["this machine's clock is 4\\d\\d s ahead of Argo CD's"]),
    ],
)
def test_argocds_version_and_clock_are_compared(tmp_path: Path, version: str, ahead: float, told: list[str]) -> None:
    with world(tmp_path, os.environ) as it, it.argocd.fault(server_of(version, ahead)):
        problems = [problem for _, problem, _ in check_servers.argocd(it.clients.argocd())]
    assert len(problems) == len(told)
    assert all(re.fullmatch(one, problem) for one, problem in zip(told, problems, strict=True)), problems


def test_a_webhook_that_mlflow_has_switched_off_is_found(path: WritePath) -> None:
    webhooks, name = Webhooks.from_environ(path.server.environ), f"promoter-{unique_name()}"
    made, _ = webhooks.register(name, "https://receiver.example.com/mlflow", WAKING, "secret")
    assert [one for one in check_servers.webhooks(webhooks) if name in one[1]] == []
    path.server.api("PATCH", f"webhooks/{made.id}", status="DISABLED")
    [(where, problem, fix)] = [one for one in check_servers.webhooks(webhooks) if name in one[1]]
    assert (where, "is not active" in problem) == ("MLflow", True)
    assert fix.startswith("promoter webhook register https://receiver.example.com/mlflow --name promoter-")
    webhooks.delete(made)


def gone(asked: Asked, _: Forward) -> Answer | None:
    words = b'{"error": "not found", "code": 5, "message": "applications.argoproj.io \\"x\\" not found"}'
    return Answer(404, words) if asked.call == "application" else None


def test_an_application_may_be_created_after_the_first_promotion(tmp_path: Path, path: WritePath) -> None:
    """With a release in the overlay its absence is an error; without one a warning, of check and of plan."""
    with world(tmp_path / "argocd", os.environ) as it, it.argocd.fault(gone):

        def looked() -> Checked:
            return check(it.clients, it.clients.config.environments, offline=False, say=lambda _: None)

        assert found(looked(), "does not exist in Argo CD").exit_code is ExitCode.REFUSED
        name = "overlays/staging/kustomization.yaml"
        lines = it.remote.show(name).splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("  newName", f"  newTag: v{1}-", "  digest"))]
        release = it.remote.show("overlays/staging/release.yaml").replace('modelVersion: "1"', 'modelVersion: ""')
        it.remote.commit({name: "".join(kept), "overlays/staging/release.yaml": release}, "Begin without a release")
        assert found(looked(), "does not exist yet").exit_code is ExitCode.DONE

        version = path.register()
        environ = {name: it.clients.environ[name] for name in ("ARGOCD_SERVER", "ARGOCD_AUTH_TOKEN")}
        clients, wanted = path.clients(**environ), ModelReference.parse(f"{path.model}:{version}")
        first = plan(clients, clients.config.environment("staging", path.model), wanted, Steps(), rendering=False)
        assert [one for one in first.warnings if "does not exist yet: create it" in one]
        path.promote(f"{path.model}:{version}")
        with pytest.raises(RefusedError, match="does not exist in Argo CD"):
            plan(clients, clients.config.environment("staging", path.model), wanted, Steps(), rendering=False)


def test_the_command_prints_json_and_its_exit_code(folder: Path) -> None:
    edit(folder, APPLICATION, URL, "https://github.com/your-org/x.git")
    command = ["promoter", "check", "--offline", "-o", "json", "--config", str(folder / config.FILE)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    document = json.loads(done.stdout)
    assert done.returncode == 2
    assert [one["where"] for one in document["findings"]] == [f"{APPLICATION}:10"]
    assert document["passed"]
