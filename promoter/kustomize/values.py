"""Strings written under the keys of one YAML mapping, and nothing else of the file changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promoter.kustomize import yaml_edit
from promoter.kustomize.yaml_file import Node, Splice, YamlFile
from promoter.models import Change


@dataclass(frozen=True, slots=True)
class Edit:
    """What to do to one file, and what that changes."""

    file: YamlFile
    splices: tuple[Splice, ...]
    changes: tuple[Change, ...]


def assign(file: YamlFile, mapping: Node, values: Mapping[str, str], prefix: str) -> Edit:
    """The values under their keys: present ones are replaced, the others inserted after the last present one.

    Raises:
        ConfigError: a value can't be replaced without changing something else.
    """
    file.require_own(mapping, prefix.rstrip("."))
    splices: list[Splice] = []
    changes: list[Change] = []
    missing: dict[str, str] = {}
    nodes = file.get_each(mapping, values)
    for key, value in values.items():
        if (node := nodes.get(key)) is None:
            missing |= {key: value} if value else {}
            continue
        old = None if node.is_null else node.value
        if value == (old or "") and (old is None or yaml_edit.is_string(node)):
            continue
        splices.append(yaml_edit.replace(file, node, value, prefix + key, flow=mapping.flow))
        changes.append(Change(file.path, prefix + key, old, value))
    if missing:
        after = max(nodes.values(), key=lambda node: node.start, default=None)
        splices.append(yaml_edit.insert(file, mapping, missing, after=after))
    return Edit(file, tuple(splices), (*changes, *additions(file, missing, prefix)))


def additions(file: YamlFile, values: Mapping[str, str], prefix: str) -> tuple[Change, ...]:
    """The changes that adding these values makes."""
    return tuple(Change(file.path, prefix + key, None, value) for key, value in values.items())
