"""Whether an environment is frozen: asked before anything is promoted there, and again on every tip that is built on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from promoter.errors import RefusedError

if TYPE_CHECKING:
    from promoter.kustomize.freeze_file import Freeze
    from promoter.promotion.decisions import Decisions


class FrozenError(RefusedError):
    """The environment is frozen: what is wanted waits. `until` is when that ends by itself, None if somebody has to thaw it."""

    def __init__(self, message: str, *, hint: str, until: datetime | None) -> None:
        self.until = until
        super().__init__(message, hint=hint)


def not_frozen(known: Decisions, now: datetime | None = None) -> None:
    """Refuses a promotion while somebody has frozen the environment. Rollbacks, restores and rejections do not ask.

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
    wait = ", or wait until then" if found.until else ""
    hint = f"promoter thaw {name} --model {model}{wait}; rollback, reject and restores are not held up"
    raise FrozenError(f"{name!r} is frozen {words(found)} ({known.path})", hint=hint, until=found.until)


def words(freeze: Freeze) -> str:
    """`until 2026-12-01 06:00 UTC by ada: Black Friday`"""
    if freeze.problem is not None:
        return f"as long as this can't be read: {freeze.problem.message}"
    until = f"until {freeze.until:%Y-%m-%d %H:%M:%S} UTC" if freeze.until else "until it is thawed"
    return until + (f" by {freeze.by}" if freeze.by else "") + (f": {freeze.reason}" if freeze.reason else "")
