"""The list `waves:` of promotion.yaml: how an environment takes part in the promotion of its group."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from promoter.errors import ConfigError
from promoter.kustomize.entries import Entry, EntryList, opened, text_of
from promoter.kustomize.yaml_file import YamlFile
from promoter.models import Environment


class State(StrEnum):
    """What became of the group's release in the environment."""

    PROMOTED = "promoted"
    """It was committed here."""
    FAILED = "failed"
    """It failed here, and the release before it was restored."""
    REVERTED = "reverted"
    """It failed in another environment of the group, and the release before it was put back."""
    LEFT = "left"
    """Somebody decided otherwise for this environment alone."""


@dataclass(frozen=True, slots=True)
class Part:
    """An environment's part in the newest promotion of its group that has come to it.

    `promotion` is the id that all parts of one promotion have, `environments` the names of all that it is about. `version` and
    `created` (UTC) are of the model version, `replaced` is the digest of the image that was deployed before, "" if none was.
    `problem`: what can't be read of it.
    """

    promotion: str = ""
    group: str = ""
    environments: tuple[str, ...] = ()
    wave: str = ""
    version: str = ""
    created: datetime | None = None
    state: State = State.PROMOTED
    replaced: str = ""
    since: datetime | None = None
    by: str = ""
    problem: ConfigError | None = field(default=None, compare=False)


_KEYS = ("environment", "model", "group", "promotion", "wave", "environments", "version", "created", "state", "replaced")
_WAVES = EntryList("waves", (*_KEYS, "since", "by"), ("environment", "model", "group", "promotion", "version", "state"))


def read(path: str, content: bytes | None, environment: Environment) -> Part | None:
    """The environment's part, None if it has had none; one with the problem if the list can't be read."""
    if content is None:
        return None
    try:
        file = opened(path, content)
        entries = _WAVES.of(file, environment)
        return _part(file, entries[-1]) if entries else None
    except ConfigError as error:
        return Part(problem=error)


def write(path: str, content: bytes | None, environment: Environment, part: Part) -> bytes:
    """The file with this part in place of the environment's one.

    Raises:
        ConfigError: the list can't be read, or can't be edited without changing something else.
    """
    file = opened(path, content)
    entries = _WAVES.of(file, environment)
    return _WAVES.put(file, entries[-1] if entries else None, environment, _texts(part), environment.name)


def _texts(part: Part) -> dict[str, str]:
    return {
        "group": part.group,
        "promotion": part.promotion,
        "wave": part.wave,
        "environments": " ".join(part.environments),
        "version": part.version,
        "created": text_of(part.created),
        "state": str(part.state),
        "replaced": part.replaced,
        "since": text_of(part.since),
        "by": " ".join(part.by.split()),
    }


def _part(file: YamlFile, entry: Entry) -> Part:
    values = entry.values
    try:
        state = State(values["state"])
    except ValueError:
        hint, message = f"available: {', '.join(State)}", f"unknown state {values['state']!r}"
        raise file.error(message, entry.item, key="waves.state", hint=hint) from None
    return Part(
        values["promotion"],
        values["group"],
        tuple(values["environments"].split()),
        values["wave"],
        values["version"],
        _WAVES.time(file, entry, "created"),
        state,
        values["replaced"],
        _WAVES.time(file, entry, "since"),
        values["by"],
    )
