"""Strings as scalars: whatever the value and the style, YAML 1.1 and 1.2 parsers read that very string."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from promoter.errors import ConfigError
from promoter.kustomize.yaml_edit import is_plain_string, remove, scalar
from promoter.kustomize.yaml_file import Splice, YamlFile, apply, parse

# fmt: off
AMBIGUOUS = [
    "1", "1.10", "-1", "+1", ".5", "1.", "1e3", "1E+3", "0x1F", "0o17", "0b11", "017", "1_000", "1,000", "12:30",
    "190:20:30", "2026-08-01", "2026-08-01T10:15:00Z", "true", "True", "TRUE", "false", "yes", "Yes", "no", "on", "ON",
    "off", "y", "N", "null", "Null", "~", ".inf", "-.inf", ".NaN", "=", "<<", "-", "?", ":", "#", "&", "*", "!", "|",
    ">", "%", "@", "`", "a:", "-x", "'x",
]
# fmt: on
PLAIN = ["v8-20260801T101500Z", "latest", "sha256:0a1b", "localhost:5000/x", "10.0.0.1:5000/x", "abc_1.2", "truest", "modèle"]


@pytest.mark.parametrize("value", [*AMBIGUOUS, "", " ", " a", "a ", "a #b", "a, b", "[a]", "{a}", "a\nb", "\u2028"])
def test_needs_quotes(value: str) -> None:
    assert not is_plain_string(value)


@pytest.mark.parametrize("value", PLAIN)
def test_needs_no_quotes(value: str) -> None:
    assert is_plain_string(value)


@given(
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(AMBIGUOUS),
    style=st.sampled_from(["", "'", '"']),
    version=st.sampled_from(["1.1", "1.2"]),
    flow=st.booleans(),
)
@example(value="a\"\\'\x00\x7f\x85\u2028\ufeff\U0001f680", style="'", version="1.1", flow=False)
@example(value="sha256:0a1b", style="", version="1.1", flow=True)
def test_is_read_back_as_the_same_string(value: str, style: str, version: str, flow: bool) -> None:
    text, event = scalar(value, style, flow=flow)
    document = f"[{text}, {{k: {text}}}]\n" if flow else f"- {text}\n- k: {text}\n"
    assert YAML(typ="safe", pure=True).load(f"%YAML {version}\n---\n{document}") == [value, {"k": value}]
    assert event[-1] == value


def test_keeps_the_style_that_is_safe() -> None:
    assert scalar("v8", "'")[0] == "'v8'"
    assert scalar("it's", "'")[0] == "'it''s'"
    assert scalar("v8", '"')[0] == '"v8"'
    assert scalar("v8")[0] == "v8"
    assert scalar("8")[0] == '"8"'
    assert scalar("a\tb", "'")[0] == '"a\\x09b"'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a:\n- one\n- two # why\n- three\nb: c\n", "a:\n- one\n- three\nb: c\n"),
        ("a:\r\n  - one\r\n  - two\r\nb: c\r\n", "a:\r\n  - one\r\nb: c\r\n"),
        ("a:\n- one\n- two", "a:\n- one"),
        ("# above\na:\n# of two\n- 'two'\n- one\n", "# above\na:\n# of two\n- one\n"),
    ],
)
def test_an_item_is_taken_out_with_its_line(before: str, after: str) -> None:
    assert apply(*without_two(before)) == after.encode()


@pytest.mark.parametrize("text", ["a: [one, two]\n", "a:\n- two\n", "a:\n- one\n-\n  two\n", "a:\n- - two\n  - one\n"])
def test_an_item_that_has_no_line_of_its_own_stays(text: str) -> None:
    with pytest.raises(ConfigError, match="can't be taken out without changing something else"):
        without_two(text)


def without_two(text: str) -> tuple[YamlFile, tuple[Splice, ...]]:
    file = parse("f.yaml", text.encode())
    sequence = file.get(file.documents[0], "a")
    assert sequence
    while not any(child.value == "two" for child in sequence.children):
        sequence = sequence.children[0]
    item = next(child for child in sequence.children if child.value == "two")
    return file, (remove(file, sequence, item, "a"),)
