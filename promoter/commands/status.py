"""status: the alias, the release in Git and what runs, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from promoter.argocd.state import RunningRelease
from promoter.errors import ExitCode, PromoterError, RefusedError, UsageError
from promoter.kustomize.overlay import read_overlay
from promoter.kustomize.promotion_file import Decision, State
from promoter.models import Environment, Release
from promoter.promotion import decisions, gates, releases
from promoter.promotion.ending import worst
from promoter.promotion.freezes import words
from promoter.promotion.observe import Observer
from promoter.verdict import Kind, judge

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.model_registry.store import RegisteredVersion
    from promoter.promotion.clients import Clients
    from promoter.promotion.decisions import Decisions
    from promoter.promotion.releases import Committed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """One environment: alias, Git and cluster.

    `runs` is the live workload's pod template; `since` and `commit` are of the release in Git.

    `alias_state` is what was decided about the alias's version (`quarantined`, `rolled-back`), "" when nothing was.

    `behind`: the alias names another version, and nothing stands against deploying it. `verdict` is what keeps the release in
    Git from being live, "" when it is.

    `group`, `wave` and `region` are where it is among environments that are promoted to together; `part` is what became of the
    newest promotion of the group here (`promoted`, `failed`, `reverted`, `left`), "" before the first one.

    `frozen` is until when nothing is promoted, by whom and why, "" if it is not frozen.

    `agree` is None when it is not known: something could not be read, and nothing that was read differs. `exit_code` is 0,
    30 for a difference, or the code of the error that kept it unknown.
    """

    environment: str
    model: str
    alias: str | None = None
    alias_version: str | None = None
    alias_state: str = ""
    release: Release | None = None
    commit: str | None = None
    since: datetime | None = None
    runs: RunningRelease | None = None
    health: str = ""
    agree: bool | None = None
    exit_code: ExitCode = ExitCode.DONE
    notes: tuple[str, ...] = ()
    frozen: str = ""
    behind: bool = False
    verdict: str = ""
    group: str = ""
    wave: int | None = None
    region: str = ""
    part: str = ""


def status(clients: Clients, environments: Sequence[Environment]) -> tuple[EnvironmentStatus, ...]:
    """How each environment stands. What can't be reached is in its notes; the other environments are still read."""
    argocd = clients.argocd() if clients.argocd_server else None
    return tuple(_standing(clients, argocd, environment) for environment in by_wave(environments))


def looked_into(clients: Clients, environment: Environment) -> EnvironmentStatus:
    """How one environment stands; raises nothing of what can't be reached."""
    return _standing(clients, clients.argocd() if clients.argocd_server else None, environment)


def unknown(environment: Environment, error: PromoterError) -> EnvironmentStatus:
    """An environment of which nothing could be learned, and why."""
    reading = _Reading()
    reading.missing(error)
    return reading.judged(EnvironmentStatus(environment.name, environment.model.name, environment.alias), differs=False)


def by_wave(environments: Sequence[Environment]) -> list[Environment]:
    """In their order, those of a group together where its first one stands, wave by wave."""
    first: dict[object, int] = {}
    places = [first.setdefault(_together(one, place), place) for place, one in enumerate(environments)]
    ordered = sorted(
        zip(places, environments, strict=True), key=lambda pair: (pair[0], pair[1].group.wave if pair[1].group else 0)
    )
    return [one for _, one in ordered]


def _together(environment: Environment, place: int) -> object:
    return (environment.group.name, environment.model.name) if environment.group else place


def exit_code(standings: Sequence[EnvironmentStatus]) -> ExitCode:
    """30 when one of them differs; else the most severe reason why one is unknown; else 0."""
    codes = {standing.exit_code for standing in standings}
    return ExitCode.DISAGREE if ExitCode.DISAGREE in codes else worst(codes)


