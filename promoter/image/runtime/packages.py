"""Debian packages that a base image lacks, as messages name them."""

from __future__ import annotations

import re

_DEBIAN = re.compile(r"\(Debian: ([^)]+)\)")


def base_hint(message: str) -> str:
    """How a base gets what a message names as `(Debian: PACKAGE)`."""
    packages = sorted(set(_DEBIAN.findall(message)))
    instead = "set image.base to an image that has it"
    return f"set image.packages: [{', '.join(packages)}], or {instead.removeprefix('set ')}" if packages else instead
