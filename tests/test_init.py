"""init: from an empty folder to a promotion, in every combination of its options, and what it leaves alone."""

from __future__ import annotations

import difflib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from promoter import config
from promoter.commands.check import check
from promoter.commands.init import plan_init
from promoter.commands.renew import plan_renewal
from promoter.commands.scaffold.record import RECORD
from promoter.demo.sandbox.render import render
from promoter.errors import ExitCode, RefusedError, UsageError
from promoter.models import Ci, Workload
from promoter.promotion.clients import Clients
from tests.support.manifests import CHOICES, Manifest, build, matches, named, pod_templates
from tests.support.mlflow_server import MlflowServer
from tests.support.scaffolds import URL, release_into, scaffold, wanted
from tests.support.write_path import WritePath, unique_name

PLACEHOLDERS = ("fraud-detector", "registry.example.com", "your-org", "mlflow-tracking:5000")
ACTION = "team/promoter@0123456789abcdef0123456789abcdef01234567"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


LINKS = {
    "https://github.com/team/gitops.git": "https://github.com/team/gitops/commits/trunk/overlays/churn/staging",
    "git@github.com:team/gitops.git": "https://github.com/team/gitops/commits/trunk/overlays/churn/staging",
    "https://dev.azure.com/team/ml/_git/gitops": (
        "https://dev.azure.com/team/ml/_git/gitops?path=/overlays/churn/staging&version=GBtrunk&_a=history"
    ),
    "https://git.team.example/ml/gitops.git": "https://git.team.example/ml/gitops",
    "ssh://git@git.team.example/ml/gitops.git": "",
}


@pytest.mark.parametrize("repo", LINKS)
def test_links_lead_from_the_argo_cd_dashboard_and_the_readme_to_the_releases(tmp_path: Path, repo: str) -> None:
    found = scaffold(tmp_path, wanted(repo=repo, branch="trunk", argocd="argocd.team.example"))
    release_into(tmp_path, found.environments[0])
    [server] = named(build(tmp_path / found.environments[0].application.path), "Rollout").values()
    links = {key.partition("/")[2]: value for key, value in server["metadata"].get("annotations", {}).items()}
    mlflow = "https://mlflow.team.example/#/models/churn/versions/1"
    assert links == ({"mlflow": mlflow, "commits": LINKS[repo]} if LINKS[repo] else {})
    application = yaml.safe_load((tmp_path / "environments/churn-staging.yaml").read_text())
    info = {one["name"]: one["value"] for one in application["spec"]["info"]}
    assert info["releases"] == (LINKS[repo] or "promoter history staging")
    assert info["model"] == "churn, the version that has the alias challenger in MLflow"
    readme = (tmp_path / "README.md").read_text()
    assert "https://argocd.team.example/api/badge?name=churn-production&revision=true" in readme
    assert LINKS[repo] in readme


def test_a_readme_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# ours\n")
    scaffold(tmp_path, wanted())
    assert (tmp_path / "README.md").read_text() == "# ours\n"


