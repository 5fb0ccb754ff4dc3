"""Kustomizations as people write them, generated: what surrounds our image is random, where its values stand is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True)
class Slot:
    """The text of one of our values; `str` gives it as it is written."""

    key: str
    text: str

    def __str__(self) -> str:
        return self.text


Entry = list[tuple[str, str | Slot]]


@dataclass(frozen=True)
class Written:
    """A file as literal text and slots."""

    parts: tuple[str | Slot, ...]

    @property
    def text(self) -> str:
        return "".join(map(str, self.parts))

    @property
    def keys(self) -> set[str]:
        return {part.key for part in self.parts if isinstance(part, Slot)}


OLD = {
    "newName": ["registry.example.com/old", "localhost:5000/old", "''", "'it''s'", "10.0.0.1:5000/x"],
    "newTag": ["v7", "'v7'", '"v7"', "1.10", '"v\\x37"', "~", "", "!!str v7", "&tag v7", "&tag !!str 'v7'", "0x1F", "null"],
    "digest": ["sha256:aa", "'sha256:aa'", '"sha256:aa"', "", "!!str sha256:aa"],
}
comments = st.sampled_from(["", "", " # why", "  #\ttab, ünïcode 漢字 🚀", " # newTag: v0", ' # it\'s "quoted" {['])
OTHERS = {
    "resources": ["[../../base]", "\n- ../../base", "\n  - ../../base\n  -   release.yaml", "\n    - ../../base"],
    "namespace": ["payments", "'payments'", "!!str payments", "ünïcode-🚀"],
    "labels": ["&labels\n- pairs: {owner: payments}", "[]", "[{pairs: {'a': \"b\"}}]"],
    "patches": ["\n- patch: |-\n    - op: add\n      value: newTag\n  target: {kind: Rollout}", "\n  - path: x.yaml", ""],
    "configurations": [">-\n  folded\n  text", "|\n  literal # no comment", "plain\n  over lines"],
}
OTHER_IMAGES = [
    {"name": "envoy", "newTag": '"1.10"'},
    {"digest": "'sha256:ee'", "name": "churn"},
    {"name": "fraud-detector-shadow"},
]


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    keys = draw(st.lists(st.sampled_from(list(OLD)), unique=True))
    ours = [(key, Slot(key, draw(st.sampled_from(OLD[key])))) for key in keys]
    name = ("name", draw(st.sampled_from(["fraud-detector", "'fraud-detector'", '"fraud-detector"', "!!str fraud-detector"])))
    return draw(st.permutations([name, *ours]))


@st.composite
def flow_entry(draw: st.DrawFn, pairs: Entry) -> list[str | Slot]:
    comma = draw(st.sampled_from([", ", ",", " , ", ",\n      ", ", # why\n     "]))
    space = draw(st.sampled_from(["", " "]))
    parts: list[str | Slot] = ["{" + space]
    for place, (key, value) in enumerate(pairs):
        parts += [comma if place else "", f"{key}: ", value]
    return [*parts, space + "}"]


@st.composite
def block_entry(draw: st.DrawFn, pairs: Entry, indent: str, anchor: int) -> list[str | Slot]:
    dash = draw(st.sampled_from(["- ", "-   ", f"- &entry{anchor}\n" + indent + "  ", "- # why\n" + indent + "  "]))
    inner = indent + "  " if "\n" in dash else indent + " " * len(dash)
    parts: list[str | Slot] = []
    for place, (key, value) in enumerate(pairs):
        lead = inner if place else indent + dash
        space = draw(st.sampled_from([" ", "   "])) if str(value) else ""  # so that an empty slot has one place
        parts += [f"{lead}{key}:{space}", value, draw(comments) + "\n"]
        parts.append(draw(st.sampled_from(["", "", "\n", inner + "# between\n", "# at the margin\n"])))
    return parts


@st.composite
def images(draw: st.DrawFn) -> list[str | Slot]:
    """The `images:` key with everything under it, or nothing."""
    ours = draw(st.none() | entries())
    others: list[Entry] = [
        list(pairs.items()) for pairs in draw(st.lists(st.sampled_from(OTHER_IMAGES), max_size=2, unique_by=str))
    ]
    items: Sequence[Entry] = draw(st.permutations([*others, ours])) if ours else others
    if not items:
        text = draw(st.sampled_from(["", "images:", "images: []", "images: [ ]", "images: ~", "images: null"]))
        return [text + draw(comments) + "\n"] if text else []
    if draw(st.booleans()):
        parts: list[str | Slot] = ["images: ["]
        for place, pairs in enumerate(items):
            parts += [", " if place else "", *draw(flow_entry(pairs))]
        return [*parts, draw(st.sampled_from(["", ",", "\n  "])) + "]" + draw(comments) + "\n"]
    indent = draw(st.sampled_from(["", "  ", "    "]))
    parts = ["images:" + draw(comments) + "\n"]
    for place, pairs in enumerate(items):
        block = draw(st.booleans())
        parts += (
            draw(block_entry(pairs, indent, place))
            if block
            else [indent + "- ", *draw(flow_entry(pairs)), draw(comments) + "\n"]
        )
    return parts


@st.composite
def kustomizations(draw: st.DrawFn) -> Written:
    """A kustomization that can be edited, in any style, with or without our image."""
    keys = draw(st.lists(st.sampled_from(list(OTHERS)), unique=True))
    sections: list[list[str | Slot]] = [[f"{key}: " + draw(st.sampled_from(OTHERS[key])) + "\n"] for key in keys]
    sections = draw(st.permutations([["kind: Kustomization" + draw(comments) + "\n"], draw(images()), *sections]))
    parts: list[str | Slot] = [draw(st.sampled_from(["", "---\n", "# 漢字 🚀\n---\n", "%YAML 1.1\n---\n", "\n"]))]
    for section in sections:
        parts += [*section, draw(st.sampled_from(["", "", "\n", "# a comment\n"]))]
    parts.append(draw(st.sampled_from(["", "# the end\n", "\n\n", "...\n"])))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    parts = [part if isinstance(part, Slot) else part.replace("\n", newline) for part in parts]
    return Written((draw(st.sampled_from(["", "\ufeff"])), *parts))
