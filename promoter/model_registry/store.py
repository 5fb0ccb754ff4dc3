"""What ModelRegistry asks of MLflow, whichever way MLflow is reached: the seam between registry.py and rest.py, client.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from promoter.errors import UsageError

if TYPE_CHECKING:
    from promoter.model_registry.artifacts import Artifacts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NotFound(UsageError):
    """MLflow has nothing by that name."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A model version's entry in the registry, without its files. `created` is in UTC."""

    name: str
    version: str
    created: datetime
    source: str
    status: str
    status_message: str = ""
    run_id: str | None = None
    stage: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """MLflow 3's logged model, which a version registered from it points to."""

    model_id: str
    status: str
    artifact_uri: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered model as a page of them has it: when it was created, its aliases, and of its versions only the newest.

    `aliases` are version numbers; `versions` are by number.
    """

    name: str
    created: datetime
    aliases: Mapping[str, str]
    versions: Mapping[str, RegisteredVersion]


class Store(Protocol):
    """A way to MLflow. Each method raises NotFound where MLflow has no such thing, and the errors of its door otherwise."""

    def by_version(self, name: str, version: str) -> RegisteredVersion: ...
    def by_alias(self, name: str, alias: str) -> RegisteredVersion: ...
    def by_stage(self, name: str, stage: str | None) -> RegisteredVersion: ...  # None: the newest of all
    def aliases(self, name: str) -> Mapping[str, str]: ...
    def pages(self) -> Iterator[Sequence[Registered]]: ...  # of all registered models; empty if aliases are not in them
    def versions(self, name: str) -> Sequence[str]: ...  # the newest first, not all
    def download_uri(self, registered: RegisteredVersion) -> str: ...
    def logged_model(self, model_id: str) -> LoggedModel: ...
    def run_metrics(self, run_id: str) -> Mapping[str, float]: ...
    def run_parameters(self, run_id: str) -> Mapping[str, str]: ...
    def artifacts(self, uri: str) -> Artifacts: ...
    def set_tag(self, name: str, version: str, key: str, value: str) -> None: ...
    def set_alias(self, name: str, alias: str, version: str) -> None: ...


def from_milliseconds(timestamp: int | str) -> datetime:
    """MLflow's timestamps are milliseconds since 1970, which its JSON may write as a string."""
    return _EPOCH + timedelta(milliseconds=int(timestamp))


SHOWN = 50
"""Versions that a person is offered at most."""


def of_model(name: str) -> str:
    """The filter of a search for the versions of one model. Raises NotFound for a name that no filter can hold."""
    if "'" in name:
        raise NotFound(f"{name} can't be searched for")
    return f"name='{name}'"


def newest_version(versions: Iterable[str], name: str, stage: str | None) -> str:
    """The highest number.

    Raises:
        NotFound: `versions` is empty.
    """
    if not (numbers := [int(version) for version in versions]):
        raise NotFound(f"no version of {name} is in stage {stage}" if stage else f"{name} has no version")
    return str(max(numbers))


def newest(metrics: Iterable[tuple[str, Any, Any, Any]]) -> dict[str, float]:
    """Each metric's last value, from (key, value, timestamp, step): a metric is logged once a step and once a dataset."""
    ordered = sorted(metrics, key=lambda metric: (int(metric[2] or 0), int(metric[3] or 0)))
    return {key: float(value) for key, value, _, _ in ordered}
