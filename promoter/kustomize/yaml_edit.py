"""Strings written into a YAML file, as its author would: in the style that is there, and always read back as strings.

Each function returns the splices for `yaml_file.apply`; nothing is changed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ruamel.yaml.events import MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from promoter.kustomize.yaml_file import STRING_TAG, Event, Node, Splice, YamlFile

# Letters and what image references and versions are made of; a colon is plain only where no value starts after it.
_PLAIN = re.compile(r"[\w./](?:[\w./@+-]|:(?=[\w./]))*")
# Whatever could be a number, a date, a time or base 60 to any parser, and the words of YAML 1.1.
_NUMBER = re.compile(r"[-+]?[\d.][\d.,_:xXoOa-fA-FtTzZ+-]*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"})

_DASH = re.compile(r"[ \t]*-[ \t]+")
# A tag and an anchor, in either order, with the space and the comments behind each.
_PROPERTIES = re.compile(r"(?:[!&]\S*\s+(?:#[^\r\n]*\s+)*){1,2}")


def is_plain_string(value: str) -> bool:
    """Whether every parser reads the unquoted value as this string; in doubt it does not."""
    return bool(_PLAIN.fullmatch(value)) and not _NUMBER.fullmatch(value) and value.lower() not in _WORDS


def is_string(node: Node) -> bool:
    """Whether it is a scalar that is a string to every parser, and no number, boolean, date or null."""
    if not node.is_scalar:
        return False
    if node.tag is not None:
        return node.tag in (STRING_TAG, "!")
    return bool(node.style) or is_plain_string(node.value)


def scalar(
    value: str, style: str = "", *, flow: bool = False, tag: str | None = None, anchor: str | None = None
) -> tuple[str, Event]:
    """The text that stands for `value` and the event it makes: in this style where that is safe, otherwise double-quoted.

    `flow` when it goes into a flow collection, where YAML 1.1 allows no plain colon; `tag` and `anchor` are those already
    written before it, and no part of the text.
    """
    if style == "" and is_plain_string(value) and not (flow and ":" in value):
        text = value
    elif style == "'" and value.isprintable():
        text = "'" + value.replace("'", "''") + "'"
    else:
        style, text = '"', '"' + "".join(map(_escaped, value)) + '"'
    return text, (ScalarEvent, anchor, tag, style, value)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def replace(file: YamlFile, node: Node, value: str, key: str, *, flow: bool) -> Splice:
    """The scalar or null at `node`, in a flow collection or not, becomes `value`; its quotes, tag and anchor stay.

    Raises:
        ConfigError: it is not a single scalar used only here; `key` names it in the message.
    """
    file.require_own(node, key)
    if not node.is_scalar:
        raise file.error("a list or mapping, expected a string", node, key=key, hint="write a string there")
    if node.style in ("|", ">"):
        raise file.error("a block scalar, expected a plain string", node, key=key, hint="write the value on one line")
    if node.tag not in (None, "!", STRING_TAG):
        raise file.error(f"the tag {node.tag} makes it something else than a string", node, key=key, hint="remove the tag")
    text, event = scalar(value, node.style, flow=flow, tag=node.tag, anchor=node.anchor)
    start = node.start
    if node.tag or node.anchor:
        properties = _PROPERTIES.match(file.text, start, node.end)
        start = properties.end() if properties else node.end
    quoted = node.style in ("'", '"')  # then the text is, too, and may stand where the old one stood: `"key":"value"`
    return Splice(start, node.end, text if quoted else _apart(file, start, text), node.first, node.last + 1, (event,))


def insert(file: YamlFile, mapping: Node, values: Mapping[str, str], *, after: Node | None = None) -> Splice:
    """The keys, which the mapping does not have, written behind its value `after`, or at its end."""
    new = _New(values, flow=mapping.flow, quote=_quote(mapping))
    after = after or _last(mapping)
    if mapping.flow or not after:  # without children it is `{}`
        return _insert_flow(mapping, after, new.pairs, new.pair_events)
    return _insert_lines(file, after, file.column(mapping.children[0]), new.lines, new.pair_events)


def append(file: YamlFile, sequence: Node, values: Mapping[str, str]) -> Splice:
    """A mapping of these values as the last item, in the style of the item before it."""
    last = _last(sequence)
    new = _New(values, flow=last.flow if last else True, quote=_quote(last or sequence))
    if sequence.flow or not last:  # without children it is `[]`
        return _insert_flow(sequence, last, "{" + new.pairs + "}", new.events)
    lines = ["- {" + new.pairs + "}"] if last.flow else new.item_lines
    return _insert_lines(file, last, file.column(sequence), lines, new.events)


def remove(file: YamlFile, sequence: Node, item: Node, key: str) -> Splice:
    """The item's line is taken out, with the comment on it.

    Raises:
        ConfigError: it does not stand alone on its line, or is the only item; `key` names it in the message.
    """
    text = file.text
    start = 1 + max(text.rfind("\n", 0, item.start), text.rfind("\r", 0, item.start))
    end = file.line_end(item)
    if not _DASH.fullmatch(text, start, item.start) or len(sequence.children) == 1:
        raise file.error("it can't be taken out without changing something else", item, key=key, hint="remove it yourself")
    if end < len(text):
        end += len(file.line_break(end))
    else:  # the last line has no break: that before it goes
        start = len(text[:start].rstrip("\r\n"))
    return Splice(start, end, "", item.first, item.last + 1)


def add(file: YamlFile, mapping: Node, key: str, values: Mapping[str, str], *, as_item: bool = False) -> list[Splice]:
    """The mapping's `key`, absent or null, becomes a mapping of these values, or a sequence with that as its only item.

    Raises:
        ConfigError: the null has a tag or an anchor.
    """
    new = _New(values, flow=mapping.flow, quote=_quote(mapping))
    text, events, lines = "{" + new.pairs + "}", new.events, new.lines
    if as_item:
        events = ((SequenceStartEvent, None, None, new.flow), *events, (SequenceEndEvent,))
        text, lines = f"[{text}]", new.item_lines
    pad = " " * _indentation(file, mapping, sequences=as_item)
    lines = [pad + line for line in lines]
    if null := file.get(mapping, key):
        return _fill(file, mapping, null, key, text, lines, events)
    name, name_event = scalar(key, new.quote)
    last = _last(mapping)
    if mapping.flow or not last:
        return [_insert_flow(mapping, last, f"{name}: {text}", (name_event, *events))]
    return [_insert_lines(file, last, file.column(mapping.children[0]), [f"{name}:", *lines], (name_event, *events))]


@dataclass(frozen=True, slots=True)
class _New:
    """Keys and values to be written, as text and as events: `quote` is a double quote where everything is quoted."""

    values: Mapping[str, str]
    flow: bool
    quote: str

    @property
    def lines(self) -> list[str]:
        return [": ".join(self._scalar(text)[0] for text in pair) for pair in self.values.items()]

    @property
    def item_lines(self) -> list[str]:
        return [("  " if place else "- ") + line for place, line in enumerate(self.lines)]

    @property
    def pairs(self) -> str:
        return ", ".join(self.lines)

    @property
    def pair_events(self) -> tuple[Event, ...]:
        return tuple(self._scalar(text)[1] for pair in self.values.items() for text in pair)

    @property
    def events(self) -> tuple[Event, ...]:
        return ((MappingStartEvent, None, None, self.flow), *self.pair_events, (MappingEndEvent,))

    def _scalar(self, text: str) -> tuple[str, Event]:
        return scalar(text, self.quote, flow=self.flow)


def _fill(
    file: YamlFile, mapping: Node, null: Node, key: str, text: str, lines: list[str], events: tuple[Event, ...]
) -> list[Splice]:
    """The null becomes the flow `text` in a flow mapping; in a block mapping it goes, and `lines` follow its line."""
    if null.tag or null.anchor:
        raise file.error("a tag or an anchor on nothing", null, key=key, hint="remove it")
    if mapping.flow:
        return [Splice(null.start, null.end, _apart(file, null.start, text), null.first, null.last + 1, events)]
    emptied = Splice(null.start, null.end, "", null.first, null.last + 1, events)
    return [emptied, _insert_lines(file, null, file.column(mapping.children[0]), lines, ())]


def _apart(file: YamlFile, at: int, text: str) -> str:
    """The text, with a space before it where it would touch the key's colon, a tag or an anchor."""
    return text if file.text[at - 1].isspace() else " " + text


