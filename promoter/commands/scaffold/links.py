"""What leads from the Argo CD dashboard and from a README to a model's releases: addresses on the forge, badges of Argo CD."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from promoter.commands.scaffold.wanted import Wanted
from promoter.errors import UsageError
from promoter.hosting.address import address_of
from promoter.models import ForgeKind


def commits(wanted: Wanted, environment: str) -> str:
    """The page with the commits of an overlay, of an unknown forge the repository's; "" where no browser can go."""
    path = wanted.overlay(environment)
    try:
        address = address_of(wanted.repo, {})
    except UsageError:
        return wanted.repo.removesuffix(".git") if wanted.repo.startswith("https://") else ""
    if address.kind is ForgeKind.GITHUB:
        return f"{address.web_url}/commits/{quote(wanted.branch)}/{path}"
    return f"{address.web_url}?path=/{path}&version=GB{quote(wanted.branch, safe='')}&_a=history"


def readme(wanted: Wanted) -> str:
    """The repository's first page: what is in it, and the state of each environment."""
    return "\n".join(_readme(wanted)) + "\n"


def _readme(wanted: Wanted) -> Iterator[str]:
    yield f"# {wanted.model}"
    yield ""
    yield "promoter releases the model's versions from here; Argo CD and Argo Rollouts bring them to the cluster."
    yield ""
    yield "| environment | alias in MLflow | state in Argo CD | releases |"
    yield "|---|---|---|---|"
    for name in wanted.environments:
        page = commits(wanted, name)
        history = f"[commits]({page})" if page else f"`promoter history {name}`"
        yield f"| {name} | {wanted.alias(name)} | {_badge(wanted, name)} | {history} |"
    if wanted.argocd:
        yield ""
        yield 'Argo CD serves the badges if its ConfigMap `argocd-cm` has `statusbadge.enabled: "true"`.'
    yield ""
    last = wanted.environments[-1]
    yield f"Clients in the cluster use `http://{wanted.service}.{wanted.namespace(last)}`."
    yield f"Release a version: `promoter promote {wanted.model}@{wanted.alias(last)} --to {last}`."
    yield "Look at what runs: `promoter status`. Go back: `promoter rollback`."


def _badge(wanted: Wanted, environment: str) -> str:
    application = wanted.namespace(environment)
    if not wanted.argocd:
        return f"`{application}`"
    server = wanted.argocd if "://" in wanted.argocd else f"https://{wanted.argocd}"
    server = server.rstrip("/")
    return f"[![{application}]({server}/api/badge?name={application}&revision=true)]({server}/applications/{application})"
