"""Cells of the table of faults, in an order that a seed decides: `python -m tests.soak.faults [CELLS [SEED]]`; 0 is all of them."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.table import ROWS, runnable, table
from tests.support.mlflow_server import running


def main(cells: int, seed: int) -> int:
    """The seed and every cell that goes wrong are printed."""
    if not runnable():
        print("no faults: a small file system can't be mounted here")
        return 0
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mlflow").mkdir()
        with running(folder / "mlflow") as mlflow, table(folder, mlflow) as it:
            every = [cell for row in ROWS for cell in it.cells(row)]
            random.Random(seed).shuffle(every)
            chosen = every[: cells or len(every)]
            print(f"{len(chosen)} of {len(every)} cells, seed {seed}", flush=True)
            for cell in chosen:
                if found := it.problems(cell):
                    wrong += 1
                    print(f"{cell}\n  " + "\n  ".join(found), flush=True)
    print(f"{len(chosen)} cells, {wrong} wrong; by fault {dict(Counter(cell.fault for cell in chosen))}")
    return min(wrong, 1)


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    sys.exit(main(given[0] if given else 400, given[1] if given[1:] else int(time.time()) % 1_000_000))
