"""Whether an environment is frozen: asked before anything is promoted there, and again on every tip that is built on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from promoter.errors import PromoterError, RefusedError

if TYPE_CHECKING:
    from promoter.argocd.state import SyncWindows
    from promoter.kustomize.freeze_file import Freeze
    from promoter.models import Application
    from promoter.promotion.decisions import Decisions

_NOT_HELD_UP = "rollback, reject and restores are not held up"


class FrozenError(RefusedError):
    """The environment is frozen: what is wanted waits. `until` is when that ends by itself, None if somebody has to thaw it."""

    def __init__(self, message: str, *, hint: str, until: datetime | None) -> None:
        self.until = until
        super().__init__(message, hint=hint)


def not_frozen(known: Decisions, now: datetime | None = None) -> None:
    """Refuses a promotion while somebody has frozen the environment, or a window is open. What undoes a release does not ask.

    Raises:
        FrozenError: it is frozen, or whether it is can't be read.
    """
    found = known.frozen(now or datetime.now(UTC))
    if found is None:
        return
    name, model = known.environment.name, known.environment.model.name
    if found.problem is not None:
        message = f"{name!r} counts as frozen while its freeze can't be read: {found.problem.message}"
        raise FrozenError(message, hint=found.problem.hint, until=None)
    if found.window:
        hint = f"wait until then, or change the window in promoter.yaml; {_NOT_HELD_UP}"
        raise FrozenError(f"{name!r} is frozen {words(found)}", hint=hint, until=found.until)
    wait = ", or wait until then" if found.until else ""
    hint = f"promoter thaw {name} --model {model}{wait}; {_NOT_HELD_UP}"
    raise FrozenError(f"{name!r} is frozen {words(found)} ({known.path})", hint=hint, until=found.until)


def words(freeze: Freeze) -> str:
    """`until 2026-12-01 06:00 UTC by ada: Black Friday`"""
    if freeze.problem is not None:
        return f"as long as this can't be read: {freeze.problem.message}"
    until = f"until {freeze.until:%Y-%m-%d %H:%M:%S} UTC" if freeze.until else "until it is thawed"
    if freeze.window:
        return f"{until} by the window {freeze.window!r} of promoter.yaml"
    return until + (f" by {freeze.by}" if freeze.by else "") + (f": {freeze.reason}" if freeze.reason else "")


def sync_windows(application: Application, read: Callable[[], SyncWindows], *, auto_sync: bool) -> str:
    """Refuses a promotion that Argo CD would sync at the end of a sync window, with nobody watching.

    Returns what is to be warned of: nobody knows whether there is one, or somebody has to sync anyhow.

    Raises:
        FrozenError: a window keeps Argo CD from syncing by itself now.
    """
    try:
        found = read()
    except PromoterError as error:
        return f"whether a sync window keeps Argo CD from syncing now is unknown: {error.message}"
    if not found.blocks_auto_sync:
        return ""
    if not auto_sync:
        return "a sync window keeps Argo CD from syncing now"
    raise FrozenError(
        f"Argo CD does not sync {application.name!r} now: sync window {'; '.join(found.by)} of project {application.project!r}",
        hint=f"wait for its end (argocd proj windows list {application.project}); {_NOT_HELD_UP}",
        until=None,
    )


def held_up(application: Application, read: Callable[[], SyncWindows]) -> str:
    """What to say of a sync window to somebody who undoes a release, which no window keeps from being committed."""
    try:
        found = read()
    except PromoterError as error:
        return f"whether a sync window keeps Argo CD from syncing it is unknown: {error.message}"
    if not found.blocks_auto_sync:
        return ""
    window = "; ".join(found.by)
    return f"Argo CD will not sync it before the end of its sync window: {window} (argocd app sync {application.name})"
