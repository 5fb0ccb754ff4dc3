"""Addresses of the project in the package's metadata: those of the repository whose pipeline builds it.

A build anywhere else has none: the project has no published address of its own, and a wrong one is worse.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Addresses(MetadataHookInterface):
    """`[project.urls]` from the variables that GitHub Actions sets in every job."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds the addresses; `metadata` is the [project] table."""
        repository = os.environ.get("GITHUB_REPOSITORY")
        metadata["urls"] = _addresses(repository) if repository else {}


def _addresses(repository: str) -> dict[str, str]:
    address = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}"
    return {
        "Source": address,
        "Documentation": f"{address}/tree/main/docs",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
        "Issues": f"{address}/issues",
        "Security": f"{address}/blob/main/SECURITY.md",
    }
