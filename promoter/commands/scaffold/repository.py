"""The files of one model: those that are shipped, with its names and addresses in the place of the example's."""

from __future__ import annotations

import json
import re

from promoter.commands.scaffold import template
from promoter.commands.scaffold.lines import inserted
from promoter.commands.scaffold.links import commits, readme
from promoter.commands.scaffold.wanted import Wanted
from promoter.config.values import FILE
from promoter.models import Workload

# What the shipped files name.
_MODEL, _REPOSITORY = "fraud-detector", "https://github.com/your-org/your-gitops-repository.git"
_MLFLOW, _BRANCH = "http://mlflow-tracking:5000", "targetRevision: main"
_LINKS = "https://github.com/your-org/your-gitops-repository/commits/main/overlays"
_MLFLOW_UI, _DASHBOARD = "https://mlflow.example.com", "https://grafana.example.com/d/inference-service?var-namespace="
_COMPONENT = "- ../../../base/components/"
_RECEIVER = ("base/promoter/", "overlays/promoter/")  # promoter's own pods have addresses of their own: docs/in-cluster.md
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)\Z)[a-z][a-z-]*[a-z0-9]*")  # YAML 1.1 reads these words as values
_IMAGE = [
    "  base: python:{python}-slim # {python} is the model's Python version",
    "  # packages: [libgomp1] # Debian packages that the base lacks: LightGBM needs this one",
]
# Each field by itself: with includeSelectors the label would also be asked of the pods of others, such as the cluster's DNS.
_NAMED = """\
namePrefix: {prefix}
labels: # in a namespace that models share, pods of another one are never selected
- pairs:
    model: {name}
  fields:
  - {{path: spec/template/metadata/labels}}
  - {{kind: Rollout, path: spec/selector/matchLabels}}
  - {{kind: Deployment, path: spec/selector/matchLabels}}
  - {{kind: AnalysisTemplate, path: spec/metrics/provider/job/spec/template/metadata/labels}}
  - {{kind: Service, path: spec/selector}}
  - {{kind: PodDisruptionBudget, path: spec/selector/matchLabels}}
  - {{kind: NetworkPolicy, path: spec/podSelector/matchLabels}}
  - {{kind: ServiceMonitor, path: spec/selector/matchLabels}}
"""
README = "README.md"
_SIZED_AS = {"production": "production"}  # any other environment is as small as staging


def new_repository(wanted: Wanted) -> dict[str, bytes]:
    """Every file of a repository for this model, by path."""
    files = {path: content for path, content in template.files() if path.startswith("base/") and not path.startswith(_RECEIVER)}
    environments = [line for name in wanted.environments for line in environment_entry(wanted, name)]
    files |= {README: readme(wanted).encode()}
    return {**files, **model_files(wanted), FILE: configuration(wanted, models_entry(wanted), environments, _IMAGE).encode()}


def model_files(wanted: Wanted) -> dict[str, bytes]:
    """The files that belong to this model alone: overlays, Applications, and its project."""
    shipped = dict(template.files())
    files = {f"environments/{wanted.name}-project.yaml": _project(shipped["environments/project.yaml"].decode(), wanted)}
    for environment in wanted.environments:
        like = _SIZED_AS.get(environment, "staging")
        manifest = shipped[f"environments/{like}.yaml"].decode()
        files[wanted.application(environment)] = _application(manifest, wanted, environment)
        for path, content in shipped.items():
            if path.startswith(f"overlays/{like}/"):
                name = path.removeprefix(f"overlays/{like}/")
                files[f"{wanted.overlay(environment)}/{name}"] = _overlay(name, content.decode(), wanted, environment, like)
    return {path: text.encode() for path, text in files.items()}


def models_entry(wanted: Wanted, image_name: str = "inference-service") -> list[str]:
    """The lines below `models:`."""
    return [
        f"  {scalar(wanted.model)}: # the name of the registered model in MLflow",
        f"    image: {wanted.image}",
        f"    kustomize-image: {image_name} # name of the entry under images: in the overlays",
    ]


def environment_entry(wanted: Wanted, environment: str, application: str = "") -> list[str]:
    """The lines of one environment below `environments:`; `application` is the value of that key."""
    return [
        f"- name: {environment}",
        f"  model: {scalar(wanted.model)}",
        f"  application: {application or wanted.application(environment)}",
        f"  alias: {wanted.alias(environment)}",
    ]