def _standing(clients: Clients, argocd: ArgoCD | None, environment: Environment) -> EnvironmentStatus:
    reading = _Reading()
    alias = reading.of(lambda: _at_alias(clients, environment))
    standing = EnvironmentStatus(environment.name, environment.model.name, environment.alias, alias.version if alias else None)
    if (group := environment.group) is not None:
        standing = replace(standing, group=group.name, wave=group.wave, region=group.region)
    found = reading.of(lambda: _in_git(clients, environment))
    if found is None:
        return reading.judged(standing, differs=reading.refused and alias is not None)
    observer, release, commit = found.observer, found.committed.release, found.committed.commit
    behind = alias is not None and not decisions.deploys(release, alias)
    if behind and alias:
        decision = found.known.of(alias.version, alias.created.replace(microsecond=0))
        by_tag = _by_tag_alone(decision, alias, environment)
        state = str(State.QUARANTINED if by_tag else decision.state if decision else "")
        standing = replace(standing, alias_state=state)
        why = f", which is {state} here" if state else ""
        if by_tag:
            reading.notes.append(f"MLflow's tag {by_tag} quarantines version {alias.version}, and {found.known.path} does not")
        other = " of a model of this name that was deleted" if alias.version == release.version else ""
        reading.notes.append(f"{environment.alias} is version {alias.version}{why}, Git has version {release.version}{other}")
        behind = not by_tag and (decision is None or not _left_alone(decision))
    freeze = found.known.frozen(datetime.now(UTC))
    if freeze is not None:
        standing = replace(standing, frozen=words(freeze))
        reading.notes.append(f"frozen {standing.frozen}")
        behind = False
    standing = replace(standing, release=release, commit=commit.sha, since=commit.when, behind=behind)
    if environment.group is not None and (part := found.known.own_part) is not None:
        standing = replace(standing, part=str(part.state))
    if argocd is None:
        reading.missing(UsageError("Argo CD is not configured: what the cluster runs is unknown", hint="set ARGOCD_SERVER"))
        return reading.judged(standing, differs=behind)
    live = reading.of(lambda: _in_cluster(standing, observer(argocd)))
    if live is None:
        return reading.judged(standing, differs=behind)
    standing, differences = live
    reading.notes += differences
    return reading.judged(standing, differs=behind or bool(differences))


@dataclass(slots=True)
class _Reading:
    """What was learned of one environment, and what could not be read."""

    notes: list[str] = field(default_factory=list)
    unknown: set[ExitCode] = field(default_factory=set)
    refused: bool = False

    def of(self, read: Callable[[], T]) -> T | None:
        """What `read` returns; None when it can't be read, or when it is known to be missing (`refused`)."""
        try:
            return read()
        except RefusedError as error:
            self.refused = True
            self.notes.append(error.message)
        except PromoterError as error:
            self.missing(error)
        return None

    def missing(self, error: PromoterError) -> None:
        self.notes.append(error.message)
        self.unknown.add(error.exit_code)

    def judged(self, standing: EnvironmentStatus, *, differs: bool) -> EnvironmentStatus:
        agree = False if differs else None if self.unknown else True
        code = ExitCode.DISAGREE if differs else worst(self.unknown)
        return replace(standing, agree=agree, exit_code=code, notes=tuple(self.notes))


def _at_alias(clients: Clients, environment: Environment) -> RegisteredVersion | None:
    if environment.alias is None:
        return None
    return clients.model_registry.at_alias(environment.model.name, environment.alias)


@dataclass(frozen=True, slots=True)
class _InGit:
    """What Git deploys, what stands against other versions, and what looks whether it runs."""

    committed: Committed
    known: Decisions
    observer: Callable[[ArgoCD], Observer]


def _in_git(clients: Clients, environment: Environment) -> _InGit:
    placed = clients.with_source(environment)
    repository = clients.repository(placed.application)
    tip = repository.fetch()
    known = decisions.at(repository, tip.commit, read_overlay(tip, placed), placed)
    committed = releases.current(repository, placed, tip.commit)
    return _InGit(committed, known, lambda argocd: Observer(argocd, repository, placed, committed.expectation(placed)))


def _by_tag_alone(decision: Decision | None, version: RegisteredVersion, environment: Environment) -> str:
    """The tag of MLflow, the second witness, that quarantines the version where the file does not; else ""."""
    tag = gates.quarantine_tag(environment)
    silent = decision is None or not (decision.blocks or decision.state is State.ALLOWED)
    return tag if silent and tag in version.tags else ""


def _left_alone(decision: Decision) -> bool:
    """reconcile does not deploy the version, so an alias that points to it is not a difference."""
    return decision.blocks or decision.state is State.ROLLED_BACK or gates.given_up(decision)


def _in_cluster(standing: EnvironmentStatus, observer: Observer) -> tuple[EnvironmentStatus, tuple[str, ...]]:
    """What runs, and how it differs from what Git deploys."""
    seen = observer.look()
    verdict = judge(seen, observer.expected)
    runs = seen.workload.template.release(observer.expected.release.repository) if seen.workload else None
    health = seen.application.health if seen.application else "Missing"
    differences = () if verdict.kind is Kind.LIVE else (f"{verdict.kind}: {verdict.summary}", *verdict.evidence)
    kind = "" if verdict.kind is Kind.LIVE else str(verdict.kind)
    return replace(standing, runs=runs, health=health, verdict=kind), differences
