"""freeze and thaw: nothing is promoted to an environment until a time, or until a person thaws it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from promoter.errors import ExitCode, PromoterError, UsageError
from promoter.gitops import Proposal
from promoter.kustomize.freeze_file import Freeze
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment, NoticeKind, Release, Write
from promoter.promotion import decisions, freezes, journal, pull_request_body
from promoter.promotion.announce import Announcer
from promoter.promotion.message import facts
from promoter.promotion.pull_request import PullRequestOpener

if TYPE_CHECKING:
    from promoter.gitops import Repository, Snapshot
    from promoter.promotion.clients import Clients
    from promoter.promotion.decisions import Decisions
    from promoter.promotion.ending import Opened

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Freezing:
    """What a person wants for one environment; with `thaw` that promotions go on there: that has no reason and no end."""

    environment: Environment
    by: str
    reason: str = ""
    until: datetime | None = None
    thaw: bool = False


@dataclass(frozen=True, slots=True)
class Frozen:
    """What came of it in one environment: `standing` is the freeze in words, "" without one; `error` is why it failed."""

    environment: str
    model: str
    standing: str = ""
    commit: str | None = None
    pull_request: Opened | None = None
    exit_code: ExitCode = ExitCode.DONE
    error: str = ""

    @property
    def outcome(self) -> str:
        """In a few words."""
        if self.pull_request:
            return f"{self.pull_request.done} {self.pull_request.url}"
        stands = f"frozen {self.standing}" if self.standing else "not frozen"
        return self.error or f"{stands} ({self.commit or 'nothing was to be written'})"


def until(text: str, now: datetime) -> datetime:
    """The time that a person means: with a time zone, or so many minutes, hours or days (`90m`, `2h`, `3d`) from now.

    Raises:
        UsageError: it is none, has no time zone, or is over.
    """
    hint = "write it with its time zone, as 2026-12-01T06:00:00Z or 2026-12-01T07:00+01:00, or from now on: 90m, 2h, 3d"
    if found := re.fullmatch(r"(\d{1,5})([mhd])", text):
        wanted = now + timedelta(**{_UNITS[found[2]]: int(found[1])})
    else:
        try:
            wanted = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"--until {text!r} is not a time", hint=hint) from None
    if wanted.tzinfo is None:
        raise UsageError(f"--until {text!r} has no time zone", hint=hint)
    if wanted <= now:
        raise UsageError(f"--until {text!r} is over", hint="choose a later time, or leave it out: then it stands until thawed")
    return wanted.astimezone(UTC).replace(microsecond=0)


def freeze(clients: Clients, wanted: Freezing) -> Frozen:
    """Commits it, or proposes the commit for review; what goes wrong here does not keep other environments from being done."""
    done = _frozen(clients, wanted)
    kind = NoticeKind.THAWED if wanted.thaw else NoticeKind.FROZEN
    by = f" by {wanted.by}" if wanted.by else ""
    sentence = f"thawed{by}" if wanted.thaw else f"frozen {freezes.words(_freeze(wanted, datetime.now(UTC)))}"
    Announcer(clients, wanted.environment).decided(kind, sentence, done.commit, done.pull_request)
    return done


def _frozen(clients: Clients, wanted: Freezing) -> Frozen:
    none = Frozen(wanted.environment.name, wanted.environment.model.name)
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        environment = clients.with_source(wanted.environment)
        repository = clients.repository(environment.application)
        edit = partial(_edit, repository, replace(wanted, environment=environment), now)
        standing = "" if wanted.thaw else freezes.words(_freeze(wanted, now))
        if environment.write is Write.PULL_REQUEST:
            forge = clients.forge(environment.application)
            describe = partial(pull_request_body.freezing, environment, standing)
            opened = PullRequestOpener(repository, forge, environment, edit, describe).run()
            return replace(none, pull_request=opened, standing="" if opened else standing)
        pushed = repository.apply(edit)
        return replace(none, standing=standing, commit=pushed.commit.sha if pushed.commit else None)
    except PromoterError as error:
        return replace(none, exit_code=ExitCode(error.exit_code), error=error.message)


def exit_code(done: Sequence[Frozen]) -> ExitCode:
    """That of the first that failed."""
    return next((one.exit_code for one in done if one.exit_code), ExitCode.DONE)


def _freeze(wanted: Freezing, now: datetime) -> Freeze:
    return Freeze(reason=wanted.reason, since=now, until=wanted.until, by=wanted.by)


def _edit(repository: Repository, wanted: Freezing, now: datetime, snapshot: Snapshot) -> Proposal | None:
    environment = wanted.environment
    files = read_overlay(snapshot, environment)
    known = decisions.at(repository, snapshot.commit, files, replace(environment, freeze=()))  # windows are not entries
    standing = known.frozen(now)
    decided = _decided(known, standing, wanted, now)
    if not decided:
        return None
    until = f"{wanted.until:%Y-%m-%dT%H:%M:%SZ}" if wanted.until else "thawed"
    what = f"{environment.model.name} in {environment.name}"
    if wanted.thaw:
        subject, body, entry = f"Thaw {what}", _was(standing), journal.freeze(environment, "thawed")
    else:
        subject, body, entry = f"Freeze {what} until {until}", wanted.reason, journal.freeze(environment, f"until {until}")
    about = Release(environment.model.name, "", "", environment.model.repository, "", "")
    proposal = Proposal(decided, subject, body, entry.trailers(), facts=facts(environment, about, None))
    return replace(proposal, dated=frozenset(decided))


def _decided(known: Decisions, standing: Freeze | None, wanted: Freezing, now: datetime) -> dict[str, bytes]:
    if wanted.thaw:
        return known.files(known.thawed(at=now, by=wanted.by)) if standing else {}
    froze = known.froze(wanted.reason, at=now, until=wanted.until, by=wanted.by)
    same = standing is not None and standing.problem is None
    if same and standing and (standing.reason, standing.until) == (froze.freezes[0].reason, wanted.until):
        return {}
    return known.files(froze)


def _was(standing: Freeze | None) -> str:
    return f"It was frozen {freezes.words(standing)}" if standing else ""
