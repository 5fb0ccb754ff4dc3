"""The newest releases of an environment, each with what became of it: what its copies elsewhere are made from."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment
from promoter.promotion import outcome, releases
from promoter.promotion.outcome import Outcome
from promoter.promotion.releases import Committed

if TYPE_CHECKING:
    from promoter.gitops import Repository

_NEWEST = 5  # releases: those before were copied when they were among them


def newest(repository: Repository, environment: Environment) -> list[tuple[Committed, Outcome]]:
    """At the branch's tip, newest first.

    Raises:
        PromoterError: as Git and the overlay's files answer.
    """
    tip = repository.fetch()
    overlay = read_overlay(tip, environment)
    found = list(islice(releases.changes(repository, environment, tip.commit), _NEWEST))
    now, known = kustomize.deployed(overlay, environment.model), outcome.decided(overlay, environment)
    return list(zip(found, outcome.outcomes(environment, found, now, known), strict=True))
