"""How the promotion of a group stands: what the files of its environments have of it, each at the tip of its branch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from promoter.config.groups import waves
from promoter.kustomize import wave_file
from promoter.kustomize.overlay import promotion_path, read_overlay, release_path
from promoter.kustomize.release import deployed
from promoter.kustomize.wave_file import Part, State
from promoter.models import Environment, ModelVersion, OnWaveFailure, Release
from promoter.promotion.decisions import is_of

if TYPE_CHECKING:
    from promoter.gitops import Snapshot
    from promoter.kustomize.render import Tree
    from promoter.promotion.clients import Clients


_AFTER_HOLD = timedelta(hours=6)
"""For so long after the last wave was held, a run that was killed in it is made good."""


class Stage(StrEnum):
    """How far the newest promotion of a group is."""

    NONE = "none"
    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"
    """The release failed in one of its environments."""
    STOPPED = "stopped"
    """Somebody decided otherwise for one of its environments."""


@dataclass(frozen=True, slots=True)
class Member:
    """One environment of a group, what it deploys, and its part in the newest promotion that has come to it."""

    environment: Environment
    deployed: Release | None
    part: Part | None

    @property
    def wave(self) -> int:
        return self.environment.group.wave if self.environment.group else 1

    @property
    def reverts(self) -> bool:
        """It goes back if the release fails elsewhere."""
        return self.environment.group is not None and self.environment.group.on_failure is OnWaveFailure.REVERT

    def took(self, promotion: Part) -> bool:
        """That promotion has come to it."""
        return self.part is not None and self.part.promotion == promotion.promotion

    def has(self, promotion: Part) -> bool:
        """It deploys what that promotion has brought."""
        there = self.deployed is not None and is_of(self.deployed, promotion.version, promotion.created)
        return self.took(promotion) and there and self.state is State.PROMOTED

    @property
    def state(self) -> State | None:
        return self.part.state if self.part else None

    @property
    def is_held(self) -> bool:
        """Its wave may still be held, or was when a run was killed."""
        soak = self.environment.group.soak if self.environment.group else 0.0
        since = self.part.since if self.part else None
        return bool(soak and since and datetime.now(UTC) - since <= timedelta(seconds=soak) + _AFTER_HOLD)


@dataclass(frozen=True, slots=True)
class Standing:
    """`members` are all environments of a group, the first wave first."""

    members: tuple[Member, ...]

    @property
    def lead(self) -> Part | None:
        """The newest promotion: each begins in the first wave, so the first environment that has one has the newest."""
        return next((one.part for one in self.members if one.part and one.state is not State.LEFT), None)

    @property
    def involved(self) -> tuple[Member, ...]:
        """Those that the newest promotion is about: an environment that joined the group later waits for the next one."""
        names = self.lead.environments if self.lead else ()
        return tuple(one for one in self.members if one.environment.name in names)

    @property
    def moved(self) -> tuple[Member, ...]:
        """Those that deploy what the newest promotion has brought."""
        lead = self.lead
        return tuple(one for one in self.involved if lead and one.has(lead))

    @property
    def pending(self) -> tuple[Member, ...]:
        """Those of the next wave, or of the one that has begun, that it has not come to yet."""
        left = [one for one in self.involved if one not in self.moved]
        return tuple(one for one in left if one.wave == left[0].wave)

    @property
    def stage(self) -> Stage:
        lead = self.lead
        if lead is None:
            return Stage.NONE
        took = [one for one in self.involved if one.took(lead)]
        if any(one.state in (State.FAILED, State.REVERTED) for one in took):
            return Stage.FAILED
        if any(not one.has(lead) for one in took):
            return Stage.STOPPED
        return Stage.UNDER_WAY if self.pending else Stage.DONE

    @property
    def last(self) -> tuple[Member, ...]:
        """The last wave to which it has come entirely: it must be proven before the next one begins. Empty once that has."""
        begun = {one.wave for one in self.pending}
        if any(one.wave in begun for one in self.moved):
            return ()
        return tuple(one for one in self.moved if one.wave == self.moved[-1].wave)

    @property
    def to_revert(self) -> list[tuple[Member, ...]]:
        """Those that go back after a failure, the last wave first."""
        back = {one.environment.key: one for one in self.moved if one.reverts}
        ordered = waves([one.environment for one in back.values()])
        return [tuple(back[environment.key] for environment in wave) for wave in reversed(ordered)]

    @property
    def unfinished(self) -> bool:
        """Something is left to do or to look at: the next wave, what goes back, or the last wave while it is held."""
        if self.stage is Stage.FAILED:
            return bool(self.to_revert)
        return self.stage is Stage.UNDER_WAY or (self.stage is Stage.DONE and any(one.is_held for one in self.last))

    def is_about(self, version: str, created: datetime) -> bool:
        """The newest promotion is of this version."""
        lead = self.lead
        return lead is not None and (lead.version, lead.created) == (version, created.replace(microsecond=0))

    @property
    def sentence(self) -> str:
        """`version 3: wave 2 (us) is next`; "" if nothing is under way or has failed."""
        lead, stage = self.lead, self.stage
        if lead is None or stage in (Stage.NONE, Stage.DONE):
            return ""
        if stage is Stage.UNDER_WAY:
            return f"version {lead.version}: wave {self.pending[0].wave} ({_names(self.pending)}) is next"
        failed = [one for one in self.involved if one.took(lead) and one.state is State.FAILED]
        if stage is Stage.FAILED:
            return f"version {lead.version} failed in {_names(failed)}" if failed else f"version {lead.version} was reverted"
        left = [one for one in self.involved if one.took(lead) and not one.has(lead)]
        return f"version {lead.version}: {_names(left)} was decided about alone"


def standing(environments: Sequence[Environment], tree: Callable[[Environment], Tree]) -> Standing:
    """Of a group's environments, with their places in Git, the first wave first; `tree` has the tip of each one's branch.

    Raises:
        ConfigError: an overlay or a part can't be read.
    """
    return Standing(tuple(_member(one, tree(one)) for one in environments))


def _member(environment: Environment, tree: Tree) -> Member:
    overlay = read_overlay(tree, environment)
    part = wave_file.read(overlay.promotion_file, overlay.promotion, environment)
    if part is not None and part.problem is not None:
        raise part.problem
    return Member(environment, deployed(overlay, environment.model), part)


@dataclass(frozen=True, slots=True)
class Tips:
    """The tips of the branches of a group, each fetched once."""

    snapshots: dict[tuple[str, str], Snapshot]

    @classmethod
    def fetched(cls, clients: Clients, environments: Sequence[Environment]) -> Tips:
        """Raises as `Repository.fetch`."""
        found: dict[tuple[str, str], Snapshot] = {}
        for one in environments:
            application = one.application
            key = application.repo_url, application.target_revision
            if key not in found:
                found[key] = clients.repository(application).fetch()
        return cls(found)

    def of(self, environment: Environment) -> Snapshot:
        application = environment.application
        return self.snapshots[application.repo_url, application.target_revision]


def begun(now: Standing, tips: Tips, version: ModelVersion, by: str) -> Part:
    """The part that each environment takes in a promotion of the version to the whole group.

    The one that is under way goes on if it is of this version. Two that begin at once are one: the id depends on what is there.
    """
    names = tuple(one.environment.name for one in now.members)
    at = datetime.now(UTC).replace(microsecond=0)
    lead = now.lead
    reverted = any(one.state is State.REVERTED for one in now.involved)
    if lead and now.moved and not reverted and now.is_about(version.version, version.created):
        return replace(lead, environments=names, since=at, by=by, state=State.PROMOTED)
    first = now.members[0].environment
    group = first.group.name if first.group else ""
    created = version.created.replace(microsecond=0)
    there = [f"{tips.of(one).blob_id(path)}" for one in (m.environment for m in now.members) for path in _paths(one)]
    parts = (group, version.name, version.version, created.isoformat(), *names, *there)
    promotion = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return Part(promotion, group, names, version=version.version, created=created, since=at, by=by)


def _paths(environment: Environment) -> tuple[str, str]:
    return release_path(environment), promotion_path(environment)


def _names(members: Sequence[Member]) -> str:
    return ", ".join(one.environment.name for one in members)
