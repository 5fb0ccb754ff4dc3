"""The processors that the container may use, and how many threads numerical libraries start on them.

They count the machine's processors, not the container's: on a node with 64, each worker would have 64 threads on a limit of 2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")


def threads_of_libraries(workers: int, cgroup: Path = _CGROUP) -> Mapping[str, str]:
    """Environment variables that give each of `workers` its share of the processors, at least one."""
    share = str(max(1, int(processors(cgroup)) // workers))
    return dict.fromkeys(_VARIABLES, share)


def processors(cgroup: Path = _CGROUP) -> float:
    """The container's limit (cgroup v2 or v1), or the processors that this process may run on if they are fewer."""
    here = float(len(os.sched_getaffinity(0)))
    quota, period = _limit(cgroup)
    return min(here, quota / period) if quota > 0 and period > 0 else here


def _limit(cgroup: Path) -> tuple[int, int]:
    """Microseconds of processor time in a period, and the period; (0, 0) without a limit."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota), int(period)
    except (OSError, ValueError):  # "max", or no such file
        return 0, 0
