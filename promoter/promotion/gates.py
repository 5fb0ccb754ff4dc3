"""What must hold before anything is written. Pure: facts in, refusals and warnings out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promoter.errors import RefusedError
from promoter.models import Environment, ModelVersion
from promoter.verdict.masked import image_override

if TYPE_CHECKING:
    from promoter.argocd.state import ApplicationState, SyncWindows
    from promoter.promotion.journal import Past

_APPLY = "kubectl apply -f environments/"
MOST_FAILURES = 3
"""A failure that was not the model's own is tried again; after so many somebody has to look."""


def not_quarantined(known: Past, version: ModelVersion, environment: Environment, *, force: bool) -> None:
    """Refuses a version that failed its analysis, or that a person aborted, in this environment.

    Raises:
        RefusedError: it is quarantined, and `force` is not given.
    """
    if known.quarantined and not force:
        raise RefusedError(
            f"{version.reference} is quarantined in {environment.name!r}: see commit {known.quarantined}",
            hint="register a better version, or override with --force",
        )


def followed(application: ApplicationState | None, environment: Environment) -> None:
    """Refuses what would make the commit have no effect, or another one than meant.

    Raises:
        RefusedError: no such Application, another branch or path, a source hydrator, or an image override.
    """
    wanted = environment.application
    if application is None or application.deleting:
        state = "is being deleted" if application else "does not exist in Argo CD"
        raise RefusedError(f"Application {wanted.name!r} (project {wanted.project}) {state}", hint=_APPLY)
    if application.hydrated:
        raise RefusedError(f"Application {wanted.name!r} uses the source hydrator", hint="give it a plain source with a path")
    if problems := tuple(_elsewhere(application, environment)):
        raise RefusedError(f"Application {wanted.name!r} follows {'; '.join(problems)}", hint=_APPLY)
    if override := image_override(application, environment.model.repository, environment.model.image_name):
        raise RefusedError(
            f"Application {wanted.name!r} overrides the image (spec.source.kustomize.images): {override}",
            hint=f"it would mask the commit: argocd app unset {wanted.name} --kustomize-image IMAGE",
        )


def _elsewhere(application: ApplicationState, environment: Environment) -> Iterator[str]:
    wanted = environment.application
    if _plain_url(application.repo_url) != _plain_url(wanted.repo_url):
        yield f"repository {application.repo_url}, not {wanted.repo_url}"
    if application.path.strip("/") != wanted.path:
        yield f"path {application.path!r}, not {wanted.path!r}"
    if application.target_revision.removeprefix("refs/heads/") != wanted.target_revision:
        yield f"revision {application.target_revision or 'HEAD'}, not {wanted.target_revision}"


def _plain_url(url: str) -> str:
    """The repository, whichever way it is written: as Argo CD itself compares them, without scheme, user and .git."""
    split = urlsplit(url if "://" in url else f"ssh://{url.replace(':', '/', 1)}")
    return f"{(split.hostname or '').lower()}{split.path.rstrip('/').removesuffix('.git').lower()}"


def warnings(application: ApplicationState, windows: SyncWindows | None) -> tuple[str, ...]:
    """What may keep the release from going live, and does not make it wrong."""
    told = []
    if not application.auto_sync:
        told.append("auto-sync is off: somebody must sync")
    if windows is not None and windows.blocks_auto_sync:
        told.append("a sync window keeps Argo CD from syncing now")
    if application.health != "Healthy":
        told.append(f"the Application is {application.health} already")
    if not application.workloads:
        told.append("the Application has no Rollout or Deployment yet")
    return tuple(told)
