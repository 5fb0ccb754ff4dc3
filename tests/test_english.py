"""Words that an English-speaking engineer would not write stay out of the code and the pages."""

from __future__ import annotations

import re
from pathlib import Path

import promoter

ROOT = Path(__file__).parents[1]
WRONG = re.compile(
    r"\b(anew|mends?|mended|all the same|(?:is|are) told|tells? of|hears? of|heard of|holds? no)\b", re.IGNORECASE
)
WRITTEN = ["benchmarks.md", "cluster-results.md", "cluster-peers.md"]
"""Pages that programs write."""


def test_they_stay_out() -> None:
    code = [path for path in Path(promoter.__file__).parent.rglob("*.py") if "serving" not in path.parts]
    pages = [path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")] if path.name not in WRITTEN]
    assert len(code) > 150
    assert len(pages) > 10
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in [*code, *pages]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := WRONG.search(line))
    ]
    assert not found
