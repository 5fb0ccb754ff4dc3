"""Packages that promoter needs for some of what it does: extras of its own package, named when one is missing."""

from __future__ import annotations

PUBLISHED = False
"""Whether a package index has promoter. At the first release this and the section Install of README.md change, nothing else."""


def install(extra: str) -> str:
    """What a person does to have an extra, as the beginning of a hint."""
    if PUBLISHED:
        return f"pip install 'model-promoter[{extra}]'"
    return f"install promoter with its extra {extra} (pip install '.[{extra}]' in a checkout)"
