"""The values of a YAML text by libyaml, five times as fast as by ruamel's own parser, and without errors that name a line.

libyaml reads some texts not at all (`{url: https://x}`), which are for the slow parser then.

ruamel 0.19 itself looks for libyaml where its extra does not install it, and takes the slow parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined]
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.resolver import VersionedResolver

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

_DEEPEST = 200
# A carriage return; a directive, which may name the version; an anchor or alias that has more in its name than YAML 1.1 allows.
_OTHERWISE = re.compile(r"\r|^%|(?:^|[\s,\[{])[&*][\w-]*[^\w\s,\[\]{}-]", re.MULTILINE)


class NotForLibyamlError(Exception):
    """Only the slow parser reads this text as YAML 1.2 has it."""


class _Loader(CParser, SafeConstructor, VersionedResolver):  # type: ignore[misc]
    """As ruamel puts them together (ruamel.yaml.main, XLoader)."""

    processing_version = (1, 2)  # ruamel works it out for every scalar

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        self._parser = self._composer = self
        SafeConstructor.__init__(self, loader=self)
        self.allow_duplicate_keys = False
        VersionedResolver.__init__(self, loadumper=self)


def values(text: str, check: Callable[[Iterable[Node | None]], None]) -> list[Any]:
    """The value of every document; `check` sees their nodes before anything is made of them.

    Raises:
        NotForLibyamlError: libyaml, which follows YAML 1.1, may read the text otherwise, or crash of its depth.
        YAMLError and others: something in it is not valid, or `check` raises.
    """
    _require_safe(text)
    loader, nodes = _Loader(text), []
    while loader.check_node():
        nodes.append(loader.get_node())
    check(nodes)
    return [loader.construct_document(node) for node in nodes]


def _require_safe(text: str) -> None:
    if _OTHERWISE.search(text):
        raise NotForLibyamlError
    loader, depth = _Loader(text), 0
    while loader.check_event():
        event = loader.get_event()
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise NotForLibyamlError
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
