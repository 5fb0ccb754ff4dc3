"""The releases of an environment, newest first, each with what became of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from promoter.errors import ConfigError
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment, Release
from promoter.promotion import outcome, release_index, releases
from promoter.promotion.outcome import Outcome
from promoter.promotion.releases import Committed

if TYPE_CHECKING:
    from promoter.gitops import Repository, Snapshot
    from promoter.kustomize.promotion_file import Decision
    from promoter.kustomize.release import Overlay

ALL = 1_000_000
"""Releases: git.history-limit is what ends them."""

_NEWEST = 5  # releases: those before were copied when they were among them

Say = Callable[[str], None]


def newest(repository: Repository, environment: Environment) -> list[tuple[Committed, Outcome]]:
    """What copies elsewhere are made from: the last few, at the branch's tip.

    Raises:
        PromoterError: as Git and the overlay's files answer.
    """
    tip = repository.fetch()
    overlay = read_overlay(tip, environment)
    found = list(islice(releases.changes(repository, environment, tip.commit), _NEWEST))
    now, known = kustomize.deployed(overlay, environment.model), outcome.decided(overlay, environment)
    return list(zip(found, outcome.outcomes(environment, found, now, known), strict=True))


def indexed(
    repository: Repository, environment: Environment, overlay: Overlay, tip: Snapshot, limit: int, say: Say
) -> list[tuple[Committed, Outcome]]:
    """At most `limit`, from the index; `overlay` is the one at the tip. `say` reports what is not known of it.

    Raises:
        AuthError, UnreachableError: as the Git server answers.
    """
    found = release_index.newest(repository, environment, limit, say, tip)
    now, known = _deployed(overlay, environment, say), _decisions(overlay, environment, say)
    return list(zip(found, outcome.outcomes(environment, found, now, known), strict=True))


def _deployed(overlay: Overlay, environment: Environment, say: Say) -> Release | None:
    try:
        return kustomize.deployed(overlay, environment.model)
    except ConfigError as error:
        say(f"what {environment.name!r} deploys is not known: {error.message}")
        return None


def _decisions(overlay: Overlay, environment: Environment, say: Say) -> dict[str, Decision]:
    """Those of promotion.yaml, by the commit that had deployed the version."""
    try:
        return outcome.decided(overlay, environment)
    except ConfigError as error:
        say(f"what was decided in {environment.name!r} is not known: {error.message}")
        return {}