@pytest.mark.parametrize(
    ("workload", "environments", "ci"),
    [
        (Workload.ROLLOUT, ("staging", "production"), Ci.GITHUB),
        (Workload.ROLLOUT, ("dev", "qa", "eu-production"), Ci.NONE),
        (Workload.BLUE_GREEN, ("staging", "production"), Ci.AZURE),
        (Workload.BLUE_GREEN, ("production",), Ci.GITHUB),
        (Workload.DEPLOYMENT, ("dev", "production"), Ci.NONE),
    ],
)
def test_every_combination_is_configured_and_renders_without_a_placeholder(
    tmp_path: Path, workload: Workload, environments: tuple[str, ...], ci: Ci
) -> None:
    action = {Ci.GITHUB: ACTION, Ci.AZURE: "acme/promoter@v1.2.0", Ci.NONE: ""}[ci]
    mlflow = "https://mlflow.team.example" if "staging" in environments else ""
    more: dict[str, Any] = {"workload": workload, "environments": environments, "ci": ci, "action": action, "mlflow": mlflow}
    url = "https://git.team.example/ml/gitops.git"
    found = scaffold(tmp_path, wanted(**more, branch="trunk", repo=url))
    assert [one.name for one in found.environments] == list(environments)
    left = [(path, word) for path, content in files(tmp_path).items() for word in PLACEHOLDERS if word.encode() in content]
    assert left == []
    for one in found.environments:
        assert (one.application.repo_url, one.application.target_revision) == (url, "trunk")
        assert one.application.path == f"overlays/churn/{one.name}"
        assert one.model.repository == "registry.team.example/ml/churn"
        assert {"Rollout", "Deployment", "HorizontalPodAutoscaler"}.isdisjoint(
            manifest["kind"] for manifest in build(tmp_path / one.application.path)
        )
        release_into(tmp_path, one)
        manifests = build(tmp_path / one.application.path)
        kind = "Deployment" if workload is Workload.DEPLOYMENT else "Rollout"
        [server] = named(manifests, kind).values()
        assert (server["metadata"]["namespace"], server["metadata"]["name"]) == (f"churn-{one.name}", "churn-inference-service")
        if kind == "Rollout":
            assert set(server["spec"]["strategy"]) == {"blueGreen" if workload is Workload.BLUE_GREEN else "canary"}
    checked = check(Clients(found, dict(os.environ)), found.environments, offline=True, say=lambda _: None)
    assert (checked.findings, checked.exit_code) == ((), ExitCode.DONE)
    project = yaml.safe_load((tmp_path / "environments/churn-project.yaml").read_text())
    assert [one["namespace"] for one in project["spec"]["destinations"]] == ["churn-*"]
    workflows = [path for path in files(tmp_path) if path.startswith(".github/")]
    assert len(workflows) == (2 if ci is Ci.GITHUB else 0)
    for path in workflows:
        text = (tmp_path / path).read_text()
        assert "uses: ./" not in text
        assert f"uses: {ACTION}" in text
        assert "branches: [main]" not in text
    assert (tmp_path / "azure-pipelines.yml").exists() is (ci is Ci.AZURE)


SHARED = {"app", "app.kubernetes.io/name", "image", "reference"}
"""Keys whose value is the base's own name, in every model's objects: labels of all of them, and the image that promoter fills in."""
SECRETS = {f"inference-service-{name}" for name in ("mlflow", "artifact-store", "registry")}
"""They are made by hand, in each namespace."""


def names_in(node: object, key: str = "") -> Iterator[str]:
    """Every text in a manifest that may be the name of an object."""
    if isinstance(node, dict):
        yield from (found for name, value in node.items() for found in names_in(value, name))
    elif isinstance(node, list):
        yield from (found for value in node for found in names_in(value, key))
    elif isinstance(node, str) and key not in SHARED and re.fullmatch(r"[a-z-]*inference-service[a-z-]*", node):
        yield node


def with_components(overlay: Path, components: tuple[str, ...]) -> list[Manifest]:
    """What it builds to with these switched on, in the place before `release`."""
    file, first = overlay / "kustomization.yaml", "- ../../../base/components/release\n"
    text = file.read_text()
    listed = "".join(f"- ../../../base/components/{name}\n" for name in components)
    file.write_text(text.replace(first, listed + first))
    try:
        return build(overlay)
    finally:
        file.write_text(text)


@pytest.mark.parametrize("components", CHOICES, ids="+".join)
def test_each_name_is_the_models_and_leads_to_an_object(tmp_path: Path, components: tuple[str, ...]) -> None:
    staging, _ = scaffold(tmp_path, wanted()).environments
    release_into(tmp_path, staging)
    manifests = with_components(tmp_path / staging.application.path, components)
    names = {item["metadata"]["name"] for item in manifests}
    assert "churn-inference-service" in names
    assert {name for name in names if not name.startswith("churn-inference-service")} == set()
    referred = {text for item in manifests if item["kind"] != "PrometheusRule" for text in names_in(item)}
    assert referred - names <= SECRETS


