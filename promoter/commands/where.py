"""where: in which environments a model, or one version of it, is deployed, since when, and what stands against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from promoter.commands.history import Entry, past
from promoter.errors import ExitCode, PromoterError, UsageError
from promoter.kustomize import promotion_file, release
from promoter.kustomize.overlay import read_overlay
from promoter.model_registry import ModelReference
from promoter.models import Environment
from promoter.promotion import decisions, standings
from promoter.promotion.ending import worst
from promoter.promotion.outcome import End

if TYPE_CHECKING:
    from promoter.kustomize.promotion_file import Decision
    from promoter.kustomize.release import Overlay
    from promoter.model_registry.store import RegisteredVersion
    from promoter.promotion.clients import Clients

NEVER = "never deployed"
NOTHING = "no release"
_NEWEST = 20  # releases, among which the deployed one is looked for


@dataclass(frozen=True, slots=True)
class Place:
    """One environment: `state` is how the newest release of the version stands there, an `End` or one of the two above.

    `since` and `commit` are of that release, `until` and `reason` of its end. `decision` is what stands against the version
    (`quarantined`, `rejected`), `run` its MLflow run; None if it is not known. `notes` has why something is not known.
    """

    environment: str
    model: str
    version: str | None = None
    state: str = End.UNKNOWN
    since: datetime | None = None
    until: datetime | None = None
    by: str = ""
    reason: str = ""
    commit: str | None = None
    image: str | None = None
    run: str | None = None
    decision: str = ""
    decision_reason: str = ""
    notes: tuple[str, ...] = ()
    exit_code: ExitCode = ExitCode.DONE


def where(clients: Clients, reference: ModelReference) -> tuple[Place, ...]:
    """Each environment of the model, in the file's order: with the version named, else with the one that it deploys.

    Raises:
        UsageError: promoter.yaml has no environment of the model.
        PromoterError: an alias can't be resolved.
    """
    environments = clients.config.environments.of(reference.name)
    if not environments:
        raise UsageError(f"promoter.yaml has no environment of model {reference.name!r}", hint="check the model's name")
    versions = _Versions(clients, reference)
    return tuple(_guarded(clients, versions, environment) for environment in environments)


def exit_code(places: Sequence[Place]) -> ExitCode:
    """0 if everything is known, else the most severe reason why it is not."""
    return worst(place.exit_code for place in places)


class _Versions:
    """What MLflow knows of versions, each asked once. `wanted` is the one that was named, "" for whatever is deployed."""

    def __init__(self, clients: Clients, reference: ModelReference) -> None:
        self._clients, self._name = clients, reference.name
        self._known: dict[str, RegisteredVersion | PromoterError] = {}
        self.wanted = reference.version or ""
        if reference.alias or reference.stage:
            found = clients.model_registry.registered(reference)
            self.wanted = found.version
            self._known[found.version] = found

    def of(self, version: str) -> RegisteredVersion | PromoterError:
        if version not in self._known:
            try:
                found = self._clients.model_registry.registered(ModelReference(self._name, version=version))
                self._known[version] = found
            except PromoterError as error:
                self._known[version] = error
        return self._known[version]


def _guarded(clients: Clients, versions: _Versions, environment: Environment) -> Place:
    empty = Place(environment.name, environment.model.name, versions.wanted or None)
    try:
        return _place(clients, versions, clients.with_source(environment), empty)
    except PromoterError as error:
        return replace(empty, notes=(error.message,), exit_code=ExitCode(error.exit_code))


def _place(clients: Clients, versions: _Versions, environment: Environment, place: Place) -> Place:
    said: list[str] = []
    tip = clients.repository(environment.application).fetch()
    overlay = read_overlay(tip, environment)
    now = release.deployed(overlay, environment.model)
    if not versions.wanted and now is None:
        return replace(place, state=NOTHING)
    version = versions.wanted or (now.version if now else "")
    place = replace(place, version=version, state=NEVER)
    registered = versions.of(version)
    if isinstance(registered, PromoterError):
        created = None
        code = ExitCode.DONE if isinstance(registered, UsageError) else ExitCode(registered.exit_code)
        place = replace(place, notes=(f"its run is not known: {registered.message}",), exit_code=code)
    else:
        created = registered.created.replace(microsecond=0)
        place = replace(place, run=registered.run_id)
    place = _against(place, overlay, environment, created)
    read = past(clients, environment, standings.ALL if versions.wanted else _NEWEST, said.append, tip)
    pairs = zip(read.commits, read.entries, strict=True)
    found = [entry for one, entry in pairs if decisions.is_of(one.release, version, created)]
    deployed = next((one for one in found if one.outcome.end is End.DEPLOYED), None)
    place = _with(place, deployed or next(iter(found), None))
    if said and place.state in (NEVER, End.UNKNOWN):
        place = replace(place, state=End.UNKNOWN, exit_code=place.exit_code or ExitCode.USAGE)
    frozen = (read.frozen,) if read.frozen else ()
    return replace(place, notes=(*place.notes, *said, *frozen))


def _with(place: Place, entry: Entry | None) -> Place:
    if entry is None:
        return place
    ended = entry.outcome
    return replace(
        place,
        state=ended.end,
        since=entry.when,
        until=ended.until,
        by=ended.by or entry.by,
        reason=ended.reason,
        commit=entry.commit,
        image=entry.image,
    )


def _against(place: Place, overlay: Overlay, environment: Environment, created: datetime | None) -> Place:
    if overlay.promotion is None:
        return place
    entries = promotion_file.read(overlay.promotion_file, overlay.promotion, environment)
    known = decisions.Decisions(environment, overlay.promotion_file, overlay.promotion, entries)
    decision: Decision | None = known.of(str(place.version), created)
    if decision is None or decision.state is promotion_file.State.ALLOWED:
        return place
    by = f" (by {decision.by})" if decision.by else ""
    return replace(place, decision=str(decision.state), decision_reason=f"{decision.reason}{by}".strip())
