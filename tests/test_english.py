"""Words that an English-speaking engineer would not write stay out of the code and the pages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import promoter

ROOT = Path(__file__).parents[1]
WRONG = re.compile(
    r"\b(anew|mends?|mended|all the same|(?:is|are) told|tells? of|hears? of|heard of|holds? no)\b", re.IGNORECASE
)
WRITTEN = ["benchmarks.md", "cluster-results.md", "cluster-peers.md"]
"""Pages that programs write."""
TRANSLATED = re.compile(
    r"\b(says|said|told|tells|ours|besides?|there (?:is|are) no|hears?|heard)\b|\bNone where\b", re.IGNORECASE
)
"""Words that are rarely right in comments and docstrings: they made whole files read as if translated."""
ALLOWED = {
    "`told` and `said`": "names of the tests' world",
    "`says` holds": "a name of the fake engine",
    "somebody else's": "'ours' is the opposite of somebody else's",
    "ours may no longer": "'ours' is the opposite of another release",
}
"""Phrases in whose lines such a word may stay, with the reason."""


def _code() -> list[Path]:
    """promoter, its tests and its benchmarks, but for this file, which names the words."""
    folders = [Path(promoter.__file__).parent, ROOT / "tests", ROOT / "benchmarks"]
    return [path for folder in folders for path in folder.rglob("*.py") if path != Path(__file__).resolve()]


def _texts(source: str) -> Iterator[tuple[int, str]]:
    """The comments and docstrings, each with the number of its line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from enumerate(node.value.value.splitlines(), node.lineno)


def test_they_stay_out() -> None:
    code = _code()
    pages = [path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")] if path.name not in WRITTEN]
    assert len(code) > 400
    assert len(pages) > 10
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in [*code, *pages]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := WRONG.search(line))
    ]
    assert not found


def test_comments_and_docstrings_do_not_read_as_if_translated() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _code()
        for number, line in _texts(path.read_text())
        if TRANSLATED.search(line) and not any(phrase in line for phrase in ALLOWED)
    ]
    assert not found


def test_texts_are_found() -> None:
    assert list(_texts('"""One."""\n\n\ndef f():\n    """Two."""\n    return 1  # three\n')) == [
        (6, "# three"),
        (1, "One."),
        (5, "Two."),
    ]
