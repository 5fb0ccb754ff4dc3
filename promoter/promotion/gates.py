"""What must hold before anything is written. Pure: facts in, refusals and warnings out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promoter.errors import RefusedError
from promoter.kustomize.promotion_file import Decision, State
from promoter.models import Environment, ModelVersion
from promoter.verdict.masked import image_override

if TYPE_CHECKING:
    from promoter.argocd.state import ApplicationState, SyncWindows
    from promoter.promotion.decisions import Decisions

_APPLY = "kubectl apply -f environments/"
MOST_FAILURES = 3
"""A failure that was not the model's own is tried again; after so many somebody has to look."""


def not_undone(decisions: Decisions, version: ModelVersion, *, force: bool, unattended: bool) -> None:
    """Refuses a version that was quarantined or rejected, by the file of decisions or by MLflow's tag; `force` lets it pass.

    `unattended`: nobody named the version, an alias only points to it. Then one that a person rolled back, or that failed
    `MOST_FAILURES` times, is refused too.

    Raises:
        RefusedError: what stands against the version, and where that is recorded.
    """
    environment, found = decisions.environment, decisions.of(version.version)
    if not force:
        _not_blocked(decisions, found, version)
    if found is None or not unattended:
        return
    if found.state is State.ROLLED_BACK:
        by = f" by {found.by}" if found.by else ""
        raise RefusedError(
            f"{environment.name!r} was rolled back from version {version.version}{by} ({decisions.path})",
            hint=f"move the alias to another version, or run: promoter promote {version.reference} --to {environment.name}",
        )
    if given_up(found):
        raise RefusedError(
            f"{version.reference} failed {found.failures} times in {environment.name!r} ({decisions.path}): {found.reason}",
            hint=f"fix the cause, then run: promoter promote {version.reference} --to {environment.name}",
        )


def _not_blocked(decisions: Decisions, found: Decision | None, version: ModelVersion) -> None:
    environment, tag = decisions.environment.name, quarantine_tag(decisions.environment)
    tagged = version.tags.get(tag)
    if found is not None and found.blocks:
        where = f"commit {found.commit}" if found.commit else decisions.path
        why = f": {found.reason}" if found.reason else ""
        witness = "" if tagged is not None or found.state is State.REJECTED else f"; MLflow has no tag {tag}"
        raise RefusedError(
            f"{version.reference} is {found.state} in {environment!r}{why}; see {where}{witness}",
            hint=f"register a better version, override with --force, or remove the entry from {decisions.path}",
        )
    if tagged is not None and (found is None or found.state is not State.ALLOWED):
        raise RefusedError(
            f"MLflow's tag {tag} quarantines {version.reference}, and {decisions.path} does not",
            hint="remove the tag if it is wrong, or override with --force",
        )


def given_up(decision: Decision) -> bool:
    """The version failed too often for another try that nobody asked for."""
    return decision.state is State.FAILED and decision.failures >= MOST_FAILURES


def quarantine_tag(environment: Environment) -> str:
    """The tag of a model version in MLflow that repeats its quarantine."""
    return f"promoter.quarantined.{environment.name}"


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
