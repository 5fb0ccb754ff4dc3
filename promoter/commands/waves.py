"""A group of environments promoted to in waves: all of a wave at once, each proven live, held for a while, then the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from promoter.commands import plan as planning
from promoter.commands import promote as promoting
from promoter.commands.between_waves import (
    WaveEnded,
    hold,
    of_error,
    require_good,
    require_newest,
    require_proven,
    settle,
    wave_of,
)
from promoter.commands.go_back import revert
from promoter.commands.group import Arrived, Group, GroupOutcome
from promoter.config.groups import waves
from promoter.errors import ExitCode, PromoterError, SupersededError
from promoter.model_registry import ModelReference
from promoter.models import Environment, ModelVersion
from promoter.promotion import releases
from promoter.promotion.decisions import deploys
from promoter.promotion.ending import Opened
from promoter.promotion.gates.asking import waits
from promoter.promotion.gates.override import NONE, Overrides
from promoter.promotion.record import Made
from promoter.promotion.releases import Committed
from promoter.promotion.side_by_side import side_by_side
from promoter.promotion.steps import Report, Steps, silent
from promoter.promotion.watch import Clock
from promoter.promotion.waves import Member, Stage, Standing, begun

if TYPE_CHECKING:
    from promoter.commands.plan import Plan
    from promoter.kustomize.wave_file import Part
    from promoter.model_registry.store import RegisteredVersion
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a group is promoted to: see `plan` for most of them.

    `holds`: this run itself waits while a wave is held. `reopen`: also what a person closed as a pull request.
    """

    force: bool = False
    unattended: bool = False
    rendering: bool = True
    overrides: Overrides = NONE
    tag: str = ""
    holds: bool = True
    reopen: bool = True


RESUMING = Wishes(unattended=True, holds=False, reopen=False)
"""Nobody asks for it now: what Git has is finished."""


@dataclass(frozen=True, slots=True)
class _Brought:
    """What brings the release to an environment: a commit, or a pull request that proposes it; `made` as in Follower."""

    environment: Environment
    what: Committed | Opened
    made: Made


