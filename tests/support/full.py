"""Cases that are too slow for `make test` in full number: it has the few that show the most, and `make soak` has the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def few(cases: Iterable[Any], *kept: str) -> list[Any]:
    """The cases as parameters, those that are not `kept` (by the first of their values) marked as `full`."""
    return [pytest.param(*values, marks=() if str(values[0]) in kept else pytest.mark.full) for values in map(_values, cases)]


def _values(case: Any) -> Sequence[Any]:
    return case if isinstance(case, tuple) else (case,)
