"""status: what the alias says, what Git says and what runs, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from promoter.argocd.state import RunningRelease
from promoter.errors import ExitCode, PromoterError, RefusedError
from promoter.models import Environment, Release
from promoter.promotion import releases
from promoter.promotion.observe import Observer
from promoter.verdict import Kind, judge

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Standing:
    """One environment. `runs` is what the live workload's pod template says; `since` and `commit` are of Git's release."""

    environment: str
    model: str
    alias: str | None = None
    alias_version: str | None = None
    release: Release | None = None
    commit: str | None = None
    since: datetime | None = None
    runs: RunningRelease | None = None
    health: str = ""
    agree: bool = False
    notes: tuple[str, ...] = ()


def status(clients: Clients, environments: Sequence[Environment]) -> tuple[Standing, ...]:
    """How each environment stands. What can't be reached is in its notes, and does not keep the others from being seen."""
    argocd = clients.argocd() if clients.argocd_server else None
    return tuple(_standing(clients, argocd, environment) for environment in environments)


def exit_code(standings: Sequence[Standing]) -> ExitCode:
    return ExitCode.DONE if all(standing.agree for standing in standings) else ExitCode.DISAGREE


def _standing(clients: Clients, argocd: ArgoCD | None, environment: Environment) -> Standing:
    notes: list[str] = []
    wanted = _alias_version(clients, environment, notes)
    standing = Standing(environment.name, environment.model.name, environment.alias, wanted)
    try:
        environment = clients.placed(environment)
        repository = clients.repository(environment.application)
        committed = releases.current(repository, environment)
    except PromoterError as error:
        nothing_yet = isinstance(error, RefusedError) and wanted is None
        return replace(standing, agree=nothing_yet, notes=(*notes, error.message))
    release, commit = committed.release, committed.commit
    if wanted not in (None, release.version):
        notes.append(f"{environment.alias} is version {wanted}, Git says {release.version}")
    standing = replace(standing, release=release, commit=commit.sha, since=commit.when, notes=tuple(notes))
    if argocd is None:
        return replace(standing, notes=(*notes, "no Argo CD is configured: what runs is not known"))
    try:
        return _with_cluster(standing, Observer(argocd, repository, environment, committed.expectation(environment)))
    except PromoterError as error:
        return replace(standing, notes=(*notes, error.message))


def _with_cluster(standing: Standing, observer: Observer) -> Standing:
    seen = observer.look()
    verdict = judge(seen, observer.expected)
    live = verdict.kind is Kind.LIVE
    release = observer.expected.release
    return replace(
        standing,
        runs=seen.workload.template.release(release.repository) if seen.workload else None,
        health=seen.application.health if seen.application else "Missing",
        agree=live and standing.alias_version in (None, release.version),
        notes=standing.notes if live else (*standing.notes, f"{verdict.kind}: {verdict.summary}", *verdict.evidence),
    )


def _alias_version(clients: Clients, environment: Environment, notes: list[str]) -> str | None:
    if environment.alias is None:
        return None
    try:
        return clients.model_registry.version_of(environment.model.name, environment.alias)
    except PromoterError as error:
        notes.append(error.message)
        return None
