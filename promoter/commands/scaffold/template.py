"""The files that a new GitOps repository starts from: base, overlays, environments and promoter.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from promoter.models import Ci

PARTS = ("base", "overlays", "environments", "promoter.yaml")
_PIPELINES = {
    Ci.GITHUB: (".github/workflows/deploy-on-model-promotion.yml", ".github/workflows/watch-on-merge.yml"),
    Ci.AZURE: ("azure-pipelines.yml",),
}


def files() -> Iterator[tuple[str, bytes]]:
    """Each file by its path in the new repository: from the wheel, or from the checkout that promoter runs from."""
    root = _root()
    for part in PARTS:
        for path in sorted((root / part).rglob("*")) if (root / part).is_dir() else [root / part]:
            if path.is_file():
                yield path.relative_to(root).as_posix(), path.read_bytes()


def pipelines(ci: Ci) -> Iterator[tuple[str, bytes]]:
    """The pipelines of a CI system, by path, as `files`."""
    for path in _PIPELINES[ci]:
        yield path, (_root() / path).read_bytes()


def _root() -> Path:
    packed = Path(__file__).parent / "template_files"
    return packed if packed.is_dir() else Path(__file__).parents[3]