def test_models_that_share_a_namespace_have_objects_and_pods_of_their_own(tmp_path: Path) -> None:
    scaffold(tmp_path, wanted())
    objects = dict[str, list[Manifest]]()
    for one in scaffold(tmp_path, wanted("fraud")).environments:
        if one.name == "staging":
            release_into(tmp_path, one)
            objects[one.model.name] = with_components(tmp_path / one.application.path, ("monitoring",))
    churn, fraud = ({(item["kind"], item["metadata"]["name"]) for item in objects[model]} for model in ("churn", "fraud"))
    assert (len(churn), churn & fraud) == (len(objects["churn"]), set())
    selected = [
        (model, owner, key)
        for model in objects
        for owner in objects
        for key, selects in selectors(objects[model])
        if any(matches(selects, pod["metadata"]["labels"]) for pod in pod_templates(objects[owner]))
    ]
    assert len(selected) >= 7
    assert [one for one in selected if one[0] != one[1]] == []


def selectors(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """What selects pods as its own."""
    for item in manifests:
        name, spec = f"{item['kind']} {item['metadata']['name']}", item.get("spec", {})
        if item["kind"] == "Service":
            yield name, {"matchLabels": spec["selector"]}
        elif item["kind"] in ("Rollout", "PodDisruptionBudget"):
            yield name, spec["selector"]
        elif item["kind"] == "NetworkPolicy":
            yield name, spec["podSelector"]


@pytest.mark.parametrize("model", ["x" * 50, "a-" + "b" * 36 + "-c", "3d", "true", "1e5", "Größe 7"])
def test_a_name_that_no_service_can_have_is_made_one(tmp_path: Path, model: str) -> None:
    staging, _ = scaffold(tmp_path, wanted(model, environments=("qa", "production"))).environments
    release_into(tmp_path, staging)
    manifests = build(tmp_path / staging.application.path)
    services = list(named(manifests, "Service"))
    assert [name for name in services if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name) or "--" in name] == []
    assert len(services) == 3
    [server] = named(manifests, "Rollout").values()
    assert server["spec"]["selector"]["matchLabels"]["model"] == server["spec"]["template"]["metadata"]["labels"]["model"]
    project = yaml.safe_load(next((tmp_path / "environments").glob("*-project.yaml")).read_text())
    assert staging.application.project == project["metadata"]["name"]
    assert f"`http://{server['metadata']['name']}.{server['metadata']['namespace'].removesuffix('qa')}production`" in (
        (tmp_path / "README.md").read_text()
    )


def test_the_sandbox_renders_what_kustomize_builds(tmp_path: Path) -> None:
    (staging,) = scaffold(tmp_path, wanted(environments=("staging",))).environments
    for released in (False, True):
        if released:
            release_into(tmp_path, staging)
        there = {path: content for path, content in files(tmp_path).items() if path.endswith(".yaml")}
        rendered = render(there, staging.application.path, "elsewhere")
        assert ordered(rendered) == ordered(build(tmp_path / staging.application.path))


def ordered(manifests: list[Manifest]) -> list[Manifest]:
    return sorted(manifests, key=lambda item: (item["kind"], item["metadata"]["name"]))


def test_another_environment_of_a_model_is_named_as_those_that_it_has(tmp_path: Path) -> None:
    """Those of earlier versions' scaffolds do not carry the model's name."""
    scaffold(tmp_path / "old", wanted(named=False))
    scaffold(tmp_path / "new", wanted())
    (tmp_path / "old" / RECORD).write_text((tmp_path / "old" / RECORD).read_text().replace('"named": false', '"container": ""'))
    for folder, expected in (("old", "inference-service"), ("new", "churn-inference-service")):
        found = scaffold(tmp_path / folder, wanted(environments=("canada",))).environment("canada", "churn")
        release_into(tmp_path / folder, found)
        assert list(named(build(tmp_path / folder / found.application.path), "Rollout")) == [expected]
        assert plan_renewal(tmp_path / folder, None, dict(os.environ)).updates == ()