def configuration(wanted: Wanted, models: list[str], environments: list[str], image: list[str]) -> str:
    """A promoter.yaml of these lines below `models:`, `environments:` and `image:`."""
    lines = [
        "# What may be promoted, and to where. promoter reads what Argo CD already knows (application, repository,",
        "# branch, path) from the Application manifests named below.",
        "models:",
        *models,
        "",
        "environments: # in the order in which a model version passes them",
        *environments,
        "",
        "image:",
        *image,
    ]
    if wanted.argocd:
        lines += ["", "argocd:", f"  server: {wanted.argocd}"]
    if wanted.mlflow:
        lines += ["", "mlflow:", f"  tracking-uri: {wanted.mlflow}"]
    return "\n".join(lines) + "\n"


def _overlay(name: str, text: str, wanted: Wanted, environment: str, like: str) -> str:
    text = text.replace(f"{_MODEL}-{like}", wanted.namespace(environment)).replace("../../base", "../../../base")
    if name == "release.yaml":
        text = text.replace(f"modelName: {_MODEL}", f"modelName: {scalar(wanted.model)}")
    if name == "settings.yaml":
        text = text.replace(f"MODEL_STAGE: {like.capitalize()}", f"MODEL_STAGE: {environment.capitalize()}")
        text = text.replace(_MLFLOW, wanted.mlflow or '"" # only needed where the model is not in the image')
        text = text.replace(_MLFLOW_UI, wanted.mlflow or '""')
        text = text.replace(f"{_LINKS}/{like}", commits(wanted, environment) or '""')
        text = text.replace(f"{_DASHBOARD}{wanted.namespace(environment)}", '""')
    if name == "kustomization.yaml":
        if wanted.named:
            text = text.replace("resources:\n", f"{_names(wanted)}resources:\n", 1)
        text = text.replace(f"{_COMPONENT}link-dashboard\n", "")  # where Grafana is, is not asked for
        if not wanted.mlflow or not commits(wanted, environment):
            text = text.replace(f"{_COMPONENT}links\n", "")
        if wanted.workload is not Workload.ROLLOUT:
            component = f"{_COMPONENT}release\n"
            text = text.replace(component, f"{component}{_COMPONENT}{wanted.workload}\n")
        text = inserted(
            text, name, "components", [f"{_COMPONENT}unreleased # promoter takes this line out with the first release"]
        )
    return text


def _names(wanted: Wanted) -> str:
    return _NAMED.format(prefix=scalar(wanted.service.removesuffix("inference-service")), name=scalar(wanted.name))


def _application(text: str, wanted: Wanted, environment: str) -> str:
    like = _SIZED_AS.get(environment, "staging")
    text = text.replace(f"path: overlays/{like}", f"path: {wanted.overlay(environment)}")
    text = text.replace(f"alias {wanted.alias(like)} ", f"alias {wanted.alias(environment)} ")
    text = text.replace(f"value: promoter status {like}", f"value: promoter status {environment}")
    text = text.replace(f"{_LINKS}/{like}", commits(wanted, environment) or f"promoter history {environment}")
    text = text.replace(f"project: {_MODEL}\n", f"project: {scalar(wanted.name)}\n")
    text = text.replace(f"{_MODEL}-{like}", wanted.namespace(environment)).replace(_MODEL, wanted.name)
    return _with_source(text, wanted)


def _project(text: str, wanted: Wanted) -> str:
    """Its destinations are every namespace of the model, so that another environment needs no other project."""
    first, second = (f"    namespace: {_MODEL}-{name}\n" for name in ("staging", "production"))
    server = "  - server: https://kubernetes.default.svc\n"
    text = text.replace(f"{server}{first}{server}{second}", f'{server}    namespace: "{wanted.name}-*"\n')
    text = text.replace(f"name: {_MODEL}\n", f"name: {scalar(wanted.name)}\n")
    return _with_source(text.replace(_MODEL, wanted.name), wanted)


def _with_source(text: str, wanted: Wanted) -> str:
    return text.replace(_REPOSITORY, wanted.repo).replace(_BRANCH, f"targetRevision: {wanted.branch}")


def scalar(text: str) -> str:
    """As a YAML scalar: plain where that is beyond doubt."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