def _insert_lines(file: YamlFile, after: Node, column: int, lines: list[str], events: tuple[Event, ...]) -> Splice:
    at = file.line_end(after)
    new_line = file.line_break(at) + " " * column
    return Splice(at, at, "".join(new_line + line for line in lines), after.last + 1, after.last + 1, events)


def _insert_flow(parent: Node, after: Node | None, text: str, events: tuple[Event, ...]) -> Splice:
    if after:
        return Splice(after.end, after.end, ", " + text, after.last + 1, after.last + 1, events)
    at = parent.end - 1  # before the closing bracket
    return Splice(at, at, text, parent.last, parent.last, events)


def _last(collection: Node) -> Node | None:
    return collection.children[-1] if collection.children else None


def _quote(neighbour: Node) -> str:
    """A double quote where the flow mapping is written as JSON, so that it stays JSON."""
    while neighbour.children and not neighbour.children[0].is_scalar:
        neighbour = neighbour.children[0]
    return '"' if neighbour.flow and neighbour.children and neighbour.children[0].style == '"' else ""


def _indentation(file: YamlFile, mapping: Node, *, sequences: bool) -> int:
    """By how much the block sequences, or block mappings, under this mapping are indented; 0 and 2 when it has none."""
    for value in mapping.children[1::2]:
        same_kind = value.is_sequence if sequences else value.is_mapping
        if same_kind and not value.flow and not (value.tag or value.anchor):
            return file.column(value) - file.column(mapping.children[0])
    return 0 if sequences else 2
