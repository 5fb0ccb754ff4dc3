"""Promoters, reconciles and people in many random orders: `python -m tests.soak.interleavings [ORDERS [FIRST SEED]]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.support.interleaving import without_rendering
from tests.test_interleavings import problems, random_world, told

_FIRST = 1_000_000  # seeds that `make test` does not have


def main(orders: int, first: int) -> int:
    """The seeds are printed: one that fails fails again."""
    patch = without_rendering()
    print(f"orders of {first} to {first + orders - 1}", flush=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(first, first + orders):
                made = random_world(Path(folder), seed)
                if found := problems(made):
                    print(f"seed {seed}: {found}\n{told(made)}")
                    return 1
    finally:
        patch.undo()
    print(f"{orders} orders: no decision violated, nothing lost")
    return 0


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    sys.exit(main(given[0] if given else 10_000, given[1] if given[1:] else _FIRST + int(time.time()) % _FIRST))
