"""promotion.yaml, next to the release file: what was decided about model versions. Read and edited here, never rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum

from promoter.kustomize import yaml_edit
from promoter.kustomize.values import assign
from promoter.kustomize.yaml_file import Node, YamlFile, apply, parse
from promoter.models import Environment

FILE_NAME = "promotion.yaml"
_NEW_FILE = b"""\
# What was decided about model versions here: promoter writes it with each failure and rollback, and people may edit it
# (docs/decisions.md). Kustomize and Argo CD do not read this file.
versions:
"""
_REQUIRED = ("environment", "model", "version", "state")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


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


_KEYS = ("environment", "model", *(field.name for field in fields(Decision)))


def read(path: str, content: bytes, environment: Environment) -> dict[Key, Decision]:
    """The environment's entries for its model. Entries for others, in a copied folder for example, don't count.

    Raises:
        ConfigError: the file is not YAML, or an entry can't be read: then the state of every version is unknown.
    """
    file = parse(path, content)
    found: dict[Key, Decision] = {}
    for item in _items(file):
        values = _values(file, item)
        if not _is_of(values, environment):
            continue
        decision = _decision(file, item, values)
        if decision.key in found:
            raise file.error(f"a second entry for version {decision.version}", item, key="versions", hint="keep one of the two")
        found[decision.key] = decision
    return found


def write(path: str, content: bytes | None, environment: Environment, decisions: Iterable[Decision]) -> bytes:
    """The file with these entries, each in place of the one for its version; a new file for None.

    Raises:
        ConfigError: as `read`, or the file can't be edited without changing something else.
    """
    content = _NEW_FILE if content is None else content
    for decision in decisions:
        content = _with(parse(path, content), environment, decision)
    return content


def _with(file: YamlFile, environment: Environment, decision: Decision) -> bytes:
    values = _texts(environment, decision)
    for item in _items(file):
        old = _values(file, item)
        if _is_of(old, environment) and (old["version"], old["created"]) == (values["version"], values["created"]):
            present = {key: value for key, value in values.items() if old[key] != value}
            edit = assign(file, item, present, f"versions[{decision.version}].")
            return apply(file, edit.splices) if edit.splices else (file.bom + file.text).encode()
    new = {key: value for key, value in values.items() if value}
    root = _root(file)
    if root is None:
        return write(file.path, None, environment, (decision,))
    listed = _list(file, root)
    splices = [yaml_edit.append(file, listed, new)] if listed else yaml_edit.add(file, root, "versions", new, as_item=True)
    return apply(file, splices)


def _texts(environment: Environment, decision: Decision) -> dict[str, str]:
    """Each key's text, in the order in which an entry is written."""
    texts = {
        "version": decision.version,
        "created": _time_text(decision.created),
        "state": str(decision.state),
        "reason": " ".join(decision.reason.split()),
        "since": _time_text(decision.since),
        "by": " ".join(decision.by.split()),
        "commit": decision.commit,
        "failures": str(decision.failures) if decision.failures else "",
        "restored": decision.restored,
    }
    return {"environment": environment.name, "model": environment.model.name, **texts}


def _time_text(time: datetime | None) -> str:
    return time.astimezone(UTC).strftime(_TIME) if time else ""


def _is_of(values: Mapping[str, str], environment: Environment) -> bool:
    return values["environment"] == environment.name and values["model"] == environment.model.name


def _root(file: YamlFile) -> Node | None:
    documents = [document for document in file.documents if not document.is_null]
    if len(documents) > 1:
        raise file.error("a second document", documents[1], hint="keep one document in this file")
    if not documents:
        return None
    root = documents[0]
    if not root.is_mapping:
        raise file.error("not a mapping", root, hint="start the file with `versions:`")
    for key in root.children[::2]:
        if key.value != "versions":
            hint = "correct the key, or update promoter if a newer one wrote it"
            raise file.error(f"unknown key {key.value!r}", key, key=key.value, hint=hint)
    return root


def _list(file: YamlFile, root: Node) -> Node | None:
    listed = file.get(root, "versions")
    if listed is None or listed.is_null:
        return None
    if not listed.is_sequence:
        raise file.error("not a list", listed, key="versions", hint="write one `- environment: …` for each version")
    return listed


def _items(file: YamlFile) -> tuple[Node, ...]:
    root = _root(file)
    listed = _list(file, root) if root else None
    return tuple(listed.children) if listed else ()


def _values(file: YamlFile, item: Node) -> dict[str, str]:
    if not item.is_mapping:
        raise file.error("not a mapping", item, key="versions", hint=f"write {', '.join(_REQUIRED)} there")
    for key in item.children[::2]:
        if key.value not in _KEYS:
            hint = f"available: {', '.join(_KEYS)}"
            raise file.error(f"unknown key {key.value!r}", key, key="versions", hint=hint)
    values = file.scalars(item, _KEYS, "versions.")
    if missing := [name for name in _REQUIRED if not values[name]]:
        raise file.error(
            f"the entry has no {', '.join(missing)}", item, key="versions", hint=f"write {', '.join(_REQUIRED)} there"
        )
    return values


def _decision(file: YamlFile, item: Node, values: Mapping[str, str]) -> Decision:
    try:
        state = State(values["state"])
    except ValueError:
        hint = f"available: {', '.join(State)}"
        raise file.error(f"unknown state {values['state']!r}", item, key="versions.state", hint=hint) from None
    kept = {key: values[key] for key in ("version", "reason", "by", "commit", "restored")}
    since, created = (_time(file, item, values, key) for key in ("since", "created"))
    return Decision(state=state, since=since, failures=_count(file, item, values), created=created, **kept)


def _time(file: YamlFile, item: Node, values: Mapping[str, str], key: str) -> datetime | None:
    text = values[key]
    if not text:
        return None
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        hint = "write it in UTC, for example 2026-01-31T08:00:00Z"
        raise file.error(f"{text!r} is not a time", item, key=f"versions.{key}", hint=hint) from None


def _count(file: YamlFile, item: Node, values: Mapping[str, str]) -> int:
    text = values["failures"]
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise file.error(f"{text!r} is not a number", item, key="versions.failures", hint="write how often it failed")
    return int(text or 0)
