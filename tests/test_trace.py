"""What a promotion and a delivery read: each thing once. Counted by the benchmark's own trace."""

from __future__ import annotations

from benchmarks import trace


def test_everything_is_read_once() -> None:
    section = trace.measure()
    missed = [f"{figure.name}: {figure.value:g}, {figure.bar}" for figure in section.figures if not figure.met]
    assert not missed
