"""open: the page of an environment's release in Argo CD, MLflow, the forge or Grafana, by the addresses that are configured."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.config.yaml import plain_values
from promoter.errors import RefusedError, UsageError
from promoter.hosting.forge import State
from promoter.machine import process
from promoter.notify.links import Page
from promoter.promotion import releases
from promoter.promotion.announce import Announcer
from promoter.promotion.pull_request import branch_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from promoter.gitops import Snapshot
    from promoter.models import Environment
    from promoter.promotion.clients import Clients

_SETTINGS = "settings.yaml"
_OPENER = "open" if sys.platform == "darwin" else "xdg-open"
_SECONDS = 20.0


_LINKS = {Page.ARGOCD: "Argo CD", Page.MLFLOW: "MLflow", Page.COMMIT: "commit"}
_NEEDS = {
    Page.ARGOCD: "set ARGOCD_SERVER, or argocd: {web-url: …} in promoter.yaml",
    Page.MLFLOW: "set MLFLOW_TRACKING_URI to a server's address, or mlflow: {web-url: …} in promoter.yaml",
    Page.COMMIT: "its pages are known for GitHub and Azure DevOps; set forge: in promoter.yaml for a server of your own",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """`started`: a browser was started with it."""

    page: Page
    url: str
    started: bool = False


def address(clients: Clients, environment: Environment, page: Page) -> str:
    """The address of this page.

    Raises:
        UsageError: it is not configured.
        RefusedError: promoter has opened no pull request there.
        AuthError, UnreachableError: as the Git server, the forge and Argo CD answer.
    """
    placed = clients.with_source(environment)
    if page is Page.PR:
        return _pull_request(clients, placed)
    repository = clients.repository(placed.application)
    tip = repository.fetch()
    if page is Page.GRAFANA:
        return _dashboard(tip, placed)
    links = Announcer(clients, placed).links_of(releases.current(repository, placed, tip.commit))
    found = next((link.url for link in links if link.name == _LINKS[page]), "")
    if not found:
        raise UsageError(f"the address of {_LINKS[page]} is not known", hint=_NEEDS[page])
    return found


def start(url: str, environ: Mapping[str, str]) -> bool:
    """Hands the address to the desktop's browser, which gets none of our secrets; False where no desktop takes it."""
    if not url.startswith(("https://", "http://")):
        return False
    needed = process.needed(environ, process.DESKTOP | process.FOLDERS | {"BROWSER", "XDG_CURRENT_DESKTOP", "DESKTOP_SESSION"})
    try:
        return process.run([_OPENER, url], environ=needed, seconds=_SECONDS).status == 0
    except (OSError, process.HungError):
        return False


def _pull_request(clients: Clients, environment: Environment) -> str:
    base = environment.application.target_revision
    forge = clients.forge(environment.application)
    found = [
        one for restoring in (True, False) for one in forge.pull_requests(branch_of(environment, restoring=restoring), base)
    ]
    if not found:
        raise RefusedError(
            f"promoter has opened no pull request for {environment.model.name} in {environment.name}",
            hint="write: pull-request in promoter.yaml makes it open one for each promotion",
        )
    return max(found, key=lambda one: (one.state is State.OPEN, one.number)).url


def _dashboard(tip: Snapshot, environment: Environment) -> str:
    path = f"{environment.application.path}/{_SETTINGS}"
    documents = plain_values((tip.read(path) or b"").decode(errors="replace"), path)
    data = [one.get("data") for one in documents if isinstance(one, dict)]
    found = next((one["DASHBOARD"] for one in data if isinstance(one, dict) and "DASHBOARD" in one), None)
    if not isinstance(found, str):
        raise UsageError(
            "the address of a dashboard is not known", hint=f"set DASHBOARD in {path} (docs/manifests.md, link-dashboard)"
        )
    return found
