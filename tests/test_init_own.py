"""init --serving own: overlays of different make are adopted, and render to what they did, but for what promoter writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from promoter import config
from promoter.commands.check_files import WorkTree
from promoter.commands.init import init, plan_init
from promoter.commands.scaffold import Wanted
from promoter.errors import PromoterError, RefusedError, UsageError
from promoter.kustomize.overlay import read_overlay
from promoter.kustomize.release import deployed, write_release
from promoter.kustomize.render import build, sources
from promoter.models import Ci, Release, Serving
from tests.support.manifests import build as rendered

DIGEST = "sha256:" + "a" * 64
APPLICATION = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: scorer-production
  namespace: argocd
spec:
  project: scoring
  source:
    repoURL: https://git.team.example/gitops.git
    targetRevision: main
    path: deploy/production
  destination: {server: https://kubernetes.default.svc, namespace: scoring}
"""
SERVER = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: scorer
spec:
  selector: {matchLabels: {app: scorer}}
  template:
    metadata:
      labels: {app: scorer}
    spec:
      containers:
      - name: scorer
        image: registry.team.example/scorer:1.4
        env:
        - {name: MODEL_NAME, value: churn}
        - {name: MODEL_VERSION, value: "3"}
        - {name: OTHER, value: "yes"}
"""
ROLLOUT = SERVER.replace("apps/v1", "argoproj.io/v1alpha1").replace("kind: Deployment", "kind: Rollout")
SIDECAR = SERVER.replace(
    "      containers:\n", "      containers:\n      - {name: proxy, image: registry.team.example/proxy:2}\n"
)
BARE = SERVER.partition("        env:\n")[0]
FROM_ELSEWHERE = (
    BARE + "        env:\n        - name: MODEL_VERSION\n          valueFrom: {configMapKeyRef: {name: m, key: v}}\n"
)
PREFIX = "resources:\n- ../../base\n"


@dataclass(frozen=True)
class Make:
    """One repository: its files, and what promoter is to find in it."""

    kustomization: str
    base: str = SERVER
    files: dict[str, str] = field(default_factory=dict)
    container: str = ""
    image_name: str = "registry.team.example/scorer"
    version: str = "3"


MAKES = {
    "a base and nothing else": Make(PREFIX),
    "an images entry": Make(
        PREFIX
        + "images:\n- name: registry.team.example/scorer\n  newName: registry.team.example/prod/scorer\n  newTag: '2.0'\n"
    ),
    "a placeholder image": Make(
        PREFIX + "images:\n- name: scorer-image\n  newName: registry.team.example/scorer\n  newTag: v7\n",
        SERVER.replace("registry.team.example/scorer:1.4", "scorer-image"),
        image_name="scorer-image",
    ),
    "a digest": Make(PREFIX + f"images:\n- name: registry.team.example/scorer\n  digest: {DIGEST}\n"),
    "deep indentation and comments": Make(
        "# what production runs\nresources:\n    # the base\n    - ../../base\n    # nothing below\n\nnamespace: scoring\n"
    ),
    "namespace, prefix and labels": Make(
        PREFIX + "namespace: scoring\nnamePrefix: eu-\nlabels:\n- pairs: {team: risk}\n  includeTemplates: true\n"
    ),
    "a Rollout": Make(PREFIX, ROLLOUT),
    "a sidecar": Make(PREFIX, SIDECAR, container="scorer"),
    "no variable of the model": Make(PREFIX, BARE, version=""),
    "patches and a generator": Make(
        PREFIX + "configMapGenerator:\n- name: settings\n  literals: [LEVEL=info]\npatches:\n- path: size.yaml\n",
        files={
            "deploy/production/size.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: scorer}\nspec: {replicas: 4}\n"
        },
    ),
    "replacements of its own": Make(
        PREFIX + "replacements:\n- source: {kind: Deployment, name: scorer, fieldPath: metadata.name}\n  targets:\n"
        "  - select: {kind: Deployment, name: scorer}\n    fieldPaths: [spec.template.metadata.labels.app]\n"
    ),
    "components": Make(
        PREFIX + "components: [../../wide]\n",
        files={
            "wide/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nreplicas:\n"
            "- {name: scorer, count: 6}\n"
        },
    ),
    "carriage returns": Make((PREFIX + "namespace: scoring\n").replace("\n", "\r\n")),
    "no final newline": Make(PREFIX + "namespace: scoring"),
}


def repository(folder: Path, make: Make) -> Path:
    files = {
        "base/kustomization.yaml": "resources: [server.yaml]\n",
        "base/server.yaml": make.base,
        "deploy/production/kustomization.yaml": make.kustomization,
        "argocd/apps.yaml": APPLICATION,
        **make.files,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())
    return folder


def wanted(make: Make, **more: object) -> Wanted:
    values = {"registry": "registry.team.example/models", "repo": "https://git.team.example/gitops.git", **more}
    overlays = {"serving": Serving.OWN, "overlays": "deploy/{environment}", "container": make.container}
    return Wanted("churn", **{"environments": ("production",), **overlays, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_an_overlay_is_adopted_and_renders_to_the_same(tmp_path: Path, make: Make) -> None:
    root = repository(tmp_path, make)
    overlay = root / "deploy" / "production"
    before, text = rendered(overlay), make.kustomization.encode()
    init(plan_init(root, wanted(make)))
    assert rendered(overlay) == before
    assert lines_of(text) <= lines_of((overlay / "kustomization.yaml").read_bytes())

    (environment,) = config.load(root / config.FILE).environments
    assert (environment.application.name, environment.application.path) == ("scorer-production", "deploy/production")
    assert environment.model.image_name == make.image_name
    found = read_overlay(WorkTree(root), environment)
    there = deployed(found, environment.model)
    assert (there.version if there else "") == make.version

    release = Release("churn", "9", DIGEST, environment.model.repository, "v9-abc", DIGEST)
    changed = write_release(found, environment.model, release).files
    after = build({**sources(WorkTree(root), "deploy/production"), **changed}, "deploy/production")
    assert after is not None
    (workload,) = [one for one in yaml.safe_load_all(after) if one["kind"] in ("Deployment", "Rollout")]
    container = next(one for one in workload["spec"]["template"]["spec"]["containers"] if one["name"] == "scorer")
    assert container["image"] == release.image
    values = {one["name"]: one.get("value") for one in container.get("env", [])}
    assert not make.version or (values["MODEL_VERSION"], values["OTHER"]) == ("9", "yes")


def lines_of(content: bytes) -> set[bytes]:
    return {line.rstrip(b"\r") for line in content.split(b"\n")}


def test_a_second_run_changes_nothing_more(tmp_path: Path) -> None:
    """As after a kill: the overlay is adopted, and promoter.yaml is not there yet."""
    make = MAKES["a base and nothing else"]
    root = repository(tmp_path, make)
    init(plan_init(root, wanted(make)))
    (root / config.FILE).unlink()
    again = plan_init(root, wanted(make))
    assert (list(again.new), list(again.changed)) == ([config.FILE], [])


def test_a_pipeline_is_written_next_to_overlays_that_exist_and_never_over_another(tmp_path: Path) -> None:
    make = MAKES["a base and nothing else"]
    asked = wanted(make, ci=Ci.AZURE, action="acme/promoter@v1")
    root = repository(tmp_path, make)
    assert "azure-pipelines.yml" in plan_init(root, asked).new
    (root / "azure-pipelines.yml").write_text("# ours\n")
    with pytest.raises(RefusedError, match=r"azure-pipelines\.yml is there already"):
        plan_init(root, asked)


def test_another_model_is_added_to_the_promoter_yaml_that_is_there(tmp_path: Path) -> None:
    make = MAKES["a base and nothing else"]
    root = repository(tmp_path, make)
    init(plan_init(root, wanted(make)))
    (root / "deploy" / "other").mkdir()
    other = make.kustomization + "nameSuffix: -other\n"
    (root / "deploy" / "other" / "kustomization.yaml").write_text(other)
    (root / "argocd" / "other.yaml").write_text(APPLICATION.replace("production", "other"))
    init(plan_init(root, wanted(make, environments=("other",))))
    assert [one.name for one in config.load(root / config.FILE).environments] == ["production", "other"]


REFUSED = {
    "a version from a ConfigMap": (Make(PREFIX, FROM_ELSEWHERE), "renders with model version '', not '1'"),
    "several containers": (Make(PREFIX, SIDECAR), "has several containers: scorer/proxy, scorer/scorer"),
    "no such container": (Make(PREFIX, container="server"), "has no container 'server': scorer/scorer"),
    "no workload": (Make(PREFIX, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"), "renders no Rollout or Deployment"),
    "one line": (Make("resources: [../../base]\n"), "resources is written on one line"),
    "another release.yaml": (
        Make(PREFIX, files={"deploy/production/release.yaml": "a: b\n"}),
        "deploy/production/release.yaml is there already",
    ),
    "it does not build": (Make("resources:\n- ../../nothing\n"), "does not build"),
    "what would change": (
        Make(PREFIX + "patches:\n- target: {kind: ConfigMap}\n  patch: |-\n    - {op: remove, path: /metadata/annotations}\n"),
        "would render to something else",
    ),
}


@pytest.mark.parametrize(("make", "complaint"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_adopted_is_refused_and_stays(tmp_path: Path, make: Make, complaint: str) -> None:
    root = repository(tmp_path, make)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(PromoterError, match=complaint) as raised:
        plan_init(root, wanted(make))
    assert isinstance(raised.value, RefusedError | UsageError)
    assert raised.value.hint
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_an_overlay_that_no_application_syncs_from_is_refused(tmp_path: Path) -> None:
    make = MAKES["a base and nothing else"]
    root = repository(tmp_path, make)
    (root / "argocd" / "apps.yaml").unlink()
    with pytest.raises(UsageError, match="no manifest of an Application that syncs from deploy/production"):
        plan_init(root, wanted(make))
