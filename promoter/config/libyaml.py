"""Plain values straight from libyaml's events, without nodes in between: five times as fast, for fleets of environments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined]
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver

_DEEPEST = 200
# Where libyaml, which follows YAML 1.1, reads otherwise: carriage returns, directives, documents that are one block of text,
# signs in the names of anchors.
_OTHERWISE = re.compile(r"\r|^%|^(?:---[ \t]+)?[|>]|(?:^|[\s,\[{])[&*][\w-]*[^\w\s,\[\]{}-]", re.MULTILINE)
_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


class NotForLibyamlError(Exception):
    """Only the slow parser reads this text as YAML 1.2 has it."""


class NeedsNodesError(Exception):
    """An alias, a merge key or a tag: what it stands for is worked out on nodes."""


class Libyaml(CParser, SafeConstructor, VersionedResolver):  # type: ignore[misc]
    """The parser of libyaml, five times as fast as ruamel's, which does not find it where its extra installs it (0.19).

    Its parts are put together as in ruamel.yaml.main, XLoader.
    """

    processing_version = (1, 2)  # ruamel works it out for every scalar

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        self._parser = self._composer = self
        SafeConstructor.__init__(self, loader=self)
        self.allow_duplicate_keys = False
        VersionedResolver.__init__(self, loadumper=self)


def values(text: str) -> list[Any]:
    """The value of every document.

    Raises:
        NotForLibyamlError: libyaml may read it otherwise, or would crash of its depth.
        NeedsNodesError: the text is safe for libyaml, and its values are made of nodes.
        YAMLError: a complaint of the parser.
    """
    if _OTHERWISE.search(text):
        raise NotForLibyamlError
    reading = _Reading(Libyaml(text))
    found = list(reading.documents())
    if reading.needs_nodes:
        raise NeedsNodesError
    return found


class _Reading:
    """Reads to the end, also where nodes are needed: how deep the text is must be known before they are made."""

    def __init__(self, loader: Libyaml) -> None:
        self._loader = loader
        self.needs_nodes = False

    def documents(self) -> Iterator[Any]:
        loader = self._loader
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, DocumentStartEvent):
                yield self._document()

    def _document(self) -> Any:
        """Of the events up to the document's end."""
        loader = self._loader
        root: list[Any] = []
        above: list[tuple[Any, Any]] = []  # collections that are open, each with the key that waits for its value
        into: Any = root
        key: Any = _NO_KEY
        while not isinstance(event := loader.get_event(), DocumentEndEvent):
            if isinstance(event, CollectionEndEvent):
                into, key = above.pop()
                continue
            value = self._value(event)
            if isinstance(into, list):
                into.append(value)
            elif key is _NO_KEY:
                key = self._key(event, value, into)
            else:
                into[key], key = value, _NO_KEY
            if isinstance(event, CollectionStartEvent):
                above.append((into, key))
                if len(above) > _DEEPEST:
                    raise NotForLibyamlError
                into, key = value, _NO_KEY
        return root[0]

    def _value(self, event: Any) -> Any:
        """What one event begins with; a collection is filled by those that follow."""
        if isinstance(event, ScalarEvent):
            if event.tag or event.anchor:
                self.needs_nodes = True
            return self._scalar(event.value) if event.implicit[0] else event.value
        if isinstance(event, AliasEvent) or event.tag or event.anchor:
            self.needs_nodes = True
        return {} if isinstance(event, MappingStartEvent) else []

    def _scalar(self, text: str) -> Any:
        """A plain scalar, as its form resolves it."""
        tag = _tag(text)
        if tag == _TEXT:
            return text
        if tag == _MERGE:
            self.needs_nodes = True
        return self._loader.construct_object(ScalarNode(tag, text), deep=True)

    def _key(self, event: Event, value: Any, into: dict[Any, Any]) -> Any:
        """A key of a mapping; one that is not a scalar, or there twice, is for the slower ways to explain."""
        if not isinstance(event, ScalarEvent) or value in into:
            self.needs_nodes = True
            return object()
        return value


@lru_cache(maxsize=4096)
def _tag(text: str) -> str:
    """What YAML 1.2 resolves a plain scalar to; the same ones are all over the files of a fleet."""
    return str(_RESOLVER.resolve(ScalarNode, text, (True, False)))


_NO_KEY = object()
_RESOLVER = Libyaml("")
