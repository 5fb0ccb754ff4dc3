"""Manifests and overlays that went wrong, many of them: `python -m tests.soak.mutations [SEEDS]`."""

from __future__ import annotations

import sys
import time
import traceback

from tests.test_mutations import READERS

_FIRST = 1_000_000  # seeds that `make test` does not have


def main(seeds: int) -> int:
    """The seeds are printed: one that fails fails again."""
    first = _FIRST + int(time.time()) % _FIRST
    print(f"seeds {first} to {first + seeds - 1}", flush=True)
    for seed in range(first, first + seeds):
        for name, read in READERS.items():
            try:
                read(seed)
            except Exception:
                print(f"{name}, seed {seed}")
                traceback.print_exc()
                return 1
    print(f"{seeds} seeds of {', '.join(READERS)}: each was read or refused")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
