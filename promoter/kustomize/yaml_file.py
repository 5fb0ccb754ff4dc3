"""A YAML file edited byte for byte: values are located and replaced in place, and the result is checked.

ruamel.yaml only parses, into events with their places. An edit is a list of splices, each saying what it does to the text
and what that must do to the events; the edited text is parsed again, and its events must be exactly those. So a proof
covers every value, tag, anchor, alias, quoting style and document, and whatever is not an event (comments, spaces) is
untouched because nothing but the splices touches bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from promoter.errors import ConfigError
from promoter.transport.boundary import ODD

try:
    # Where ruamel itself looks for its C extension, under the names it had before 0.19 and has since.
    from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined]  # imported there from the extension, not exported
except ImportError:
    CParser = None

Event = tuple[Any, ...]  # an event's content, without its place: its class first
_S = TypeVar("_S", str, tuple[Event, ...])

STRING_TAG = "tag:yaml.org,2002:str"
_BOM = "\ufeff"
_MOST_NODES, _DEEPEST = 100_000, 100
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_COLON = re.compile(r"[ \t]*:(?: +(?=[\r\n]|\Z)| (?= *[,}]))?")
_DISPUTED_BREAK = re.compile("[\x85\u2028\u2029]")


@dataclass(slots=True, eq=False)
class Node:
    """A value and where it stands: characters `start` to `end` of the text, events `first` to `last` (both included).

    `value` is a scalar's text or an alias's anchor; `children` are a sequence's items, or a mapping's keys and values in
    turn. The end of a block collection is no use: parsers put it at whatever follows; see `leaf`.
    """

    start: int
    end: int
    first: int
    last: int
    is_mapping: bool = False
    is_sequence: bool = False
    is_alias: bool = False
    is_scalar: bool = False
    is_null: bool = False
    flow: bool = False
    value: str = ""
    style: str = ""
    tag: str | None = None
    anchor: str | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def leaf(self) -> Node:
        """The last thing in this node whose end is its own: a scalar, an alias or a flow collection."""
        node = self
        while node.children and not node.flow:
            node = node.children[-1]
        return node


@dataclass(frozen=True, slots=True)
class Splice:
    """Characters `start` to `end` become `text`; that makes events `first` to `last` (excluded) become `events`."""

    start: int
    end: int
    text: str
    first: int
    last: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A parsed file: `path` for messages, `text` without the byte order mark, one node for each document."""

    path: str
    text: str
    bom: str
    events: tuple[Event, ...]
    documents: tuple[Node, ...]

    def error(self, message: str, at: Node | None = None, *, key: str = "", hint: str = "") -> ConfigError:
        """The error to raise about the node `at`, with its line."""
        line = _line(self.text, at.start) if at else None
        return ConfigError(message, file=self.path, line=line, key=key, hint=hint)

    def get(self, mapping: Node, key: str) -> Node | None:
        """The value under `key`, None when there is none.

        Raises:
            ConfigError: the key is there twice, or a merge key may bring another one in.
        """
        return self.get_each(mapping, (key,)).get(key)

    def get_each(self, mapping: Node, keys: Collection[str]) -> dict[str, Node]:
        """The values under those of the keys that are there.

        Raises:
            ConfigError: as `get`.
        """
        found: dict[str, Node] = {}
        for name, value in zip(mapping.children[::2], mapping.children[1::2], strict=True):
            if name.value == "<<" and not name.style:
                message, hint = f"a merge key decides what {next(iter(keys))!r} is", "write the merged keys out here"
                raise self.error(message, name, key="<<", hint=hint)
            if name.value in keys and name.is_scalar:
                if name.value in found:
                    raise self.error("the key is there twice", name, key=name.value, hint="remove one of the two")
                found[name.value] = value
        return found

    def mapping(self, parent: Node, key: str) -> Node | None:
        """The mapping under `key`, None when it is absent or null.

        Raises:
            ConfigError: something else is there; or as `get`.
        """
        node = self.get(parent, key)
        if node is None or node.is_null:
            return None
        if not node.is_mapping:
            raise self.error("not a mapping", node, key=key, hint="write keys and values there")
        return node

    def scalar(self, mapping: Node | None, key: str, name: str) -> str:
        """The scalar under `key`, "" when it is absent or null; errors call it `name`.

        Raises:
            ConfigError: it is not a scalar; or as `get`.
        """
        node = self.get(mapping, key) if mapping else None
        if node is None or node.is_null:
            return ""
        if not node.is_scalar:
            raise self.error("not a string", node, key=name, hint="write the value out here")
        return node.value

    def scalars(self, mapping: Node | None, keys: Collection[str], prefix: str) -> dict[str, str]:
        """The scalars under these keys, which errors call by this prefix and the key; raises as `scalar`."""
        return {key: self.scalar(mapping, key, prefix + key) for key in keys}

    def require_own(self, node: Node, key: str) -> None:
        """Makes sure that a change of the node is one in this place only; `key` names it.

        Raises:
            ConfigError: it is an alias, or is aliased elsewhere.
        """
        if node.is_alias:
            raise self.error(f"the value is the alias *{node.value}", node, key=key, hint="write the value out here")
        if node.anchor and (AliasEvent, node.anchor) in self.events:
            message = f"the anchor &{node.anchor} is used elsewhere, which would change too"
            raise self.error(message, node, key=key, hint=f"write the value out where *{node.anchor} stands")

    def column(self, node: Node) -> int:
        """Characters between the line's start and the node."""
        return node.start - 1 - max(self.text.rfind("\n", 0, node.start), self.text.rfind("\r", 0, node.start))

    def line_end(self, node: Node) -> int:
        """The end of the node's last line, before its line break; comments on that line are before it."""
        end = node.leaf.end
        if node.leaf.style in ("|", ">"):  # these end where the next line starts
            end = len(self.text[:end].rstrip("\r\n"))
        found = _LINE_BREAK.search(self.text, end)
        return found.start() if found else len(self.text)

    def line_break(self, at: int) -> str:
        """The line break at `at`, or at the end of the file the one that the file uses."""
        found = _LINE_BREAK.match(self.text, at) or _LINE_BREAK.search(self.text)
        return found.group() if found else "\n"


