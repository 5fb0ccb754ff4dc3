"""history: which releases an environment deployed, read from what its overlay contained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from promoter.models import Environment
from promoter.promotion import journal, release_index

if TYPE_CHECKING:
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

    When fewer are found within git.history-limit commits, and there are more commits, `say` reports it.
    """
    found = release_index.newest(clients.repository(environment.application), environment, limit, say)
    return tuple(_entry(environment, one) for one in found)


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
