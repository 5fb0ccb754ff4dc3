"""What a model takes or gives, column by column, as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def columns(specs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(name, type) of each column or tensor that MLmodel lists; a tensor may have no name."""
    return [(str(spec.get("name") or ""), _kind(spec)) for spec in specs]


def _kind(spec: Mapping[str, Any]) -> str:
    kind = spec.get("type", "")
    if kind == "tensor":
        tensor = spec.get("tensor-spec", {})
        return f"{tensor.get('dtype')}{tensor.get('shape')}"
    return str(kind)
