"""Many odd answers for every client of a server: `python -m tests.soak.answers [CASES]`."""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.support.odd_clients import CLIENTS
from tests.test_odd_answers import odd_case

_FIRST = 1_000_000  # seeds that `make test` does not have


def main(cases: int) -> int:
    """The seeds are printed: one that fails fails again. The clients mostly wait, so each has a process of its own."""
    each, first = -(-cases // len(CLIENTS)), _FIRST + int(time.time()) % _FIRST
    print(f"odd answers of {first} to {first + each - 1} for {', '.join(CLIENTS)}", flush=True)
    with ProcessPoolExecutor(len(CLIENTS), mp_context=get_context("spawn")) as pool:
        running = {client: pool.submit(_answers, client, first, each) for client in CLIENTS}
        for client, run in running.items():
            run.result()
            print(f"{client}: {each} answers", flush=True)
    print(f"{each * len(CLIENTS)} odd answers: no error but ours")
    return 0


def _answers(client: str, first: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        odd_case(Path(folder), client, range(first, first + count))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
