"""Watching a release over real HTTP: what Argo CD answers in bad weather, what it costs, and when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from promoter.errors import ExitCode
from promoter.verdict import Kind
from tests.support.argo_world import World, world


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def test_a_release_is_followed_until_it_is_live(it: World) -> None:
    ending = it.follow(it.promote(2))
    assert (ending.exit_code, ending.verdict.kind) == (ExitCode.DONE, Kind.LIVE)
    assert [one.kind for one in it.told][-1] is Kind.LIVE
