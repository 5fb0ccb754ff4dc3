"""YAML that people wrote, read with the line of every key, so that an error can name it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from promoter.config import libyaml
from promoter.config.libyaml import Libyaml, NeedsNodesError, NotForLibyamlError
from promoter.errors import ConfigError
from promoter.transport.boundary import ODD

_MOST_NODES = 100_000


@dataclass(slots=True)
class Nodes:
    """The nodes of a text's documents, with their lines: made by the slow parser, and only when a line is asked for."""

    text: str
    made: list[Node | None] | None = None

    def of(self, index: int) -> Node | None:
        """None if the slow parser does not read the text as libyaml has."""
        if self.made is None:
            try:
                self.made = list(_loader().compose_all(self.text))
            except (YAMLError, *ODD):
                self.made = []
        return self.made[index] if index < len(self.made) else None


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its plain value, and where each part of it stands."""

    file: str
    value: Any
    _nodes: Nodes = field(repr=False, compare=False)
    _index: int = 0

    @property
    def _node(self) -> Node | None:
        return self._nodes.of(self._index)

    def line(self, path: Sequence[str | int] = ()) -> int:
        """The line (from 1) of the deepest part of `path` that exists."""
        node, line = self._node, 1 if self._node is None else self._node.start_mark.line + 1
        for part in path:
            step = _child(node, part)
            if step is None:
                break
            node, line = step
        return line

    def block(self, path: Sequence[str | int]) -> tuple[int, int]:
        """The line of the key at `path`, which is there, and the last line before the next key: comments between them count."""
        node, line = self._node, 1
        for part in path:
            step = _child(node, part)
            assert step is not None  # noqa: S101 - as documented
            node, line = step
        return line, line if node is None else node.end_mark.line

    def error(self, message: str, path: Sequence[str | int] = (), *, hint: str = "") -> ConfigError:
        return ConfigError(message, file=self.file, line=self.line(path), key=dotted(path), hint=hint)


def dotted(path: Sequence[str | int]) -> str:
    """`environments[1].alias`: a path as people write it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def documents(text: str, file: str) -> tuple[Document, ...]:
    """Every document in the text that is not empty.

    Raises:
        ConfigError: not YAML, or a key twice in one mapping; with the line.
    """
    nodes = Nodes(text)
    values = _fast(text, file)
    if values is None:
        values, nodes.made = _explained(text, file)
    return tuple(Document(file, value, nodes, index) for index, value in enumerate(values) if value is not None)


def document_of(text: str, file: str, value: Any) -> Document:
    """The only document of a text whose value is known."""
    return Document(file, value, Nodes(text), 0)


def plain_values(text: str, file: str) -> list[Any]:
    """The value of every document, for YAML about which no complaint names a line.

    Raises:
        ConfigError: not YAML.
    """
    values = _fast(text, file)
    return _explained(text, file)[0] if values is None else values


def _fast(text: str, file: str) -> list[Any] | None:
    """None if libyaml has a complaint, which is for the slow parser to phrase, or to have none."""
    try:
        return libyaml.values(text)
    except NeedsNodesError:
        return _of_nodes(text, file)
    except (YAMLError, NotForLibyamlError, *ODD):
        return None


def _of_nodes(text: str, file: str) -> list[Any] | None:
    """As `_fast`, where values stand for others."""
    try:
        loader, nodes = Libyaml(text), []
        while loader.check_node():
            nodes.append(loader.get_node())
        _require_bounded(nodes, file)
        return [loader.construct_document(node) for node in nodes]
    except (YAMLError, *ODD):
        return None


def _explained(text: str, file: str) -> tuple[list[Any], list[Node | None]]:
    """The values and the nodes by the slow parser, which knows lines."""
    nodes: list[Node | None] = []
    try:
        nodes += _loader().compose_all(text)
        _require_bounded(nodes, file)
        return list(_loader().load_all(text)), nodes
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        reason = " ".join(part for part in (error.context, error.problem) if part).split("\n")[0]
        raise ConfigError(f"is not valid YAML: {reason}", file=file, line=line, hint="correct the YAML there") from None
    except (YAMLError, *ODD) as error:
        raise _odd(error, file, _odd_line(nodes)) from None


def _require_bounded(nodes: Iterable[Node | None], file: str) -> None:
    """Refuses what a few bytes of aliases and merge keys would blow up to: every alias counts as what it stands for.

    Raises:
        ConfigError: more than 100,000 nodes, and twice as many as are written, or an alias inside of what it stands for.
    """
    sizes: dict[int, float] = {}

    def size(node: Node | None) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # until it is counted: a node that contains itself has no end
            sizes[id(node)] = 1 + sum(size(child) for pair in _pairs(node) for child in pair)
        return sizes[id(node)]

    if (found := sum(size(node) for node in nodes)) >= _MOST_NODES and found > 2 * len(sizes):
        hint = "write out what the aliases stand for, or split the file"
        raise ConfigError(f"contains {_MOST_NODES} values or more once its aliases are expanded", file=file, hint=hint)


def _pairs(node: Node | None) -> Iterator[tuple[Node, ...]]:
    if isinstance(node, MappingNode):
        yield from node.value
    elif isinstance(node, SequenceNode):
        yield tuple(node.value)


def _odd(error: Exception, file: str, line: int | None = None) -> ConfigError:
    """For what the parser raises: its own errors, and those of its code where a text was not foreseen (`!!int ''`)."""
    if isinstance(error, RecursionError):
        return ConfigError("is nested too deeply", file=file, hint="no file of promoter or Kustomize is as deep as that")
    reason = (str(error).splitlines() or [""])[0]
    what = reason if isinstance(error, (YAMLError, ValueError)) else f"a value can't be read ({type(error).__name__}: {reason})"
    return ConfigError(f"is not valid YAML: {what}", file=file, line=line, hint="correct the YAML")


def _odd_line(nodes: Iterable[Node | None]) -> int | None:
    """The line of the first value that can't be made of its node, None if the text has no nodes."""
    for node in nodes:
        if (line := _odd_line(child for pair in _pairs(node) for child in pair)) is not None:
            return line
        try:
            _loader().constructor.construct_object(node, deep=True)
        except (YAMLError, *ODD):
            return None if node is None else int(node.start_mark.line) + 1
    return None


def _loader() -> YAML:
    loader = YAML(typ="safe", pure=True)
    loader.composer.warn_double_anchors = False  # an anchor may be set again: the nearest one counts (YAML 1.2, 7.1)
    return loader


def _child(node: Node | None, part: str | int) -> tuple[Node, int] | None:
    for key, child, line in _children(node):
        if key == part:
            return child, line
    return None


def _children(node: Node | None) -> Iterator[tuple[str | int, Node, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key.value, value, key.start_mark.line + 1
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield index, value, value.start_mark.line + 1
