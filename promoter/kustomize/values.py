"""Strings under the keys of one YAML mapping: read them, or write others and change nothing else of the file."""

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


def scalars(file: YamlFile, mapping: Node | None, keys: tuple[str, ...], prefix: str) -> dict[str, str]:
    """The scalars under these keys, "" for an absent one.

    Raises:
        ConfigError: one of them is a list or a mapping.
    """
    return {key: file.scalar(mapping, key, prefix + key) for key in keys}


def assign(file: YamlFile, mapping: Node, values: Mapping[str, str], prefix: str) -> Edit:
    """The values under their keys: present ones are replaced, the others inserted after the last present one.

    Raises:
        ConfigError: a value can't be replaced without changing something else.
    """
    file.require_own(mapping, prefix.rstrip("."))
    splices: list[Splice] = []
    changes: list[Change] = []
    missing: dict[str, str] = {}
    present = [node for key in values if (node := file.get(mapping, key))]
    for key, value in values.items():
        node = file.get(mapping, key)
        if node is None and value:
            missing[key] = value
        if node is None or _holds(node, value):
            continue
        splices.append(yaml_edit.replace(file, node, value, prefix + key, flow=mapping.flow))
        changes.append(Change(file.path, prefix + key, None if node.is_null else node.value, value))
    if missing:
        after = max(present, key=lambda node: node.start, default=None)
        splices.append(yaml_edit.insert(file, mapping, missing, after=after))
    return Edit(file, tuple(splices), (*changes, *additions(file, missing, prefix)))


def additions(file: YamlFile, values: Mapping[str, str], prefix: str) -> tuple[Change, ...]:
    """The changes that adding these values makes."""
    return tuple(Change(file.path, prefix + key, None, value) for key, value in values.items())


def _holds(node: Node, value: str) -> bool:
    if node.is_null:
        return not value
    return node.is_scalar and node.value == value and yaml_edit.is_string(node)
