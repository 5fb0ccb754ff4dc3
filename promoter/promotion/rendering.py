"""What a change does to what Argo CD applies: built here with Argo CD's options, and Argo CD asked where that can't be."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.config import RenderConfig
from promoter.errors import PromoterError, RefusedError
from promoter.kustomize.render import NotBuiltHereError, build, sources, tool
from promoter.kustomize.rendered import Carriers, carrying
from promoter.models import Environment, Release

if TYPE_CHECKING:
    from promoter.kustomize.render import Tree
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a change does to what Argo CD applies, as a unified diff, and what carries the release then.

    `unknown` is why this machine can't build the overlay, although Argo CD may.
    """

    diff: str
    carriers: Carriers
    unknown: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        if self.unknown:
            return (f"the overlay is not built here, so nothing shows that it runs the release: {self.unknown}",)
        return tuple(
            f"{one} carries the release and is not watched: it is not a Rollout or Deployment" for one in self.carriers.others
        )


def rendered_change(
    clients: Clients,
    tree: Tree,
    environment: Environment,
    files: Mapping[str, bytes],
    release: Release,
    *,
    offline: bool = False,
) -> Rendered | None:
    """The difference this change makes to what Argo CD applies; None when no tool is here. `offline`: Argo CD is not asked.

    Raises:
        RefusedError: the overlay does not build with it, or what it renders does not run the release.
    """
    directory = environment.application.path
    if tool() is None:
        return None
    try:
        now = sources(tree, directory)
        after, rules = _built(clients, {**now, **files}, directory, offline)
    except NotBuiltHereError as error:
        return Rendered("", Carriers(()), error.message)
    carriers = carrying(after, directory, release, environment.workloads)
    try:
        before = build(now, directory, rules) or ""
    except RefusedError:
        before = ""  # it did not build: everything it renders to now is new
    diff = difflib.unified_diff(before.splitlines(True), after.splitlines(True), "rendered now", "rendered then")
    return Rendered("".join(diff), carriers)


def asked(clients: Clients, environment: Environment, commit: str, deployed: Release | None) -> str:
    """What Argo CD renders of the overlay as it is at `commit`, without the change, and what that does not show."""
    if not clients.argocd_server:
        return "Argo CD is not configured, and can't be asked"
    directory, at = environment.application.path, commit[:10]
    try:
        manifests = clients.argocd().manifests(environment.application, commit)
    except PromoterError as error:
        return f"Argo CD did not render what is there now, at {at}: {error.message}"
    unproven = "that does not show what it renders with this change"
    if deployed is None:
        return f"Argo CD renders what is there now, at {at}: {unproven}"
    try:
        carriers = carrying("\n---\n".join(manifests), directory, deployed, environment.workloads)
    except RefusedError as error:
        return f"Argo CD renders what is there now, at {at}, without its release: {error.message}"
    return f"Argo CD renders what is there now, at {at}, with its release in {', '.join(carriers.watched)}: {unproven}"


def _built(clients: Clients, files: Mapping[str, bytes], directory: str, offline: bool) -> tuple[str, RenderConfig]:
    """The manifests, and how they were built: where promoter.yaml has no options, a second time with Argo CD's."""
    rules = clients.config.render
    try:
        return build(files, directory, rules) or "", rules
    except NotBuiltHereError:
        raise
    except RefusedError:
        options = "" if offline or rules.written or not clients.argocd_server else _options(clients)
        if not options:
            raise
        rules = RenderConfig.of(options, network=rules.network)
        return build(files, directory, rules) or "", rules


def _options(clients: Clients) -> str:
    try:
        return clients.argocd().build_options()
    except PromoterError:
        return ""  # the tool's own message names the option, and where to write it
