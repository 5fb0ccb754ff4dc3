"""Pipelines of a CI system, started from outside: GitHub Actions and Azure Pipelines. They reconcile the environment named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from promoter.errors import AuthError, UnreachableError, UsageError
from promoter.hosting import github
from promoter.hosting.answers import error_message, rate_limit
from promoter.hosting.tokens import dispatch_token
from promoter.models import ForgeKind
from promoter.transport.boundary import whole_number
from promoter.transport.credential import Credential
from promoter.transport.session import Authorization, Http

if TYPE_CHECKING:
    import requests

EVENT_TYPE = "model-promotion"
"""`on: repository_dispatch: types:` of the GitHub workflow that is to run."""

COMMAND = "reconcile"
"""What a pipeline that people start by hand too is asked for: by hand it promotes."""


class System(StrEnum):
    GITHUB = "github"
    AZURE_DEVOPS = "azure-devops"


class Pipeline(Protocol):
    """Something that runs `promoter reconcile ENV --model MODEL` elsewhere."""

    @property
    def where(self) -> str:
        """For people: the system and the pipeline."""
        ...

    def dispatch(self, model: str, environment: str) -> None:
        """Starts a run. Not tried again after a broken connection: the next look does that.

        Raises:
            UsageError: the pipeline does not exist, or does not accept these parameters.
            AuthError: the token is missing or may not.
            UnreachableError: no answer, or a temporary refusal.
        """
        ...


@dataclass(frozen=True)
class GitHubWorkflow:
    """A workflow of `repository` (OWNER/NAME): the one that listens to `repository_dispatch`, or the file `workflow` at `ref`.

    docs.github.com/rest: `POST /repos/{owner}/{repo}/dispatches` takes `event_type` and `client_payload`;
    `POST .../actions/workflows/{file}/dispatches` takes `ref` and `inputs`. Both answer 204; the latter 200 where a client
    asks for the run's details.
    """

    http: Http
    repository: str
    workflow: str | None = None
    ref: str = "main"

    @property
    def where(self) -> str:
        return f"GitHub {self.repository}" + (f" {self.workflow}" if self.workflow else f" repository_dispatch {EVENT_TYPE}")

    def dispatch(self, model: str, environment: str) -> None:
        inputs = {"model_name": model, "environment": environment}
        path, body = f"/repos/{self.repository}/dispatches", dict[str, Any](event_type=EVENT_TYPE, client_payload=inputs)
        if self.workflow:
            path = f"/repos/{self.repository}/actions/workflows/{quote(self.workflow, safe='')}/dispatches"
            body = {"ref": self.ref, "inputs": {**inputs, "command": COMMAND}}
        rights = "Actions: write" if self.workflow else "Contents: write"
        _checked(self.http.request("POST", path, json=body), self.where, f"the token needs {rights} on {self.repository}")


@dataclass(frozen=True)
class AzurePipeline:
    """Pipeline `id` of a project; `http` stands at the project.

    learn.microsoft.com/rest/api/azure/devops/pipelines/runs: `POST .../_apis/pipelines/{id}/runs` takes `templateParameters`.
    """

    http: Http
    id: str
    ref: str = "main"

    @property
    def where(self) -> str:
        return f"Azure Pipelines {urlsplit(self.http.base_url).path.strip('/')} {self.id}"

    def dispatch(self, model: str, environment: str) -> None:
        body = {
            "resources": {"repositories": {"self": {"refName": f"refs/heads/{self.ref}"}}},
            "templateParameters": {"modelName": model, "environment": environment, "command": COMMAND},
        }
        answer = self.http.request("POST", f"/_apis/pipelines/{self.id}/runs?api-version=7.1", json=body)
        _checked(answer, self.where, "the token needs Build: read and execute, and Queue builds on this pipeline")


def pipeline(system: System, name: str, ref: str, environ: Mapping[str, str]) -> Pipeline:
    """The pipeline of that name: OWNER/REPOSITORY[/WORKFLOW FILE], or ORGANISATION/PROJECT/ID (a URL for a server of your own).

    Raises:
        UsageError: the name is not of that form.
        AuthError: no token is set.
    """
    parts = name.strip("/").split("/")
    if system is System.GITHUB:
        if len(parts) not in (2, 3) or not all(parts):
            raise UsageError(
                f"{name!r} is not a GitHub workflow", hint="write OWNER/REPOSITORY/WORKFLOW.yml, or OWNER/REPOSITORY"
            )
        repository = "/".join(parts[:2])
        http = github.connect(github.api_url(environ), _asked(ForgeKind.GITHUB, environ, repository, github.api_url(environ)))
        return GitHubWorkflow(http, repository, parts[2] if len(parts) == 3 else None, ref)
    url = name if "://" in name else f"https://dev.azure.com/{name}"
    project, _, id = url.rstrip("/").rpartition("/")
    if whole_number(id) is None or urlsplit(project).path.count("/") < 2:
        raise UsageError(
            f"{name!r} is not an Azure pipeline", hint="write ORGANISATION/PROJECT/ID: the number is in its address"
        )
    auth = Authorization(_asked(ForgeKind.AZURE_DEVOPS, environ, f"pipeline {name}", url))
    return AzurePipeline(Http("Azure DevOps", quote(project, safe=":/%"), auth=auth, rate_limit=rate_limit), id, ref)


def _asked(kind: ForgeKind, environ: Mapping[str, str], place: str, url: str) -> Callable[[], Credential]:
    """What returns the token, for each request: a receiver outlives the token of a GitHub App.

    Raises:
        AuthError: there is none now.
    """

    def ask() -> Credential:
        return dispatch_token(kind, environ, place, url)

    ask()
    return ask


def _checked(answer: requests.Response, where: str, rights: str) -> None:
    """Azure DevOps answers a missing sign-in with 203 and a web page, or with a redirect."""
    status = answer.status_code
    if status in (200, 201, 204):
        return
    reason = error_message(answer)[:300]
    if status in (401, 403, 203) or 300 <= status < 400:
        raise AuthError(f"{where} refuses the token ({status}): {reason}", hint=rights)
    if status == 404:
        raise UsageError(f"{where} does not exist, or the token may not see it (404)", hint=f"check its name; {rights}")
    if status in (400, 422):
        raise UsageError(
            f"{where} does not take this ({status}): {reason}",
            hint="the pipeline must be there on that branch, and declare the parameters: see docs/webhook.md",
        )
    raise UnreachableError(f"{where} answered {status}: {reason}", hint="it is tried again at the next look")
