"""Which environments a pipeline has to watch after a push."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from promoter.commands.changed import changed
from promoter.errors import RefusedError
from tests.support.argo_world import World, overlay, world

NOWHERE = "0123456789" * 4


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("changed"), os.environ, environments=("staging", "production", "empty")) as one:
        kustomization = overlay(1)["overlays/staging/kustomization.yaml"].replace("v1-20261101T090000Z", '""')
        empty = kustomization.replace(f"  digest: sha256:{'01' * 32}\n", "").replace('newTag: ""', "newTag: latest")
        release = overlay(1)["overlays/staging/release.yaml"].replace('"1"', '""')
        one.remote.commit({"overlays/empty/kustomization.yaml": empty, "overlays/empty/release.yaml": release})
        yield one


def names(it: World, **options: str | None) -> list[str]:
    return [one.environment for one in changed(it.clients, it.clients.config.environments, **options)]


def test_without_a_commit_to_compare_with_it_is_every_environment_with_a_release(it: World) -> None:
    tip = it.remote.tip()
    for since in (None, "0" * 40, NOWHERE):
        assert names(it, since=since, commit=tip)[:2] == ["staging", "production"], since
    assert names(it, since=tip) == []


def test_it_is_the_commit_that_brought_the_release_that_counts(it: World) -> None:
    before = it.remote.tip()
    brought = it.remote.commit(overlay(5))
    it.remote.commit({"overlays/production/notes.yaml": "# nothing\n"})
    [found] = changed(it.clients, it.clients.config.environments, since=before)
    assert (found.environment, found.model, found.commit) == ("staging", it.model, brought)
    own = it.promote(6, Promotion_Id="1").commit.sha
    assert names(it, since=brought, commit=own) == []
    assert names(it, since=before, commit=brought) == ["staging"]


def test_a_commit_that_is_not_there(it: World) -> None:
    with pytest.raises(RefusedError, match="has no commit"):
        names(it, commit=NOWHERE)
