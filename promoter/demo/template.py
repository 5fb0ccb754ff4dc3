"""The files that a new GitOps repository starts from: base, overlays, environments and promoter.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PARTS = ("base", "overlays", "environments", "promoter.yaml")


def files() -> Iterator[tuple[str, bytes]]:
    """Each file by its path in the new repository: from the wheel, or from the checkout that promoter runs from."""
    root = Path(__file__).parent / "template_files"
    if not root.is_dir():
        root = Path(__file__).parents[2]
    for part in PARTS:
        for path in sorted((root / part).rglob("*")) if (root / part).is_dir() else [root / part]:
            if path.is_file():
                yield path.relative_to(root).as_posix(), path.read_bytes()
