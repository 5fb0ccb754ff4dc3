"""What must hold between two waves of a group, and how a run over it ends before the last one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from promoter.commands.group import Arrived, Group
from promoter.config.duration import spoken
from promoter.errors import ExitCode, PromoterError, SupersededError
from promoter.models import Environment, ModelVersion
from promoter.promotion import releases
from promoter.promotion.ending import MEANINGS
from promoter.promotion.gates.asking import waits
from promoter.promotion.side_by_side import side_by_side
from promoter.promotion.waves import Member, Stage, Standing
from promoter.verdict import Kind

if TYPE_CHECKING:
    from promoter.kustomize.wave_file import Part


class WaveEnded(Exception):
    """The promotion goes no further in this run. `failed`: the release has, in one of its environments."""

    def __init__(
        self, detail: str, code: ExitCode, *, failed: bool = False, waiting: bool = False, until: datetime | None = None
    ) -> None:
        self.detail, self.code, self.failed, self.waiting, self.until = detail, code, failed, waiting, until
        super().__init__(detail)


def hold(group: Group, wave: Sequence[Environment], part: Part, *, more: bool, holds: bool) -> None:
    """Until the release has been live for long enough, and then looks at it again.

    Raises:
        WaveEnded: it is not live any more; or another run goes on after that time.
    """
    seconds = max((one.group.soak for one in wave if one.group), default=0.0)
    if not seconds:
        return
    if not holds:
        until = group.clock.time() + timedelta(seconds=seconds)
        raise WaveEnded(_held(wave, until), ExitCode.DONE, waiting=more, until=until)
    group.say(f"wave {wave_of(wave[0])} of {group.name} is live, and held for {spoken(seconds)}")
    group.clock.wait(seconds, threading.Event())
    look_again(group, wave, part)


def look_again(group: Group, wave: Sequence[Environment], part: Part) -> None:
    """Raises: WaveEnded, if one of them is not live any more."""
    require_newest(group, part)
    found = side_by_side([partial(group.again, environment) for environment in wave], group.clock)
    for environment, verdict in zip(wave, found, strict=True):
        if isinstance(verdict, PromoterError):
            raise verdict
        if verdict.kind is Kind.LIVE:
            continue
        superseded = verdict.kind in (Kind.SUPERSEDED, Kind.COMMIT_GONE)
        detail = f"version {part.version} was live and is not any more: {verdict.summary}"
        code = ExitCode.SUPERSEDED if superseded else ExitCode.NOT_RESTORED
        group.arrive(environment, detail, code)
        raise WaveEnded(f"{environment.name}: {detail}", code, failed=not superseded)


def require_newest(group: Group, part: Part) -> None:
    """Raises: SupersededError, if a newer promotion has begun in the first wave, or a person decided otherwise."""
    now, _ = group.read()
    newer = now.lead is None or now.lead.promotion != part.promotion
    if not newer and now.stage is not Stage.STOPPED:
        return
    why = f"the promotion of version {now.lead.version} has begun" if newer and now.lead else now.sentence
    raise SupersededError(
        f"group {group.name!r}: {why or 'it was decided about alone'}; version {part.version} goes no further",
        hint=f"see where it stands: promoter status {group.name}",
    )


def require_proven(group: Group, now: Standing, part: Part) -> None:
    """The last wave that is complete is live, and has been for as long as it is held.

    Raises:
        WaveEnded: it is not, or not yet.
    """
    wave = [one.environment for one in now.last]
    for environment in wave:
        verdict, since = group.seen(environment)
        if verdict.kind is not Kind.LIVE:
            if not verdict.terminal and _is_young(group, since):
                raise WaveEnded(f"{environment.name} is {verdict.kind}: {verdict.summary}", ExitCode.DONE, waiting=True)
            if verdict.restore:
                committed = releases.current(group.clients.repository(environment.application), environment)
                require_good([group.note(group.followed(environment, committed, group.clock))])
            look_again(group, [environment], part)
        until = since + timedelta(seconds=environment.group.soak if environment.group else 0.0)
        if until > group.clock.time():
            raise WaveEnded(_held(wave, until), ExitCode.DONE, waiting=True, until=until)


def _is_young(group: Group, since: datetime) -> bool:
    return group.clock.time() - since <= timedelta(seconds=group.clients.config.watch.timeout)


def settle(group: Group, version: ModelVersion) -> None:
    """Another promotion is superseded between its waves: what has begun is followed to its end."""
    now, _ = group.read()
    others = [one.environment for one in now.members if _of_another(one, version)]
    rolling = [one for one in others if not group.seen(one)[0].terminal]
    if rolling:
        group.say(f"waits for the wave that is under way: {', '.join(one.name for one in rolling)}")
        side_by_side([partial(group.follow, environment) for environment in rolling], group.clock)


def require_good(arrived: Sequence[Arrived]) -> None:
    """Raises: WaveEnded, if one of them did not end well."""
    if bad := [one for one in arrived if one.exit_code is not ExitCode.DONE]:
        worst = max(bad, key=lambda one: MEANINGS[one.exit_code].severity)
        failed = any(one.exit_code in (ExitCode.RESTORED, ExitCode.NOT_RESTORED) for one in bad)
        raise WaveEnded(f"{worst.environment}: {worst.detail}", worst.exit_code, failed=failed)


def wave_of(environment: Environment) -> int:
    """Its wave in its group."""
    return environment.group.wave if environment.group else 1


def _held(wave: Sequence[Environment], until: datetime) -> str:
    return f"wave {wave_of(wave[0])} is live, and held until {until:%Y-%m-%d %H:%M:%S} UTC"


def _of_another(member: Member, version: ModelVersion) -> bool:
    """It has got another version by its group's promotion."""
    part = member.part
    created = version.created.replace(microsecond=0)
    return part is not None and member.has(part) and (part.version, part.created) != (version.version, created)


def of_error(error: PromoterError) -> WaveEnded:
    """A refusal or an outage between releases: nothing is known against the release."""
    return WaveEnded(error.message, ExitCode(error.exit_code), waiting=waits(error), until=getattr(error, "until", None))
