"""gates: what every gate of an environment decides about a version, without planning anything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from promoter.commands.plan import with_default_alias
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import read_overlay
from promoter.models import Result, Ruling
from promoter.promotion import decisions
from promoter.promotion.gates import asking
from promoter.promotion.gates.facts import Facts

if TYPE_CHECKING:
    from promoter.model_registry import ModelReference
    from promoter.models import Environment
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Asked:
    """One version in one environment, at a commit of its branch."""

    environment: str
    model: str
    version: str
    commit: str
    allowed: bool
    gates: tuple[Ruling, ...]

    @property
    def refusing(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.gate for one in self.gates if one.result is Result.REFUSED))


def asked(clients: Clients, environment: Environment, reference: ModelReference) -> Asked:
    """What the gates decide now about the version that the reference means.

    Raises:
        RefusedError: it names no version, or the overlay can't take a release.
        UsageError: no such version.
        AuthError, UnreachableError: a fact that a gate needs can't be read.
    """
    version = clients.model_registry.resolve(with_default_alias(reference, environment))
    repository = clients.repository(environment.application)
    snapshot = repository.fetch()
    files = read_overlay(snapshot, environment)
    known = decisions.at(repository, snapshot.commit, files, environment)
    before = kustomize.parse_overlay(files).deployed(environment.model)
    image = partial(clients.publisher(environment.model).expect, version)
    rulings = asking.ask(Facts(clients, version, snapshot, known, before, image))
    allowed = all(one.result is not Result.REFUSED for one in rulings)
    return Asked(environment.name, version.name, version.version, snapshot.commit, allowed, rulings)
