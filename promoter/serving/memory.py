"""The memory that a container uses, as Kubernetes counts it against the limit."""

from __future__ import annotations

import re
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def working_set(cgroup: Path = CGROUP) -> int | None:
    """Bytes in use, without file pages that could be dropped (cgroup v2 or v1). None: the kernel does not show it.

    https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/ (memory.available)
    """
    places = ((cgroup, "memory.current", "inactive_file"), (cgroup / "memory", "memory.usage_in_bytes", "total_inactive_file"))
    for folder, file, idle in places:
        try:
            used = int((folder / file).read_text())
            match = re.search(rf"^{idle} (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
        except (OSError, ValueError):
            continue
        return max(0, used - (int(match[1]) if match else 0))
    return None