def parse(path: str, data: bytes) -> YamlFile:
    """The file, from its bytes; `path` is for messages only.

    Raises:
        ConfigError: not UTF-8, not YAML, too much or too deep, with line breaks that YAML 1.1 and 1.2 parsers see differently.
    """
    if data.startswith(_LFS_POINTER):
        hint = "Argo CD may not read it either: take the file out of Git LFS (git lfs migrate export --include=FILE)"
        raise ConfigError("is a Git LFS pointer, not the file itself", file=path, line=1, hint=hint)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise ConfigError("not UTF-8", file=path, line=line, hint="save the file as UTF-8") from None
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    if disputed := _DISPUTED_BREAK.search(text):
        name = f"U+{ord(disputed.group()):04X}"
        message = f"{name}, a line break to some YAML parsers only"
        raise ConfigError(
            message, file=path, line=_line(text, disputed.start()), hint="remove it, or escape it in double quotes"
        )
    events = _events(path, text)
    _require_bounded(path, text, events)
    return YamlFile(path, text, bom, tuple(map(_content, events)), tuple(_documents(text, events)))


def apply(file: YamlFile, splices: Sequence[Splice]) -> bytes:
    """The file's bytes with the splices made, proven to mean what they say and nothing else.

    Raises:
        ConfigError: the result would not parse, or would say something else.
    """
    ordered = sorted(splices, key=lambda splice: (splice.start, splice.first))
    text = _spliced(file.text, [(splice.start, splice.end, splice.text) for splice in ordered])
    meant = _spliced(file.events, [(splice.first, splice.last, splice.events) for splice in ordered])
    try:
        proven = tuple(map(_content, _events(file.path, text))) == meant
    except ConfigError:
        proven = False
    if not proven:
        line = _line(file.text, ordered[0].start)
        hint = "write these keys by hand once, each on its own line as `key: value`"
        raise ConfigError("no edit here is sure to change nothing else", file=file.path, line=line, hint=hint)
    return (file.bom + text).encode()


def _events(path: str, text: str) -> list[Any]:
    """The events, from the C extension; from ruamel's own parser if that is missing or refuses the text.

    It refuses what kustomize takes: a colon inside a plain scalar of a flow mapping. The own parser refuses a tab between
    two tokens, which kustomize takes too; without the extension such a file is not edited.
    """
    if CParser is not None:
        try:
            parser, events = CParser(text), []
            while parser.check_event():
                events.append(parser.get_event())
            return events
        except YAMLError:
            pass
    try:
        return list(YAML(typ="safe", pure=True).parse(text))
    except (YAMLError, *ODD) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        line = mark.line + 1 if mark else _line(text, getattr(error, "position", 0))
        raise ConfigError(f"not YAML: {reason}", file=path, line=line, hint="fix the file manually") from None


