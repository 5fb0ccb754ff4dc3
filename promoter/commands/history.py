"""history: which releases environments deployed and what became of each, read from what their overlays contained."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from promoter.errors import ConfigError, ExitCode, PromoterError, UsageError
from promoter.kustomize import freeze_file
from promoter.kustomize.entries import opened
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment
from promoter.promotion import journal, outcome, standings
from promoter.promotion.decisions import Decisions
from promoter.promotion.ending import worst
from promoter.promotion.freezes import words
from promoter.promotion.outcome import Act, Outcome

if TYPE_CHECKING:
    from promoter.gitops import Repository, Snapshot
    from promoter.kustomize.release import Overlay
    from promoter.promotion.clients import Clients
    from promoter.promotion.releases import Committed

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit that put a release into an environment, and what became of that release; `when` is in UTC.

    `by` is the person behind the commit, `author` whom Git names, `reason` what was given as one. `overridden` are gates that a
    person let pass.
    """

    when: datetime
    model: str
    version: str
    image: str
    author: str
    commit: str
    subject: str
    promotion_id: str
    environment: str
    act: Act
    by: str
    reason: str
    outcome: Outcome
    overridden: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """One entry with all that Git has of it: the message of its commit, and of the one that ended it; "" without that.

    `recorded` are the predicates of the records at its image, the oldest first; `not_known` is why they can't be read.
    """

    entry: Entry
    message: str
    ended: str
    recorded: tuple[Mapping[str, Any], ...] = ()
    not_known: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """The releases of an environment with the entry of each, newest first; `frozen` is until when it is, and why."""

    commits: Sequence[Committed]
    entries: tuple[Entry, ...]
    frozen: str = ""


def history(clients: Clients, environment: Environment, limit: int, say: Say) -> tuple[Entry, ...]:
    """At most `limit` releases of this environment, newest first, whoever committed them.

    When fewer are found within git.history-limit commits, and there are more commits, `say` reports it; and a freeze.
    """
    return _reported(past(clients, environment, limit, say), environment, say)


def _reported(read: Past, environment: Environment, say: Say) -> tuple[Entry, ...]:
    if read.frozen:
        say(f"{environment.name!r} is {read.frozen}")
    return read.entries


def histories(
    clients: Clients, environments: Sequence[Environment], limit: int, say: Say
) -> tuple[tuple[Entry, ...], ExitCode]:
    """At most `limit` releases of all of them together, newest first; `say` reports one that can't be read."""
    tips: dict[int, Snapshot] = {}
    found, codes = [], []
    for environment in environments:
        try:
            placed = clients.with_source(environment)
            repository = clients.repository(placed.application)
            if id(repository) not in tips:
                tips[id(repository)] = repository.fetch()
            found.append(_reported(past(clients, placed, limit, say, tips[id(repository)]), placed, say))
        except PromoterError as error:
            say(f"{environment.name} {environment.model.name}: {error.message}")
            codes.append(ExitCode(error.exit_code))
    merged = heapq.merge(*found, key=lambda entry: entry.when, reverse=True)  # keeps the order within an environment
    return tuple(islice(merged, limit)), worst(codes)


def account(clients: Clients, environment: Environment, commit: str, say: Say) -> Account:
    """The entry of this commit, of which the first letters suffice.

    Raises:
        UsageError: no release came with it, or with several that begin so.
    """
    read = past(clients, environment, standings.ALL, say)
    found = [place for place, entry in enumerate(read.entries) if entry.commit.startswith(commit.lower())]
    if len(found) != 1:
        problem = "several releases came with" if found else "no release came with"
        raise UsageError(
            f"{problem} a commit {commit!r} to {environment.name!r}", hint=f"see promoter history {environment.name}"
        )
    entry = read.entries[found[0]]
    ended = next((one.commit for one in read.commits if one.commit.sha == entry.outcome.commit), None)
    message = read.commits[found[0]].commit.text
    account = Account(entry, message, f"{ended.subject}\n\n{ended.text}" if ended else "")
    try:
        return replace(account, recorded=tuple(_recorded(clients, environment, read.commits[found[0]])))
    except PromoterError as error:
        return replace(account, not_known=error.message)


def _recorded(clients: Clients, environment: Environment, committed: Committed) -> Iterator[Mapping[str, Any]]:
    """What the container registry has of one release: how it was tested, and who approved it, is not in Git."""
    from promoter.promotion import record, recorder
    from promoter.promotion.recorder import Recorder, Records

    release = committed.release
    if not release.digest or not Recorder(clients, environment).wanted:
        return
    records = Records(clients, release.repository)
    for referrer in recorder.of(records.listed(release.digest), environment, committed.commit.sha):
        yield record.parse(records.read(referrer).attested.statement, f"the record {referrer.digest}").predicate


def past(clients: Clients, environment: Environment, limit: int, say: Say, tip: Snapshot | None = None) -> Past:
    """As `history`; `tip` is the branch's, if it was fetched a moment ago."""
    repository: Repository = clients.repository(environment.application)
    tip = tip or repository.fetch()
    overlay = read_overlay(tip, environment)
    found = standings.indexed(repository, environment, overlay, tip, limit, say)
    entries = tuple(_entry(environment, one, end) for one, end in found)
    return Past([one for one, _ in found], entries, _frozen(overlay, environment))


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


def _entry(environment: Environment, committed: Committed, ended: Outcome) -> Entry:
    release, commit = committed.release, committed.commit
    did = outcome.act(environment, committed)
    return Entry(
        when=commit.when,
        model=release.model,
        version=release.version,
        image=release.image,
        author=commit.author,
        commit=commit.sha,
        subject=commit.subject,
        promotion_id="" if did is Act.BY_HAND else journal.of(commit).promotion_id,
        environment=environment.name,
        act=did,
        by=outcome.who(commit),
        reason=journal.of(commit).reason,
        outcome=ended,
        overridden="" if did is Act.BY_HAND else journal.of(commit).overridden,
    )
