"""How many environments stand: one list of Applications, one fetch a branch, pages of aliases; details where they differ."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from promoter.argocd.state import RunningRelease
from promoter.commands.status import EnvironmentStatus, by_wave, looked_into, unknown
from promoter.errors import PromoterError
from promoter.kustomize.overlay import promotion_path
from promoter.promotion.survey import Survey

if TYPE_CHECKING:
    from promoter.models import Environment
    from promoter.promotion.clients import Clients

MANY = 50
"""Of more environments, those that Argo CD lists as Synced and Healthy with the release's image are not looked into."""

_AT_ONCE = 16
_SHOWN = (b"freeze", b"waves")  # of promotion.yaml, what status shows of an environment that agrees


def overview(clients: Clients, environments: Sequence[Environment]) -> Iterator[EnvironmentStatus]:
    """Each environment in the order of `by_wave`, as soon as it and those before it are known.

    One that agrees has neither commit nor time: what brought its release is not searched for in the history.
    """
    survey = Survey(clients, with_argocd=False)
    try:
        survey.list()
    except PromoterError as error:  # one server for all: asking it for each would not bring more
        yield from (unknown(one, error) for one in by_wave(environments))
        return
    survey.look_up(environments)
    own = threading.local()

    def look(environment: Environment) -> EnvironmentStatus:
        if not hasattr(own, "clients"):
            own.clients = replace(clients)
        return looked_into(own.clients, environment)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [_agreeing(survey, one) or pool.submit(look, one) for one in by_wave(environments)]
        yield from (one.result() if isinstance(one, Future) else one for one in found)


def _agreeing(survey: Survey, environment: Environment) -> EnvironmentStatus | None:
    """Its status if it agrees by all that is known; whatever keeps that from being known is shown when it is looked into."""
    try:
        known = survey.with_source(environment)
        listed, deployed = survey.listed(known), survey.deployed(known)
        if listed is None or deployed is None or environment.freeze or not survey.content(known):
            return None
        image = next((one for one in listed.images if one.digest == deployed.digest), None)
        alias = survey.alias(known, deployed)
        decided = survey.branch(known.application).files.read(promotion_path(known)) or b""
    except PromoterError:
        return None
    if image is None or alias.other is not None or any(key in decided for key in _SHOWN):
        return None
    group = environment.group
    return EnvironmentStatus(
        environment.name,
        environment.model.name,
        alias=environment.alias,
        alias_version=alias.number,
        release=deployed,
        runs=RunningRelease(image, deployed.version),
        health=listed.health,
        agree=True,
        group=group.name if group else "",
        wave=group.wave if group else None,
        region=group.region if group else "",
    )
