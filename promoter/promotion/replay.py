"""Decisions of a repository that has no promotion.yaml yet: what promoter's commits recorded, replayed from the beginning."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from promoter.errors import ConfigError, RefusedError
from promoter.kustomize.overlay import deployed, overlay_paths
from promoter.kustomize.release import model_version
from promoter.models import Environment, Release
from promoter.promotion import journal
from promoter.transport.boundary import whole_number

if TYPE_CHECKING:
    from promoter.gitops import Commit, Repository
    from promoter.promotion.decisions import Decisions

_MANY = 1_000_000  # commits of one overlay


def replayed(repository: Repository, start: str, decisions: Decisions) -> Decisions:
    """`decisions`, which are empty, with what the history at and below `start` records.

    Raises:
        AuthError, UnreachableError: as the Git server answers.
    """
    for commit in repository.search(journal.PATTERN, start):
        entry = journal.of(commit)
        after = _applied(decisions, commit, entry)
        if after.entries != decisions.entries and _did(repository, commit, entry, decisions.environment):
            decisions = after
    return _went_back(repository, start, decisions)


def _went_back(repository: Repository, start: str, decisions: Decisions) -> Decisions:
    """What no message records: a squash drops the trailers of a restore, and people go back by hand.

    A version was gone back from if an earlier one that had been deployed before took its place, and it was not deployed again.
    Why is not known any more. It is as if a person had rolled back: nothing but a person deploys it again.
    """
    environment = decisions.environment
    found = _released(repository, start, environment)
    again = {one.digest for one in (_deployed(repository, start, environment),) if one}
    for newer, ((commit, now), (deploying, before)) in enumerate(itertools.pairwise(found), 1):
        again.add(now.digest)
        back = _is_older(now, before) and now in (release for _, release in found[newer:])
        if not back or before.digest in again or decisions.of_release(before) or journal.of(commit).by_promoter:
            continue
        known = decisions.rolled_back(before, now, at=commit.when, commit=deploying.sha, by=commit.author)
        decisions = replace(known, entries={**known.entries, **decisions.entries})  # those from messages stay
    return decisions


def _released(repository: Repository, start: str, environment: Environment) -> list[tuple[Commit, Release]]:
    """What the overlay deployed, newest first, each with the commit that began it."""
    found: list[tuple[Commit, Release]] = []
    for commit in repository.history(overlay_paths(environment), limit=_MANY, start=start, full=True):
        release = _deployed(repository, commit.sha, environment)
        if release and found and found[-1][1] == release:
            found.pop()
        if release:
            found.append((commit, release))
    return found


def _deployed(repository: Repository, commit: str, environment: Environment) -> Release | None:
    try:
        return deployed(repository.at(commit), environment)
    except (ConfigError, RefusedError):
        return None


def _is_older(release: Release, than: Release) -> bool:
    number, other = whole_number(release.version), whole_number(than.version)
    return number is not None and other is not None and number < other


def _applied(decisions: Decisions, commit: Commit, entry: journal.Entry) -> Decisions:
    """What the commit records, as far as it is about this environment and model; their names are absent in old commits."""
    environment = decisions.environment
    if not entry.may_be_of(environment):
        return decisions
    now = entry.release(environment.model)
    bad = replace(now, version=entry.failed_version or entry.rolled_back_version)
    if entry.failed_version:
        quarantine = journal.quarantines(entry, environment.model.name)
        return decisions.failed(bad, now, entry.abort, at=commit.when, commit="", quarantine=quarantine)
    if entry.rolled_back_version:
        return decisions.rolled_back(bad, now, at=commit.when, commit="", by=commit.author)
    return decisions.promoted(now) if entry.promotion_id else decisions


def _did(repository: Repository, commit: Commit, entry: journal.Entry, environment: Environment) -> bool:
    """Whether the commit itself changed a release file as its message claims, wherever the overlay was then."""
    name = environment.model.release_file.rpartition("/")[2]
    bad = entry.failed_version or entry.rolled_back_version
    for path, (before, after) in repository.changed(commit, name).items():
        try:
            was, now = (model_version(path, content, environment.model) for content in (before, after))
        except ConfigError:
            continue
        if now != was and now == (entry.version or now) and was == (bad or was):
            return True
    return False
