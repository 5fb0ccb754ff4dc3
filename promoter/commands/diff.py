"""diff: how the model versions that two environments deploy differ: metrics, parameters, signature, requirements, image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.errors import ExitCode, PromoterError, RefusedError, UsageError
from promoter.kustomize.overlay import deployed
from promoter.model_registry import ModelReference
from promoter.models import Environment, ModelVersion, Release, Signature, columns
from promoter.promotion.ending import worst

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same: `was` in the first environment, `now` in the second; None if it is not there."""

    of: str
    name: str
    was: str | float | None
    now: str | float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Two environments: `was` and `now` are the releases that Git deploys. `notes` has what is not known, and why."""

    model: str
    environments: tuple[str, str]
    was: Release
    now: Release
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    exit_code: ExitCode = ExitCode.DONE


@dataclass(frozen=True, slots=True)
class _Version:
    """What MLflow has of one version."""

    known: ModelVersion
    parameters: Mapping[str, str]


def diff(clients: Clients, first: Environment, second: Environment) -> Compared:
    """Git has the releases, MLflow the rest.

    Raises:
        UsageError: the environments are of two models.
        RefusedError: one of them deploys no release.
        PromoterError: as Git and the overlays' files answer.
    """
    if first.model.name != second.model.name:
        raise UsageError(
            f"{first.name!r} is of model {first.model.name!r}, and {second.name!r} of {second.model.name!r}",
            hint="compare two environments of one model",
        )
    was, now = (_released(clients, environment) for environment in (first, second))
    found = list(_releases(was, now))
    notes, codes, versions = [], [], []
    for release in (was, now):
        try:
            versions.append(_version(clients, release))
        except PromoterError as error:
            notes.append(f"version {release.version} is not compared: {error.message}")
            codes.append(ExitCode(error.exit_code))
    if len(versions) == 2:
        found += _versions(*versions)
    names = (first.name, second.name)
    return Compared(was.model, names, was, now, tuple(found), tuple(dict.fromkeys(notes)), worst(codes))


def _released(clients: Clients, environment: Environment) -> Release:
    tip = clients.repository(environment.application).fetch()
    if (found := deployed(tip, environment)) is None:
        raise RefusedError(
            f"{environment.name!r} deploys no release",
            hint=f"promote one first: promoter promote {environment.model.name}@ALIAS --to {environment.name}",
        )
    return found


def _version(clients: Clients, release: Release) -> _Version:
    registry = clients.model_registry
    known = registry.resolve(ModelReference(release.model, version=release.version))
    return _Version(known, registry.parameters(known))


def _releases(was: Release, now: Release) -> Iterator[Difference]:
    for name, attribute in (("version", "version"), ("content digest", "model_digest"), ("image", "image")):
        yield from _one("release", name, getattr(was, attribute), getattr(now, attribute))


def _versions(was: _Version, now: _Version) -> Iterator[Difference]:
    yield from _one("release", "run", was.known.run_id, now.known.run_id)
    yield from _all("metric", was.known.metrics, now.known.metrics)
    yield from _all("parameter", was.parameters, now.parameters)
    for side in ("inputs", "outputs", "params"):
        old, new = (dict(columns(getattr(one.known.signature or Signature(), side))) for one in (was, now))
        yield from _all(f"signature {side}", old, new)
    yield from _all("requirement", _pins(was.known.requirements), _pins(now.known.requirements))


def _pins(requirements: tuple[str, ...]) -> dict[str, str]:
    """The version by the distribution's name where a line is `name==version`; other lines by themselves."""
    parts = (line.partition("==") for line in requirements)
    return {name.strip(): version.strip() if pinned else name for name, pinned, version in parts}


def _all(of: str, was: Mapping[str, str | float], now: Mapping[str, str | float]) -> Iterator[Difference]:
    for name in sorted({*was, *now}):
        yield from _one(of, name, was.get(name), now.get(name))


def _one(of: str, name: str, was: str | float | None, now: str | float | None) -> Iterator[Difference]:
    if was != now:
        yield Difference(of, name, was, now)