def _require_bounded(path: str, text: str, events: Sequence[Any]) -> None:
    """Refuses what a few bytes of aliases blow up to in whatever reads the file next, and what is too deep for it.

    Raises:
        ConfigError: 100,000 values or more once aliases are expanded, or more than 100 levels.
    """
    sizes: dict[str, int] = {}  # by anchor
    unclosed: list[tuple[str, int]] = []
    count = 0
    for event in events:
        if isinstance(event, CollectionEndEvent):
            anchor, before = unclosed.pop()
            sizes[anchor] = count - before
        elif isinstance(event, NodeEvent):
            anchor, before = event.anchor or "", count
            count += sizes.get(anchor, 1) if type(event) is AliasEvent else 1
            if isinstance(event, CollectionStartEvent):
                unclosed.append((anchor, before))
                sizes[anchor] = _MOST_NODES  # until it is counted: what contains itself has no end
            elif type(event) is not AliasEvent:
                sizes[anchor] = 1
            if count >= _MOST_NODES or len(unclosed) > _DEEPEST:
                many = f"{_MOST_NODES} values or more once its aliases are expanded"
                line, hint = _line(text, event.start_mark.index), "write out what the aliases stand for, or split the file"
                raise ConfigError(many if count >= _MOST_NODES else "nested too deeply", file=path, line=line, hint=hint)


def _content(event: Any) -> Event:
    """The event's content, without its place."""
    kind = type(event)
    if kind is ScalarEvent:
        return (kind, event.anchor, event.tag, event.style or "", event.value)
    if kind is AliasEvent:
        return (kind, event.anchor)
    if isinstance(event, CollectionStartEvent):
        return (kind, event.anchor, event.tag, bool(event.flow_style))
    if kind is DocumentStartEvent:
        return (kind, event.explicit, event.version, event.tags and tuple(event.tags.items()))
    return (kind,)


def _documents(text: str, events: Sequence[Any]) -> list[Node]:
    documents: list[Node] = []
    unclosed: list[Node] = []
    for index, event in enumerate(events):
        if isinstance(event, CollectionEndEvent):
            node = unclosed.pop()
            node.end, node.last = event.end_mark.index, index
        elif isinstance(event, NodeEvent):
            node = _node(event, index)
            siblings = unclosed[-1].children if unclosed else documents
            in_mapping = bool(unclosed) and unclosed[-1].is_mapping  # a document may be empty, too
            if in_mapping and node.start == node.end and node.is_scalar and len(siblings) % 2:
                node.start = node.end = _after_colon(text, siblings[-1], node.end)
            siblings.append(node)
            if isinstance(event, CollectionStartEvent):
                unclosed.append(node)
    return documents


def _node(event: Any, index: int) -> Node:
    node = Node(event.start_mark.index, event.end_mark.index, index, index, anchor=event.anchor)
    if type(event) is ScalarEvent:
        node.value, node.style, node.tag, node.is_scalar = event.value, event.style or "", event.tag, True
        node.is_null = not node.style and node.tag is None and node.value in ("", "~", "null", "Null", "NULL")
    elif type(event) is AliasEvent:
        node.value, node.anchor, node.is_alias = event.anchor, None, True
    else:
        node.tag, node.flow = event.tag, bool(event.flow_style)
        node.is_mapping = type(event) is MappingStartEvent
        node.is_sequence = not node.is_mapping
    return node


def _after_colon(text: str, key: Node, default: int) -> int:
    """Where an empty value stands: parsers put it at the colon, or at whatever follows; here it is where one would write."""
    colon = _COLON.match(text, key.end)
    return colon.end() if colon else default


def _line(text: str, at: int) -> int:
    return 1 + len(_LINE_BREAK.findall(text, 0, at))


def _spliced(whole: _S, parts: Sequence[tuple[int, int, _S]]) -> _S:
    for start, end, new in reversed(parts):
        whole = whole[:start] + new + whole[end:]
    return whole
