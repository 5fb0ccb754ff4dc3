"""history: which releases an environment deployed, read from what its overlay contained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from promoter.errors import ConfigError
from promoter.kustomize import freeze_file
from promoter.kustomize.entries import opened
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment
from promoter.promotion import journal, release_index
from promoter.promotion.decisions import Decisions
from promoter.promotion.freezes import words

if TYPE_CHECKING:
    from promoter.kustomize.release import Overlay
    from promoter.promotion.clients import Clients
    from promoter.promotion.releases import Committed


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit that put a release into the environment; `when` is in UTC."""

    when: datetime
    model: str
    version: str
    image: str
    author: str
    commit: str
    subject: str
    promotion_id: str


def history(clients: Clients, environment: Environment, limit: int, say: Callable[[str], None]) -> tuple[Entry, ...]:
    """At most `limit` releases of this environment, newest first, whoever committed them.

    When fewer are found within git.history-limit commits, and there are more commits, `say` reports it; and a freeze.
    """
    repository = clients.repository(environment.application)
    tip = repository.fetch()
    frozen = _frozen(read_overlay(tip, environment), environment)
    if frozen:
        say(f"{environment.name!r} is {frozen}")
    found = release_index.newest(repository, environment, limit, say, tip)
    return tuple(_entry(environment, one) for one in found)


def _frozen(overlay: Overlay, environment: Environment) -> str:
    """In words; "" if it is not."""
    if overlay.promotion is None:
        return ""
    try:
        found = freeze_file.of(opened(overlay.promotion_file, overlay.promotion), environment)
    except ConfigError as error:
        return f"frozen as long as this can't be read: {error.message}"
    standing = Decisions(environment, overlay.promotion_file, overlay.promotion, {}, found).frozen(datetime.now(UTC))
    return f"frozen {words(standing)}" if standing else ""


def _entry(environment: Environment, committed: Committed) -> Entry:
    release, commit = committed.release, committed.commit
    recorded = journal.of(commit)
    own = recorded.is_of(environment) and recorded.version == release.version
    return Entry(
        when=commit.when,
        model=release.model,
        version=release.version,
        image=release.image,
        author=commit.author,
        commit=commit.sha,
        subject=commit.subject,
        promotion_id=recorded.promotion_id if own else "",
    )
