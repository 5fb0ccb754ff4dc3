"""Kinds of models × lines of MLflow, each made in an environment of that MLflow, and answered for by promoter's server.

`python -m benchmarks.models` writes the table into docs/serving.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from benchmarks.figures import Figure, Section
from tests.support.kind_matrix import KINDS, LINES, NEWEST_ONLY, TORCH_KINDS, TORCH_LINE, Cell, cells, torch_cells

PAGE = Path(__file__).parents[1] / "docs/serving.md"
BEGIN, END = "<!-- kinds: written by `make bench` -->\n", "<!-- end of kinds -->\n"


def measure() -> Section:
    """Its note is the table."""
    found = {}
    for line in LINES:
        print(f"kinds of models: MLflow {line}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            more = torch_cells(Path(folder)) if line == TORCH_LINE else ()
            found[line] = list(chain(cells(line, Path(folder)), more))
    every = [cell for line in found.values() for cell in line]
    wrong = [cell for cell in every if not cell.same and not cell.refused]
    served = ("served, with the predictions of `mlflow.pyfunc`", f"{sum(cell.same for cell in every)} pairs")
    refused = ("refused before anything is made", f"{sum(cell.refused for cell in every)} pairs")
    return Section(
        f"Kinds of models and lines of MLflow: {len(every)} pairs",
        (served, refused, *((f"{cell.kind}, MLflow {cell.line}", cell.why or "other predictions") for cell in wrong)),
        (Figure("neither served nor refused", len(wrong), at_most=0, unit="pairs"),),
        (table(found, [*KINDS, *TORCH_KINDS]),),
    )


def table(lines: Mapping[str, Sequence[Cell]], kinds: Sequence[str]) -> str:
    """A row for each kind, a column for each line; – where that MLflow has no such kind."""
    words = {(cell.kind, line): _word(cell) for line, found in lines.items() for cell in found}
    rows = [f"| | {' | '.join(lines)} |", "|---" * (len(lines) + 1) + "|"]
    for kind in kinds:
        none = "not tried" if kind in NEWEST_ONLY else "–"
        rows.append(f"| {kind} | {' | '.join(words.get((kind, line), none) for line in lines)} |")
    return "\n".join(rows)


def write(text: str) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{text}\n{END}{rest.partition(END)[2]}")


def _word(cell: Cell) -> str:
    return "same" if cell.same else "refused" if cell.refused else "differs"


if __name__ == "__main__":
    section = measure()
    write(section.notes[0])
    print(section.markdown())
