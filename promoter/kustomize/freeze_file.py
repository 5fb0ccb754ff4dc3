"""The list `freeze:` of promotion.yaml: where nothing is promoted for now. What can't be read of it counts as a freeze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from promoter.errors import ConfigError
from promoter.kustomize.entries import Entry, EntryList, opened, text_of
from promoter.kustomize.yaml_file import YamlFile
from promoter.models import Environment


class State(StrEnum):
    FROZEN = "frozen"
    THAWED = "thawed"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Nothing is promoted until somebody thaws it, or until that time; times are in UTC.

    `problem`: what can't be read of it. Then it stands until a person corrects that: what is unknown may be a freeze.
    `window`: an open window of promoter.yaml, not an entry of promotion.yaml.
    """

    state: State = State.FROZEN
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    by: str = ""
    problem: ConfigError | None = field(default=None, compare=False)
    window: str = ""

    def stands(self, now: datetime) -> bool:
        return self.state is State.FROZEN and (self.until is None or now < self.until)


_FREEZE = EntryList(
    "freeze", ("environment", "model", "state", "reason", "since", "until", "by"), ("environment", "model", "state")
)


def of(file: YamlFile, environment: Environment) -> tuple[Freeze, ...]:
    """The environment's entries for its model, in the file's order; one with the problem if the list can't be read."""
    try:
        entries = _FREEZE.of(file, environment)
    except ConfigError as error:
        return (Freeze(problem=error),)
    return tuple(_freeze(file, entry) for entry in entries)


def write(path: str, content: bytes | None, environment: Environment, freezes: Sequence[Freeze]) -> bytes:
    """The file in which the environment's entries, in their order, are these; more of them are appended.

    Raises:
        ConfigError: the list can't be read, or can't be edited without changing something else.
    """
    file = opened(path, content)
    for place, freeze in enumerate(freezes):
        entries = _FREEZE.of(file, environment)
        own = entries[place] if place < len(entries) else None
        file = opened(path, _FREEZE.put(file, own, environment, _texts(freeze), environment.name))
    return (file.bom + file.text).encode()


def _texts(freeze: Freeze) -> dict[str, str]:
    return {
        "state": str(freeze.state),
        "reason": " ".join(freeze.reason.split()),
        "since": text_of(freeze.since),
        "until": text_of(freeze.until),
        "by": " ".join(freeze.by.split()),
    }


def _freeze(file: YamlFile, entry: Entry) -> Freeze:
    reason, by = entry.values["reason"], entry.values["by"]
    try:
        state = State(entry.values["state"])
    except ValueError:
        hint, message = f"available: {', '.join(State)}", f"unknown state {entry.values['state']!r}"
        problem = file.error(message, entry.item, key="freeze.state", hint=hint)
        return Freeze(State.FROZEN, reason, by=by, problem=problem)
    try:
        since, until = (_FREEZE.time(file, entry, key) for key in ("since", "until"))
    except ConfigError as error:
        return Freeze(state, reason, by=by, problem=error)
    return Freeze(state, reason, since, until, by)
