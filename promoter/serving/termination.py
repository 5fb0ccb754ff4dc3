"""The container's termination message: what Kubernetes, and so Argo CD's dashboard, shows with a pod that has ended."""

from __future__ import annotations

import os
from pathlib import Path

_FILE = Path("/dev/termination-log")


def leave_message(text: str) -> None:
    """Nothing happens outside of Kubernetes, whose kubelet puts the file there."""
    if os.access(_FILE, os.W_OK):
        _FILE.write_text(text)
