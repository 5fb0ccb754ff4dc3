"""history: which releases an environment deployed, read from what its overlay contained."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from promoter.gitops import HistoryLimitError
from promoter.models import Environment
from promoter.promotion import journal, releases

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients


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
    found: list[Entry] = []
    try:
        found.extend(itertools.islice(_entries(clients, environment), limit))
    except HistoryLimitError as error:
        say(f"older releases are not shown: {error.message}; {error.hint}")
    return tuple(found)


def _entries(clients: Clients, environment: Environment) -> Iterator[Entry]:
    for committed in releases.changes(clients.repository(environment.application), environment):
        release, commit = committed.release, committed.commit
        recorded = journal.of(commit)
        own = recorded.is_of(environment) and recorded.version == release.version
        yield Entry(
            when=commit.when,
            model=release.model,
            version=release.version,
            image=release.image,
            author=commit.author,
            commit=commit.sha,
            subject=commit.subject,
            promotion_id=recorded.promotion_id if own else "",
        )
