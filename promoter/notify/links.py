"""Where people see what a promotion is about: pages of the forge, Argo CD, MLflow and the pipeline that runs us."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

from promoter.errors import without_credentials

if TYPE_CHECKING:
    from promoter.models import Application


class Page(StrEnum):
    """What `promoter open` leads to."""

    ARGOCD = "argocd"
    MLFLOW = "mlflow"
    COMMIT = "commit"
    PR = "pr"
    GRAFANA = "grafana"


def application(server: str, app: Application) -> str:
    """The Application's page of an Argo CD (ui/src/app/applications: `/applications/NAMESPACE/NAME`)."""
    return f"{_root(server)}/applications/{quote(app.namespace, safe='')}/{quote(app.name, safe='')}"


def model_version(server: str, name: str, version: str) -> str:
    """The version's page of an MLflow server, "" if the tracking URI is not a server's."""
    if not server.startswith(("http://", "https://")):
        return ""
    return f"{_root(server)}/#/models/{quote(name, safe='')}/versions/{quote(version, safe='')}"


def run(environ: Mapping[str, str]) -> str:
    """The run of GitHub Actions or Azure Pipelines that we are part of, "" elsewhere."""
    github = [environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    if environ.get("GITHUB_ACTIONS") == "true" and all(github):
        return "{}/{}/actions/runs/{}".format(*github)
    azure = [environ.get(name, "") for name in ("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID")]
    if environ.get("TF_BUILD") and all(azure):
        return f"{azure[0].rstrip('/')}/{quote(azure[1])}/_build/results?buildId={azure[2]}"
    return ""


def _root(server: str) -> str:
    """Without credentials, and without a query, which may hold some."""
    return without_credentials(server).partition("?")[0].partition("#")[0].rstrip("/")
