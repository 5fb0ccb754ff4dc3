"""libyaml reads what the slow parser reads, as the same values; what only one of them reads is read, and nothing crashes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from promoter.config.yaml import _fast, documents, plain_values
from promoter.errors import ConfigError
from promoter.machine import process
from promoter.transport.boundary import ODD

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for folder in ("base", "overlays", "environments", "tests/data", ".github") for path in (ROOT / folder).rglob("*.y*ml")
)
_BROKEN = (YAMLError, *ODD)
# Scalars whose meaning differs between versions and readers of YAML, and signs that open something.
_WORDS = [
    "yes",
    "on",
    "0o14",
    "014",
    "1_000",
    "1:30",
    "~",
    "null",
    ".inf",
    "1e3",
    "2001-12-14",
    "&a",
    "*a",
    "<<",
    "!!str",
    "é",
    "|",
    ">-",
]
_SIGNS = [
    ": ",
    "- ",
    "\n",
    "\n  ",
    "\n- ",
    ",",
    "[",
    "]",
    "{",
    "}",
    "'",
    '"',
    "#",
    " #",
    "?",
    "a",
    "b",
    "1",
    "\t",
    "\r\n",
    "%",
    "---\n",
]
TEXTS = st.lists(st.sampled_from(_WORDS + _SIGNS), max_size=14).map("".join)


def fast(text: str) -> Any:
    """By libyaml; None if it has a complaint."""
    return _fast(text, "x.yaml")


def slow(text: str) -> Any:
    loader = YAML(typ="safe", pure=True)
    loader.composer.warn_double_anchors = False
    try:
        return list(loader.load_all(text))
    except _BROKEN:
        return None


def test_it_is_libyaml_that_reads() -> None:
    """Of most files: it refuses a URL in a flow mapping."""
    assert sum(fast(path.read_text()) is not None for path in FILES) > len(FILES) / 2 > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_have_the_values_and_lines_that_the_slow_parser_finds(path: Path) -> None:
    text = path.read_text()
    expected = slow(text)
    if expected is None:
        with pytest.raises(ConfigError):
            documents(text, path.name)
        return
    found = documents(text, path.name)
    assert [one.value for one in found] == [value for value in expected if value is not None]
    assert plain_values(text, path.name) == expected
    nodes = [node for node in YAML(typ="safe", pure=True).compose_all(text) if node is not None]
    assert [one.line() for one in found] == [node.start_mark.line + 1 for node in nodes][: len(found)]


@given(TEXTS)
@example_settings(max_examples=2000, deadline=None)
def test_any_text_has_the_values_that_the_slow_parser_finds(text: str) -> None:
    quick, known = fast(text), slow(text)
    assert repr(known if quick is None else quick) == repr(quick if known is None else known)


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 100_000, "- " * 100_000, "? " * 50_000])
def test_what_is_nested_too_deeply_is_an_error_and_no_crash(text: str) -> None:
    """In a process of its own: libyaml's end would be this one's."""
    program = "import sys; from promoter.config.yaml import plain_values; plain_values(sys.stdin.read(), 'deep.yaml')"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = process.run([sys.executable, "-c", program], environ=environ, seconds=600, stdin=text.encode())
    assert (done.status, "deep.yaml" in done.errors) == (1, True), done.errors


def test_a_text_that_names_its_version_is_read_by_it() -> None:
    assert plain_values("%YAML 1.1\n---\na: yes\n", "x.yaml") == [{"a": True}]
    assert plain_values("a: yes\n", "x.yaml") == [{"a": "yes"}]


def test_an_error_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml:3: ") as twice:
        documents("a: 1\nb: 2\na: 3\n", "x.yaml")
    assert "duplicate key" in str(twice.value)
    (document,) = documents("a: {url: https://example.com/x}\nb:\n- 1\n- c: 2\n", "x.yaml")
    assert document.value["a"] == {"url": "https://example.com/x"}
    assert document.line(("b", 1, "c")) == 4
