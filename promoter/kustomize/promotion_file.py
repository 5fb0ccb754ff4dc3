"""promotion.yaml, next to the release file: what was decided about model versions. Read and edited here, never rendered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from promoter.kustomize.entries import Entry, EntryList, opened, text_of
from promoter.kustomize.yaml_file import YamlFile
from promoter.models import Environment

FILE_NAME = "promotion.yaml"


class State(StrEnum):
    """What stands against a version, or that nothing does any more."""

    QUARANTINED = "quarantined"
    """It failed its analysis, or a person aborted it: never deployed again."""
    REJECTED = "rejected"
    """A person does not want it: never deployed again."""
    ROLLED_BACK = "rolled-back"
    """A person went back from it: deployed again only by a person."""
    FAILED = "failed"
    """It failed for a reason that need not be the model's own: tried again, but not for ever."""
    ALLOWED = "allowed"
    """A person promoted it in spite of what was decided before."""


BLOCKING = frozenset({State.QUARANTINED, State.REJECTED})


Key = tuple[str, datetime | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """One entry: the version of one model in one environment.

    `created` is when MLflow created the version, in UTC: a model that is registered again under its name has the same numbers.
    An entry without it is about any version of the number. `since` is in UTC, too. `commit` is the commit that had deployed the
    version, `restored` the digest of the image that was deployed in its place after a failure. "" and None if not recorded.
    """

    version: str
    state: State
    reason: str = ""
    since: datetime | None = None
    by: str = ""
    commit: str = ""
    failures: int = 0
    restored: str = ""
    created: datetime | None = None

    @property
    def key(self) -> Key:
        """Which entry it is among those for its environment and model."""
        return self.version, self.created

    @property
    def blocks(self) -> bool:
        """The version must not be deployed, whoever asks."""
        return self.state in BLOCKING


_VERSIONS = EntryList(
    "versions",
    ("environment", "model", *(field.name for field in fields(Decision))),
    ("environment", "model", "version", "state"),
)


def read(path: str, content: bytes, environment: Environment) -> dict[Key, Decision]:
    """The environment's entries for its model. Entries for others, in a copied folder for example, don't count.

    Raises:
        ConfigError: the file is not YAML, or an entry can't be read: then the state of every version is unknown.
    """
    return of(opened(path, content), environment)


def of(file: YamlFile, environment: Environment) -> dict[Key, Decision]:
    """As `read`, from the parsed file."""
    found: dict[Key, Decision] = {}
    for entry in _VERSIONS.of(file, environment):
        decision = _decision(file, entry)
        if decision.key in found:
            message = f"a second entry for version {decision.version}"
            raise file.error(message, entry.item, key="versions", hint="keep one of the two")
        found[decision.key] = decision
    return found


def write(path: str, content: bytes | None, environment: Environment, decisions: Iterable[Decision]) -> bytes:
    """The file with these entries, each in place of the one for its version; a new file for None.

    Raises:
        ConfigError: as `read`, or the file can't be edited without changing something else.
    """
    file = opened(path, content)
    for decision in decisions:
        file = opened(path, _with(file, environment, decision))
    return (file.bom + file.text).encode()


def _with(file: YamlFile, environment: Environment, decision: Decision) -> bytes:
    texts = _texts(decision)
    key = texts["version"], texts["created"]
    every = _VERSIONS.of(file, environment)
    own = next((one for one in every if (one.values["version"], one.values["created"]) == key), None)
    return _VERSIONS.put(file, own, environment, texts, decision.version)


def _texts(decision: Decision) -> dict[str, str]:
    """Each key's text, in the order in which an entry is written."""
    return {
        "version": decision.version,
        "created": text_of(decision.created),
        "state": str(decision.state),
        "reason": " ".join(decision.reason.split()),
        "since": text_of(decision.since),
        "by": " ".join(decision.by.split()),
        "commit": decision.commit,
        "failures": str(decision.failures) if decision.failures else "",
        "restored": decision.restored,
    }


def _decision(file: YamlFile, entry: Entry) -> Decision:
    try:
        state = State(entry.values["state"])
    except ValueError:
        hint = f"available: {', '.join(State)}"
        message = f"unknown state {entry.values['state']!r}"
        raise file.error(message, entry.item, key="versions.state", hint=hint) from None
    kept = {key: entry.values[key] for key in ("version", "reason", "by", "commit", "restored")}
    since, created = (_VERSIONS.time(file, entry, key) for key in ("since", "created"))
    return Decision(state=state, since=since, failures=_count(file, entry), created=created, **kept)


def _count(file: YamlFile, entry: Entry) -> int:
    text = entry.values["failures"]
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise file.error(f"{text!r} is not a number", entry.item, key="versions.failures", hint="write how often it failed")
    return int(text or 0)
