"""Lists of entries in promotion.yaml, each about one model in one environment: found, checked, and edited in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from promoter.kustomize import yaml_edit
from promoter.kustomize.values import assign
from promoter.kustomize.yaml_file import Node, YamlFile, apply, parse
from promoter.models import Environment

_NEW_FILE = b"""\
# What was decided about model versions here: promoter writes it with each failure and rollback, and people may edit it
# (docs/decisions.md). Kustomize and Argo CD do not read this file.
versions:
"""
_LISTS = ("versions", "freeze", "waves")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, and the text of each key that it may have: "" where it has none."""

    item: Node
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EntryList:
    """The list under `key`; its entries may have `keys` and must have those `required`."""

    key: str
    keys: tuple[str, ...]
    required: tuple[str, ...]

    def of(self, file: YamlFile, environment: Environment) -> list[Entry]:
        """The environment's entries for its model. Those for others, in a copied folder for example, don't count.

        Raises:
            ConfigError: an entry of the list, whoever it is about, is none.
        """
        root = _root(file)
        listed = self._list(file, root) if root else None
        every = [Entry(item, self._values(file, item)) for item in listed.children] if listed else []
        wanted = (environment.name, environment.model.name)
        return [one for one in every if (one.values["environment"], one.values["model"]) == wanted]

    def put(self, file: YamlFile, entry: Entry | None, environment: Environment, texts: Mapping[str, str], name: str) -> bytes:
        """The file with these texts in the entry, or in a new one at the end; errors call it `name`.

        Raises:
            ConfigError: as `of`, or that can't be written without changing something else.
        """
        values = {"environment": environment.name, "model": environment.model.name, **texts}
        if entry is not None:
            changed = {key: value for key, value in values.items() if entry.values[key] != value}
            edit = assign(file, entry.item, changed, f"{self.key}[{name}].")
            return apply(file, edit.splices) if edit.splices else (file.bom + file.text).encode()
        new = {key: value for key, value in values.items() if value}
        root = _root(file)
        if root is None:
            return self.put(parse(file.path, _NEW_FILE), None, environment, texts, name)
        listed = self._list(file, root)
        return apply(
            file, [yaml_edit.append(file, listed, new)] if listed else yaml_edit.add(file, root, self.key, new, as_item=True)
        )

    def time(self, file: YamlFile, entry: Entry, key: str) -> datetime | None:
        """Raises: ConfigError, if there is something else than a time."""
        text = entry.values[key]
        if not text:
            return None
        try:
            return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
        except ValueError:
            hint = "write it in UTC, for example 2026-01-31T08:00:00Z"
            raise file.error(f"{text!r} is not a time", entry.item, key=f"{self.key}.{key}", hint=hint) from None

    def _list(self, file: YamlFile, root: Node) -> Node | None:
        listed = file.get(root, self.key)
        if listed is None or listed.is_sequence:
            return listed
        if listed.is_null:
            return None
        raise file.error("not a list", listed, key=self.key, hint="write one `- environment: …` for each entry")

    def _values(self, file: YamlFile, item: Node) -> dict[str, str]:
        if not item.is_mapping:
            raise file.error("not a mapping", item, key=self.key, hint=f"write {', '.join(self.required)} there")
        for key in item.children[::2]:
            if key.value not in self.keys:
                raise file.error(f"unknown key {key.value!r}", key, key=self.key, hint=f"available: {', '.join(self.keys)}")
        values = file.scalars(item, self.keys, f"{self.key}.")
        if missing := [name for name in self.required if not values[name]]:
            hint = f"write {', '.join(self.required)} there"
            raise file.error(f"the entry has no {', '.join(missing)}", item, key=self.key, hint=hint)
        return values


def opened(path: str, content: bytes | None) -> YamlFile:
    """The file, a new one for None. Raises: ConfigError, if it is not YAML."""
    return parse(path, _NEW_FILE if content is None else content)


def text_of(time: datetime | None) -> str:
    """As an entry has it."""
    return time.astimezone(UTC).strftime(_TIME) if time else ""


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
        if key.value not in _LISTS:
            hint = "correct the key, or update promoter if a newer one wrote it"
            raise file.error(f"unknown key {key.value!r}", key, key=key.value, hint=hint)
    return root