def test_a_pipeline_of_azure_takes_promoter_from_its_repository(tmp_path: Path) -> None:
    scaffold(tmp_path, wanted(ci=Ci.AZURE, action="acme/promoter@v1.2.0", branch="trunk"))
    pipeline = yaml.safe_load((tmp_path / "azure-pipelines.yml").read_text())
    [source] = pipeline["resources"]["repositories"]
    assert (source["repository"], source["name"], source["ref"]) == ("promoter", "acme/promoter", "refs/tags/v1.2.0")
    assert pipeline["trigger"]["branches"] == pipeline["schedules"][0]["branches"] == {"include": ["trunk"]}
    defaults = {one["name"]: one["default"] for one in pipeline["parameters"]}
    assert (defaults["modelName"], defaults["environment"]) == ("churn", "staging")


@pytest.mark.parametrize("option", ["repo", "mlflow"])
def test_an_address_with_a_secret_is_refused_for_all_of_it_is_committed(option: str) -> None:
    with pytest.raises(UsageError, match=f"--{option} has a user name or password in it") as refused:
        wanted(**{option: "https://x-access-token:ghp_s3cret@github.com/team/gitops.git"})
    assert "ghp_s3cret" not in str(refused.value.message + refused.value.hint)


def test_the_token_of_a_clone_is_not_written(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text(
        '[remote "origin"]\n\turl = https://x-access-token:ghp_s3cret@github.com/team/gitops.git\n'
    )
    command = [
        sys.executable,
        "-m",
        "promoter",
        "init",
        str(tmp_path),
        "--model",
        "churn",
        "--registry",
        "registry.team.example/ml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ghp_s3cret" not in done.stdout + done.stderr
    written = {path: content for path, content in files(tmp_path).items() if path != ".git/config"}
    assert [path for path, content in written.items() if b"ghp_s3cret" in content] == []
    assert b"repoURL: https://github.com/team/gitops.git" in written["environments/churn-staging.yaml"]


def test_a_pipeline_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "azure-pipelines.yml").write_text("# ours\n")
    with pytest.raises(RefusedError, match=r"azure-pipelines\.yml is there already"):
        scaffold(tmp_path, wanted(ci=Ci.AZURE, action="acme/promoter@v1"))
    assert files(tmp_path) == {"azure-pipelines.yml": b"# ours\n"}


def test_a_model_with_any_name_that_mlflow_allows(tmp_path: Path) -> None:
    found = scaffold(tmp_path, wanted('Kunden: "Abwanderung" 2'.replace(":", "")))
    [model] = found.models
    assert model == 'Kunden "Abwanderung" 2'
    release = yaml.safe_load(next((tmp_path / "overlays").rglob("staging/release.yaml")).read_text())
    assert release["data"]["modelName"] == model


def test_the_first_release_takes_out_one_line(tmp_path: Path) -> None:
    (staging, _) = scaffold(tmp_path, wanted()).environments
    line = "- ../../../base/components/unreleased # promoter takes this line out with the first release"
    assert release_into(tmp_path, staging) == {line}
    assert release_into(tmp_path, staging) == set()


def test_models_and_environments_are_added_and_nothing_else_changes(tmp_path: Path) -> None:
    scaffold(tmp_path, wanted())
    file = tmp_path / config.FILE
    file.write_text("# ours\n" + file.read_text() + "\nwatch: # in seconds\n  timeout: 600\n")
    for number in range(3):
        before = files(tmp_path)
        found = scaffold(tmp_path, wanted(f"model-{number}"))
        after = files(tmp_path)
        assert len(found.environments) == 2 * (number + 2)
        assert {path for path in before if before[path] != after[path]} == {config.FILE, RECORD}
        old, new = (them[config.FILE].decode().splitlines() for them in (before, after))
        assert not [line for line in difflib.ndiff(old, new) if line.startswith("-")]
    found = scaffold(tmp_path, wanted(environments=("canada",)))
    assert found.environment("canada", "churn").alias == "canada"
    assert found.watch.timeout == 600
    for one in found.environments:
        build(tmp_path / one.application.path)
    with pytest.raises(UsageError, match="has environment 'staging' of 'churn' already"):
        plan_init(tmp_path, wanted())


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "rollout.yaml").write_text("mine\n")
    before = files(tmp_path)
    with pytest.raises(RefusedError, match=r"base/rollout\.yaml is there already, and would be another file"):
        plan_init(tmp_path, wanted())
    assert files(tmp_path) == before