@dataclass
class Waves:
    """Promotes a group wave by wave. Safe to repeat, and to kill anywhere: what counts is in Git."""

    group: Group
    wishes: Wishes = Wishes()
    report: Report = silent

    def plans(self, version: ModelVersion) -> list[Plan]:
        """What it would change in each environment, and nothing is written.

        One in a later wave that only waits, for the end of a freeze or for an earlier wave, is reported, and has no plan.

        Raises: as `plan`, if an environment refuses the version.
        """
        found: list[Plan] = []
        first = wave_of(self.group.environments[0])
        for environment in self.group.environments:
            try:
                found.append(self._plan(environment, version, None, Steps(self.report)))
            except PromoterError as error:
                if wave_of(environment) == first or not waits(error):
                    raise
                self.group.say(f"{environment.name} (wave {wave_of(environment)}) will wait: {error.message}")
        return found

    def promote(self, version: ModelVersion) -> GroupOutcome:
        """All waves, as far as they come.

        Raises: as `plans`, before anything is written.
        """
        self.plans(version)
        settle(self.group, version)
        now, tips = self.group.read()
        part = begun(now, tips, version, self.group.clients.actor)
        return self._run(part, version, self.group.environments, fresh=True)

    def go_on(self) -> GroupOutcome | None:
        """What is missing of the newest promotion, by Git and the cluster alone; None if nothing is.

        Raises: as `Group.read`.
        """
        now, _ = self.group.read()
        part, stage = now.lead, now.stage
        if part is None or not now.unfinished:
            return None
        if stage is Stage.FAILED:
            return self._outcome(part, WaveEnded(now.sentence, ExitCode.RESTORED, failed=True))
        try:
            require_proven(self.group, now, part)
        except WaveEnded as ended:
            return self._outcome(part, ended)
        except PromoterError as error:
            return self._outcome(part, of_error(error))
        if stage is Stage.DONE:
            return None
        version = resolved(self.group, ModelReference(self.group.model, version=part.version))
        if version.created.replace(microsecond=0) != part.created:
            raise SupersededError(f"version {version.version} was registered again since its promotion to {self.group.name!r}")
        due = [one.environment for one in now.involved if one.wave >= now.pending[0].wave]
        return self._run(part, version, due, fresh=False)

    # -- waves --------------------------------------------------------------------------------------------------------

    def _run(self, part: Part, version: ModelVersion, environments: Sequence[Environment], *, fresh: bool) -> GroupOutcome:
        """`fresh`: these are all of the group, and nothing has to be there."""
        every = waves(environments)
        try:
            for place, wave in enumerate(every):
                if place or not fresh:
                    require_newest(self.group, part)
                self._wave(wave, part, version)
                hold(self.group, wave, part, more=place + 1 < len(every), holds=self.wishes.holds)
        except WaveEnded as ended:
            return self._outcome(part, ended)
        except PromoterError as error:
            return self._outcome(part, of_error(error))
        return self._outcome(part, None)

    def _wave(self, wave: Sequence[Environment], part: Part, version: ModelVersion) -> None:
        """Commits to all of them, then follows all of them at once.

        Raises:
            WaveEnded: not all are live.
        """
        brought: list[_Brought] = []
        refused: PromoterError | None = None
        for environment in wave:
            try:
                brought.append(self._commit(environment, part, version))
            except PromoterError as error:
                refused = error  # those that were committed to are followed in any case
                self.group.arrive(environment, error.message, error.exit_code)
                break
        follows = [partial(self._arrival, one, version, _own(part, one.environment)) for one in brought]
        arrived: list[Arrived] = []
        for one, done in zip(brought, side_by_side(follows, self.group.clock), strict=True):
            if isinstance(done, PromoterError):
                done = self.group.arrive(one.environment, done.message, done.exit_code)
            arrived.append(self.group.note(done))
        require_good(arrived)
        if refused is not None:
            raise of_error(refused)
        if proposed := [one.environment for one in arrived if one.pull_request and not one.commit]:
            raise WaveEnded(f"wave {wave_of(wave[0])} waits for a merge: {', '.join(proposed)}", ExitCode.DONE, waiting=True)

    def _commit(self, environment: Environment, part: Part, version: ModelVersion) -> _Brought:
        clients, steps = self.group.clients, Steps(self.report)
        planned = self._plan(environment, version, _own(part, environment), steps)
        outcome = promoting.promote(clients, planned, steps, reopen=self.wishes.reopen)
        made = Made(planned.gates, outcome.steps)
        if outcome.pull_request is not None:
            return _Brought(environment, outcome.pull_request, made)
        committed = releases.current(clients.repository(environment.application), environment, outcome.commit)
        return _Brought(environment, committed, made)

    def _arrival(self, brought: _Brought, version: ModelVersion, part: Part, clock: Clock) -> Arrived:
        """How the release ends in an environment; with a pull request, from its merge on."""
        environment, what, opened = brought.environment, brought.what, None
        if isinstance(what, Opened):
            opened = what
            arrived = replace(self.group.arrive(environment, f"{what.done} {what.url}"), pull_request=opened)
            if not self.group.waits:
                return arrived
            follower = self.group.follower(environment, clock)
            planned = self._plan(environment, version, part, Steps(), follower.clients)
            assert planned.image is not None  # noqa: S101 - it was published before
            ended = follower.merge(promoting.proposing(follower.clients, planned, planned.image), what)
            if ended.merged is None:
                return replace(arrived, detail=ended.detail, exit_code=ended.exit_code)
            what = releases.merged(follower.repository, environment, ended.merged, planned.after)
        return replace(self.group.followed(environment, what, clock, brought.made), pull_request=opened)

    def _plan(
        self, environment: Environment, version: ModelVersion, part: Part | None, steps: Steps, clients: Clients | None = None
    ) -> Plan:
        wishes = self.wishes
        return planning.plan(
            clients or self.group.clients,
            environment,
            ModelReference(version.name, version=version.version),
            steps,
            rendering=wishes.rendering,
            force=wishes.force,
            unattended=wishes.unattended,
            tag=wishes.tag,
            version=version,
            overrides=wishes.overrides,
            part=part,
        )

    # -- the end ------------------------------------------------------------------------------------------------------

    def _outcome(self, part: Part, ended: WaveEnded | None) -> GroupOutcome:
        """After a failure, what has moved goes back first, where it is to."""
        group = self.group
        detail = ended.detail if ended else f"version {part.version} is live in every wave"
        code = ended.code if ended else ExitCode.DONE
        if ended is not None and ended.failed:
            now, _ = group.read()
            mine = now.lead is not None and now.lead.promotion == part.promotion
            back = now.to_revert if mine else []
            why = f"version {part.version} failed in another environment of {group.name}: {ended.detail}"
            if back and not revert(group, back, part, why):
                code = ExitCode.NOT_RESTORED
            elif back and code is ExitCode.NOT_RESTORED and not group.read()[0].moved:
                code = ExitCode.RESTORED  # what had gone bad is among those that went back
            stays = [one.environment.name for one in group.read()[0].moved] if mine else []
            detail += f"; reverted: {_names(back)}" if back else ""
            detail += f"; version {part.version} stays in {', '.join(stays)}" if stays else ""
        return GroupOutcome(
            group.name,
            group.model,
            part.version,
            part.promotion,
            detail,
            code,
            tuple(group.arrived.values()),
            ended is not None and ended.waiting,
            ended.until if ended else None,
        )


def resolved(group: Group, reference: ModelReference) -> ModelVersion:
    """The version that is meant, by the alias that the group follows if the reference names none.

    Raises: as `ModelRegistry.resolve`.
    """
    return group.clients.model_registry.resolve(planning.with_default_alias(reference, group.environments[0]))


def begins(now: Standing, wanted: RegisteredVersion) -> bool:
    """Whether the version that an alias names is still to be promoted to a group: it was not begun, or not for all."""
    missing = [one for one in now.members if not deploys(one.deployed, wanted)]
    if now.is_about(wanted.version, wanted.created):
        return now.stage is Stage.DONE and any(one not in now.involved for one in missing)
    return bool(missing)


def _own(part: Part, environment: Environment) -> Part:
    return replace(part, wave=str(wave_of(environment)))


def _names(waves: Sequence[Sequence[Member]]) -> str:
    return ", ".join(one.environment.name for wave in waves for one in wave)
