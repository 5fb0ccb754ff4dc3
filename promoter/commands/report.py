"""report: gathers what its page shows: releases from Git, their records from registries, and metrics from MLflow."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from promoter.commands.history import Entry, past
from promoter.errors import ExitCode, PromoterError, RefusedError, UsageError
from promoter.model_registry import ModelReference
from promoter.models import Environment
from promoter.promotion import decisions, record, recorder
from promoter.promotion.announce import Announcer
from promoter.promotion.ending import worst
from promoter.promotion.outcome import End
from promoter.promotion.recorder import Recorder, Records
from promoter.report import recorded
from promoter.report.facts import Deployment, Facts, Past, natural
from promoter.report.recorded import Recorded

if TYPE_CHECKING:
    from promoter.gitops import Snapshot
    from promoter.promotion.clients import Clients
    from promoter.promotion.releases import Committed

Say = Callable[[str], None]

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_FIRST = 64  # releases: twice as many until they reach back to the start
_VERSIONS = 20  # of each model: those whose metrics are asked for


@dataclass(frozen=True, slots=True)
class Gathered:
    """`exit_code` is that of what kept an environment from being read."""

    facts: Facts
    exit_code: ExitCode = ExitCode.DONE


def since(text: str, now: datetime) -> datetime:
    """The time that a person means: a day, a time with its zone, or so long before now (`36h`, `30d`, `4w`).

    Raises:
        UsageError: it is none, or not over yet.
    """
    hint = "write 30d, 36h or 4w, or a day as 2026-11-01"
    if found := re.fullmatch(r"(\d{1,4})([hdw])", text):
        start = now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    else:
        try:
            start = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"--since {text!r} is not a time", hint=hint) from None
        start = start if start.tzinfo else start.replace(tzinfo=UTC)
    if start >= now:
        raise UsageError(f"--since {text!r} is not over yet", hint=hint)
    return start.astimezone(UTC)


def gather(
    clients: Clients,
    environments: Sequence[Environment],
    start: datetime,
    now: datetime,
    say: Say,
    *,
    records: bool = False,
    metrics: bool = False,
    tips: Mapping[int, Snapshot] | None = None,
) -> Gathered:
    """What happened since `start`. What can't be read is in the notes, and the rest is still there.

    `records`: those of registries are read, a few requests for each release. `metrics`: MLflow is asked for those of the
    newest versions. `tips` are those of `fetched`, if it was called a moment ago.
    """
    reading = _Reading(clients, start, say, records, tips=dict(tips or {}))
    pasts = tuple(reading.past(environment) for environment in environments)
    found = _metrics(clients, pasts, reading.note) if metrics else {}
    return Gathered(Facts(start, now, pasts, found, tuple(dict.fromkeys(reading.notes))), worst(reading.codes))


def fetched(clients: Clients, environments: Sequence[Environment]) -> dict[int, Snapshot]:
    """The tips of the branches of those environments whose branch is known, each fetched once.

    Raises:
        AuthError, UnreachableError: as a Git server answers.
    """
    tips: dict[int, Snapshot] = {}
    for environment in environments:
        with suppress(UsageError, RefusedError):  # `gather` has it as a problem of the environment
            repository = clients.repository(clients.with_source(environment).application)
            if id(repository) not in tips:
                tips[id(repository)] = repository.fetch()
    return tips


@dataclass(slots=True)
class _Reading:
    """Environments read one after another; each branch is fetched once."""

    clients: Clients
    start: datetime
    say: Say
    records: bool
    notes: list[str] = field(default_factory=list)
    codes: list[ExitCode] = field(default_factory=list)
    tips: dict[int, Snapshot] = field(default_factory=dict)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.say(text)

    def past(self, environment: Environment) -> Past:
        made = Past(environment.name, environment.model.name)
        try:
            placed = self.clients.with_source(environment)
            return self._past(placed, made)
        except PromoterError as error:
            self.codes.append(ExitCode(error.exit_code))
            self.say(f"{environment.name} {environment.model.name}: {error.message}")
            return replace(made, problem=error.message)

    def _past(self, environment: Environment, made: Past) -> Past:
        repository = self.clients.repository(environment.application)
        if id(repository) not in self.tips:
            self.tips[id(repository)] = repository.fetch()
        tip, limit = self.tips[id(repository)], _FIRST
        while len((read := past(self.clients, environment, limit, self.note, tip)).entries) == limit:
            if read.entries[-1].when < self.start:
                break
            limit *= 2
        messages = {one.commit.sha: one.commit.text for one in read.commits}
        announcer = Announcer(self.clients, environment)
        deployments: list[Deployment] = []
        links: list[tuple[str, str]] = []
        for committed, entry in zip(read.commits, read.entries, strict=True):
            if self._matters(entry):
                pages = {link.name: link.url for link in announcer.links_of(committed)}
                links = links or [(name, url) for name, url in pages.items() if name == "Argo CD"]
                one = _deployment(entry, committed, messages, pages.get("commit", ""))
                deployments.append(replace(one, recorded=self._recorded(environment, committed)))
        return replace(made, deployments=tuple(deployments), frozen=read.frozen, links=tuple(links))

    def _matters(self, entry: Entry) -> bool:
        """It came since the start, or was deployed then."""
        until = entry.outcome.until
        return entry.when >= self.start or entry.outcome.end is End.DEPLOYED or (until is not None and until >= self.start)

    def _recorded(self, environment: Environment, committed: Committed) -> Recorded | None:
        release = committed.release
        if not self.records or not release.digest or not Recorder(self.clients, environment).wanted:
            return None
        found, records = [], Records(self.clients, release.repository)
        try:
            for referrer in recorder.of(records.listed(release.digest), environment, committed.commit.sha):
                where = f"the record {referrer.digest}"
                stated = record.parse(records.read(referrer).attested.statement, where)
                found.append(recorded.of(stated.predicate, where))
        except PromoterError as error:
            self.note(f"records of {release.repository} are not known: {error.message}")
        return recorded.last(found)


def _deployment(entry: Entry, committed: Committed, messages: Mapping[str, str], url: str) -> Deployment:
    return Deployment(
        when=entry.when,
        version=entry.version,
        image=entry.image,
        commit=entry.commit,
        subject=entry.subject,
        act=entry.act,
        by=entry.by,
        reason=entry.reason,
        outcome=entry.outcome,
        created=decisions.created_at(committed.release),
        log=messages.get(entry.outcome.commit, "") if entry.outcome.end is not End.REPLACED else "",
        url=url,
    )


def _metrics(clients: Clients, pasts: Sequence[Past], note: Say) -> dict[str, dict[str, Mapping[str, float]]]:
    """By model and version; a model for which MLflow does not answer has none, and a note."""
    wanted: dict[str, dict[str, datetime | None]] = {}
    for one in pasts:
        for deployment in one.deployments:
            wanted.setdefault(one.model, {}).setdefault(deployment.version, deployment.created)
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for model, versions in wanted.items():
        for version in sorted(versions, key=natural)[-_VERSIONS:]:
            try:
                known = clients.model_registry.metrics(ModelReference(model, version=version), versions[version])
                found.setdefault(model, {})[version] = known
            except (UsageError, RefusedError) as error:
                note(f"metrics of {model} version {version} are not known: {error.message}")
            except PromoterError as error:
                note(f"metrics of {model} are not known: {error.message}")
                break
    return found
