"""Places and proofs: where nodes stand in the text, and that no splice passes which does something else than it declares."""

from __future__ import annotations

import pytest
from ruamel.yaml.events import ScalarEvent

from promoter.errors import ConfigError
from promoter.kustomize.yaml_file import Splice, YamlFile, apply, parse


def value_splice(file: YamlFile, key: str, text: str, value: str, style: str = "") -> Splice:
    node = file.get(file.documents[0], key)
    assert node
    return Splice(node.start, node.end, text, node.first, node.last + 1, ((ScalarEvent, None, None, style, value),))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_places(newline: str, bom: str) -> None:
    text = newline.join(["# 漢字 🚀", "a: {b: 'c'} # d", "e:", "  f: g", "h: |", "  i"])
    file = parse("x.yaml", (bom + text).encode())
    mapping = file.documents[0]
    flow, block, literal = (file.get(mapping, key) for key in "aeh")
    assert flow
    assert block
    assert literal
    assert file.text[flow.start : flow.end] == "{b: 'c'}"
    assert file.column(flow) == 3
    assert file.text[: file.line_end(flow)].endswith(" # d")
    assert file.line_break(file.line_end(flow)) == newline
    assert file.column(block) == 2
    assert file.text[: file.line_end(block)].endswith("f: g")
    assert file.line_end(literal) == len(file.text)
    assert file.line_break(len(file.text)) == newline
    assert file.error("wrong", block, key="e.f").line == 4


@pytest.mark.parametrize(
    ("text", "at"), [("a: # c\nb: d\n", 2), ("a:  \nb: d\n", 4), ("{a: , b: d}", 4), ("a: ", 3), ("a:", 2)]
)
def test_an_empty_value_stands_behind_its_colon(text: str, at: int) -> None:
    file = parse("x.yaml", text.encode())
    empty = file.get(file.documents[0], "a")
    assert empty
    assert (empty.start, empty.end) == (at, at)
    assert empty.is_null


@pytest.mark.parametrize(
    "text", ["a: b\n---\n", "---\n---\na: b\n", "a: b\n---\n---\n", "a: b\n---\n\n---\nc: d\n", "---\n", ""]
)
def test_a_document_may_be_empty(text: str) -> None:
    file = parse("x.yaml", text.encode())
    wanted = [document for document in file.documents if not document.is_null]
    assert [one.children[0].value for one in wanted] == [key for key in "ac" if f"{key}:" in text]


def test_a_pointer_of_git_lfs_is_called_one() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
    with pytest.raises(ConfigError, match=r"x\.yaml:1: is a Git LFS pointer, not the file itself"):
        parse("x.yaml", pointer)


def test_what_the_parser_s_code_raises_is_an_error_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml:1: not YAML"):
        parse("x.yaml", b'a: "\\UFFFFFFFF"')


def test_apply_keeps_byte_order_mark_and_everything_else() -> None:
    file = parse("x.yaml", "\ufeffa: 漢 # c\r\nb:  d".encode())
    assert apply(file, [value_splice(file, "b", "e", "e"), value_splice(file, "a", "'f'", "f", "'")]) == (
        "\ufeffa: 'f' # c\r\nb:  e".encode()
    )


@pytest.mark.parametrize(
    ("text", "value", "style"),
    [
        ("e", "f", ""),  # another value
        ("'e'", "e", ""),  # another style
        ("e\nc: d", "e", ""),  # another key
        ("&e e", "e", ""),  # an anchor
        ("!!str e", "e", ""),  # a tag
        ("{e", "e", ""),  # not YAML any more
        ("e\n---\n", "e", ""),  # another document
        ("*e", "e", ""),  # an alias
        ("e # c", "e: f", ""),
    ],
)
def test_apply_refuses_what_does_something_else(text: str, value: str, style: str) -> None:
    file = parse("x.yaml", b"# c\na: b\n")
    with pytest.raises(ConfigError, match=r"^x\.yaml:2: no edit here is sure to change nothing else$"):
        apply(file, [value_splice(file, "a", text, value, style)])


def test_deep_nesting_is_no_recursion() -> None:
    depth = 20_000
    with pytest.raises(ConfigError, match=r"x\.yaml:1: nested too deeply"):
        parse("x.yaml", b"a: " + b"[" * depth + b"]" * depth)


def bomb(item: str, levels: int = 12) -> str:
    """A kustomization of some hundred bytes; each level has the one before nine times."""
    lines = [f"x0: &x0 {item}"]
    for level in range(1, levels):
        inside = ", ".join([f"*x{level - 1}"] * 9)
        lines.append(f"x{level}: &x{level} {{<<: [{inside}]}}" if item.startswith("{") else f"x{level}: &x{level} [{inside}]")
    return "\n".join(lines) + "\nresources: [release.yaml]\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [(bomb("[a]"), 6), (bomb("{a: b}"), 6), ("a: &a\n  b:\n  - *a\n", 3), ("a: &a [*a]\n", 1), ("- a\n" * 100_000, 99_999)],
)
def test_what_aliases_blow_up_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"x\.yaml:{line}: 100000 values or more once its aliases are expanded"):
        parse("x.yaml", text.encode())


def test_aliases_of_a_usual_number_are_read() -> None:
    assert parse("x.yaml", bomb("[a]", 4).encode()).documents[0].is_mapping
