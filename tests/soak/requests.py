"""Random requests to MLflow's scoring server and to promoter's: python -m tests.soak.requests [COUNT] [SEED]."""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path

from tests.support.differential import MODELS, differences


def main(count: int, seed: int) -> int:
    """COUNT requests for each of the models; every difference is printed, and the exit code is 1 if there is one."""
    print(f"{count} requests for each of {', '.join(MODELS)}, seed {seed}")
    found = 0
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            for difference in differences(model, Path(folder) / model, seed, count):
                print(difference)
                found += 1
    print(f"{found} differences")
    return 1 if found else 0


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(given[0] if given else 20_000, given[1] if len(given) > 1 else secrets.randbelow(10**9)))