def test_a_run_that_was_killed_is_repeated(tmp_path: Path) -> None:
    plan = plan_init(tmp_path, wanted())
    for path in list(plan.new)[:7]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(plan.new[path])
    (tmp_path / config.FILE).unlink(missing_ok=True)
    scaffold(tmp_path, wanted())
    assert files(tmp_path) == dict(sorted(plan.new.items()))


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"model": "a/b"}, "can't be the name of a registered model"),
        ({"environments": ("Prod",)}, "'Prod' can't be the name of an environment"),
        ({"environments": ("a", "a")}, "one or several different names"),
        ({"environments": ("x" * 60,)}, "can't be the name of an environment"),
        ({"ci": Ci.GITHUB}, "the pipelines need the repository that has promoter"),
        ({"ci": Ci.AZURE, "action": f"acme/promoter@{'0' * 40}"}, "Azure Pipelines takes another repository's tag or branch"),
    ],
)
def test_what_can_not_be_meant_is_refused(more: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        wanted(**{"model": "churn", **more})  # type: ignore[arg-type]


# -- the command --------------------------------------------------------------------------------------------------------------


def promoter(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "promoter", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL, check=False)


def test_without_a_terminal_what_is_missing_is_named(tmp_path: Path) -> None:
    done = promoter("init", "--model", "churn", folder=tmp_path)
    assert (done.returncode, files(tmp_path)) == (2, {})
    assert "--registry is missing" in done.stderr


def test_the_origin_of_a_clone_is_the_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", URL], check=True)
    done = promoter("init", "--model", "churn", "--registry", "r.example/ml", "-o", "json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert config.FILE in json.loads(done.stdout)["written"]
    assert f"repoURL: {URL}" in (tmp_path / "environments/churn-staging.yaml").read_text()


def test_on_a_terminal_it_asks_and_shows_the_files_first(tmp_path: Path) -> None:
    here, there = pty.openpty()
    command = [sys.executable, "-m", "promoter", "init", "--repo", URL]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=there, stdout=there, stderr=there, env={**os.environ, "TERM": "dumb"}
    ) as process:
        os.close(there)
        os.write(here, b"churn\nr.example/ml\nn\n")
        assert process.wait(60) == 20
    shown = os.read(here, 1 << 16).decode()
    os.close(here)
    assert "Registered model in MLflow" in shown
    assert "overlays/churn/staging/release.yaml" in shown
    assert files(tmp_path) == {}


def test_from_an_empty_folder_to_a_promotion(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    """The commands that init ends with, as far as they need no cluster."""
    model = unique_name()
    remote, checkout = tmp_path / "gitops.git", tmp_path / "checkout"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", remote], check=True)
    subprocess.run(["git", "clone", "--quiet", remote, checkout], check=True, capture_output=True)
    options = ["--model", model, "--registry", "registry.team.example/ml", "--mlflow", mlflow_server.url]
    done = promoter("init", *options, "--yes", folder=checkout)
    assert done.returncode == 0, done.stderr
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgSign=false"]
    for arguments in (
        ["add", "-A"],
        [*identity, "commit", "--quiet", "-m", "Start"],
        ["push", "--quiet", "origin", "HEAD:main"],
    ):
        subprocess.run(["git", "-C", checkout, *arguments], check=True)
    file = checkout / config.FILE
    file.write_text(file.read_text().replace("  base: python:{python}-slim", "  runtime: scratch\n  layout: oci:../images"))
    path = WritePath(checkout, mlflow_server, model)
    version = path.register()
    done = promoter("promote", f"{model}@challenger", "--to", "staging", "--no-watch", folder=checkout)
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        ["git", "-C", remote, "show", f"main:overlays/{model}/staging/release.yaml"], capture_output=True, text=True, check=True
    )
    assert f'modelVersion: "{version}"' in shown.stdout
