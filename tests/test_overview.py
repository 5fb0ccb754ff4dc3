"""The overview of many environments: as status has them, and asked for one by one only where something differs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.cli.history_text import Form
from promoter.cli.status_text import Lines, status_text
from promoter.commands.overview import overview
from promoter.commands.status import EnvironmentStatus, status
from promoter.errors import ExitCode
from tests.support.argo_world import FAILS, World, WorldClients, digest, world
from tests.support.faults import DOWN, always
from tests.support.mlflow_server import MlflowServer

NAMES = ("staging", "qa", "production")


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ, environments=NAMES) as one:
        yield one


def seen(it: World, clients: WorldClients | None = None) -> list[EnvironmentStatus]:
    found = list(overview(clients or it.clients, it.clients.config.environments))
    assert [one.environment for one in found] == list(NAMES)
    return found


def asked(it: World) -> int:
    """How many of Argo CD's answers were about one Application."""
    return sum(one.call != "list" for one in it.argocd.asked)


def test_those_that_agree_are_not_asked_about(it: World) -> None:
    before = asked(it)
    found = seen(it)
    assert asked(it) == before
    expected = status(it.clients, it.clients.config.environments)
    assert asked(it) > before
    assert found == [replace(one, commit=None, since=None, runs=here.runs) for one, here in zip(expected, found, strict=True)]
    assert [one.runs and (one.runs.model_version, one.runs.image.digest) for one in found] == [("1", digest(1))] * 3


def test_one_that_differs_is_looked_into_and_the_others_are_as_before(it: World) -> None:
    it.behaviours["2"] = FAILS
    it.promote(2)
    it.settle()
    found = seen(it)
    assert [one.agree for one in found] == [False, True, True]
    assert found[0] == status(it.clients, it.clients.config.environments)[0]
    assert found[0].notes[0] == "aborted: Argo Rollouts aborted the update: analysis failed"


def test_an_overlay_that_cannot_be_read_keeps_nothing_from_the_others(it: World) -> None:
    it.remote.commit({"overlays/qa/release.yaml": "{"})
    found = seen(it)
    assert found[1] == status(it.clients, it.clients.config.environments)[1]
    assert found[1].notes
    assert [(one.release and one.release.version, one.agree) for one in (found[0], found[2])] == [("1", True)] * 2


def test_a_freeze_is_shown(it: World) -> None:
    text = "freeze:\n- {environment: qa, model: fraud-detector, until: 2099-01-01T00:00:00Z, reason: audit}\n"
    it.remote.commit({"overlays/qa/promotion.yaml": text.replace("fraud-detector", it.model)})
    found = seen(it)
    assert [bool(one.frozen) for one in found] == [False, True, False]


def test_an_argo_cd_that_is_gone_is_asked_once(it: World) -> None:
    with it.argocd.fault(always(DOWN)):
        found = seen(it)
    assert {(one.agree, one.exit_code) for one in found} == {(None, ExitCode.UNREACHABLE)}
    assert all("Argo CD" in one.notes[0] for one in found)


def test_an_alias_that_moved_on_is_a_difference(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    mlflow_server.register(name, "s3://models/one", alias="champion")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, lines="  alias: champion\n", environments=NAMES) as it:
        assert [(one.agree, one.alias_version) for one in seen(it)] == [(True, "1")] * 3
        mlflow_server.register(name, "s3://models/two", alias="champion")
        found = seen(it)
        assert [(one.agree, one.behind, one.alias_version) for one in found] == [(False, True, "2")] * 3


def test_lines_are_the_table(it: World) -> None:
    """With the widths that its columns are given before anything is known."""
    found, environments = seen(it), it.clients.config.environments
    lines = Lines.of(environments, Form())
    text = lines.head + "".join(map(lines.row, found)) + lines.notes(found)
    assert [line.split() for line in text.splitlines()] == [line.split() for line in status_text(found).splitlines()]
    assert len({line.index("Healthy") for line in text.splitlines()[1:]}) == 1
