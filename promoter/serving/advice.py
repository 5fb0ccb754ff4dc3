"""Whether a model waits more than it computes, and what to set then: seen in the one call that every start makes anyway."""

from __future__ import annotations

import math
import time
from pathlib import Path

_SCHEDULED = Path("/proc/thread-self/schedstat")
_SHORTEST = 0.002  # seconds: less is the machine's, not the model's
_FEWEST, _MOST = 3, 16  # calls at a time


def busy_seconds(scheduled: Path = _SCHEDULED) -> float:
    """What this process has computed, and what this thread has waited for a processor; infinite where that is unknown.

    A thread that waits for a processor on a busy node, or for the next period of the container's limit, would use it.
    """
    try:
        waited = int(scheduled.read_text().split()[1])  # https://docs.kernel.org/scheduler/sched-stats.html
    except (OSError, ValueError, IndexError):
        return math.inf
    return time.process_time() + waited / 1e9


def concurrency_for(seconds: float, busy: float) -> str:
    """What to set for a model whose call took so long and was busy so long; "" where nothing is to be gained.

    As many calls as keep one processor busy. The first call of a process computes more than any later one.
    """
    if math.isnan(busy) or seconds < _SHORTEST or seconds < _FEWEST * busy:
        return ""
    calls = min(int(seconds / max(busy, 0.0001)), _MOST)
    return (
        f"the model waited for {seconds - busy:.3f} of the {seconds:.3f} s that its example took: if threads may call it, "
        f'CONCURRENCY={calls}, or log_model(..., metadata={{"concurrency": {calls}}}), answers others meanwhile'
    )
