"""history: which releases an environment carried, read from the trailers of its commits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from promoter.models import Environment
from promoter.overlay import overlay_paths

if TYPE_CHECKING:
    from promoter.clients import Clients


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


def history(clients: Clients, environment: Environment, limit: int) -> tuple[Entry, ...]:
    """At most `limit` releases of this environment, newest first; commits without our trailers are not releases.

    Raises:
        HistoryLimitError: fewer are found within git.history-limit commits, and there are more commits.
    """
    model = " ".join(environment.model.name.split())  # as a trailer holds it
    entries: list[Entry] = []
    repository = clients.repository(environment.application)
    for commit in repository.history(overlay_paths(environment), limit=clients.config.git.history_limit):
        trailers = commit.trailers
        if trailers.get("Environment") != environment.name or trailers.get("Model") != model:
            continue
        entries.append(
            Entry(
                when=commit.when,
                model=trailers["Model"],
                version=trailers.get("Model-Version", ""),
                image=trailers.get("Image", ""),
                author=commit.author,
                commit=commit.sha,
                subject=commit.subject,
                promotion_id=trailers.get("Promotion-Id", ""),
            )
        )
        if len(entries) == limit:
            break
    return tuple(entries)
