"""Environments of a group that go back, the last wave first: after a failure elsewhere, or because a person wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from promoter.commands.group import Arrived, Group, GroupOutcome
from promoter.commands.rollback import Rollback, plan_rollback, proposing_rollback, rollback
from promoter.config.groups import waves
from promoter.errors import ExitCode, PromoterError
from promoter.kustomize.wave_file import Part
from promoter.models import Environment, Write
from promoter.promotion import releases
from promoter.promotion.announce import Announcer
from promoter.promotion.follow import Follower
from promoter.promotion.side_by_side import side_by_side
from promoter.promotion.watch import Clock
from promoter.promotion.waves import Member


def revert(group: Group, moved: Sequence[Sequence[Member]], promotion: Part, why: str) -> bool:
    """Each member deploys again what it deployed before the promotion, proven; whether all do.

    What goes wrong in one keeps no other from going back.
    """
    good = True
    for wave in moved:
        planned: list[Rollback] = []
        for member in wave:
            found = _planned(group, member, promotion, why)
            good = good and found is not None
            planned += [found] if found and not found.already else []
        good = go_back(group, planned) and good
    return good


def _planned(group: Group, member: Member, promotion: Part, why: str) -> Rollback | None:
    """None, and noted why, if nothing that it deployed before is known."""
    environment, part = member.environment, member.part
    repository = group.clients.repository(environment.application)
    try:
        current = releases.current(repository, environment)
        found = releases.history(repository, environment, current.commit.sha)
        target = next((one for one in found if part and part.replaced and one.release.digest == part.replaced), None)
    except PromoterError as error:
        group.arrive(environment, f"not reverted: {error.message}", ExitCode.NOT_RESTORED)
        return None
    if target is None:
        detail = f"not reverted: nothing is known that was deployed before version {promotion.version}"
        group.arrive(environment, detail, ExitCode.NOT_RESTORED)
        return None
    return Rollback(environment, current, target, reverted=why, promotion=promotion.promotion)


def go_back(group: Group, planned: Sequence[Rollback]) -> bool:
    """Commits all of them, then follows all at once; whether each deploys the earlier release, live."""
    works = [partial(_gone_back, group, one) for one in planned]
    arrived = []
    for one, done in zip(planned, side_by_side(works, group.clock), strict=True):
        if isinstance(done, PromoterError):
            done = replace(group.arrive(one.environment, f"not reverted: {done.message}", done.exit_code))
        arrived.append(group.note(done))
    return all(one.exit_code is ExitCode.DONE for one in arrived)


def plan_back(group: Group, version: str | None) -> list[list[Rollback]]:
    """What a rollback of the whole group means, the last wave first.

    Raises: as `plan_rollback`.
    """
    repository = group.clients.repository
    return [
        [plan_rollback(repository(one.application), one, version) for one in wave]
        for wave in reversed(waves(group.environments))
    ]


def roll_back(group: Group, planned: Sequence[Sequence[Rollback]]) -> GroupOutcome:
    """Does it, wave by wave; it ends at the first wave that is not live again."""
    first = planned[-1][0]
    for wave in planned:
        if not go_back(group, wave):
            break
    bad = [one for one in group.arrived.values() if one.exit_code is not ExitCode.DONE]
    detail = f"{bad[0].environment}: {bad[0].detail}" if bad else f"back to version {first.target.release.version}"
    code = bad[0].exit_code if bad else ExitCode.DONE
    arrived = tuple(group.arrived.values())
    return GroupOutcome(group.name, group.model, first.target.release.version, "", detail, code, arrived)


def _gone_back(group: Group, planned: Rollback, clock: Clock) -> Arrived:
    environment, version = planned.environment, planned.target.release.version
    follower = group.follower(environment, clock)
    done = Arrived(environment.name, *_place(environment), f"back to version {version}")
    if environment.write is Write.PULL_REQUEST and not planned.already:
        return _proposed(follower, planned, done)
    committed = rollback(follower.repository, planned)
    ending = follower.follow(committed, restoring=False)
    detail = f"{done.detail}, {ending.verdict.kind}: {ending.verdict.summary}"
    return replace(done, detail=detail, exit_code=ending.exit_code, restored=committed.commit.sha)


def _proposed(follower: Follower, planned: Rollback, done: Arrived) -> Arrived:
    work = proposing_rollback(follower.repository, follower.clients.forge(planned.environment.application), planned)
    opened, target = work.run(), planned.target.release
    Announcer(follower.clients, planned.environment).proposed(target, opened, planned.current.release)
    if opened is None:
        return done
    if not follower.waits:
        return replace(done, detail=f"{done.detail}: {opened.done} {opened.url}", pull_request=opened)
    ended = follower.merge(work, opened)
    if ended.merged is None:
        return replace(done, detail=ended.detail, exit_code=ended.exit_code, pull_request=opened)
    committed = releases.merged(follower.repository, planned.environment, ended.merged, target)
    ending = follower.follow(committed, restoring=False)
    detail = f"{done.detail}, {ending.verdict.kind}: {ending.verdict.summary}"
    done = replace(done, detail=detail, exit_code=ending.exit_code, restored=committed.commit.sha)
    return replace(done, pull_request=opened)


def _place(environment: Environment) -> tuple[str, int]:
    group = environment.group
    return (group.region, group.wave) if group else ("", 1)
