"""`promote MODEL --from ENV`: the very version and image that are live there, by a real MLflow, Git and images."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from promoter.kustomize.overlay import deployed
from promoter.models import Release
from tests.support.argo_world import REPOSITORY, World, world
from tests.support.mlflow_server import MlflowServer


@pytest.fixture
def it(tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[World]:
    """Version 1 is in both environments, with images that nobody has; three versions are registered."""
    name = f"detector-{uuid.uuid4().hex[:8]}"
    for number in range(3):
        logged = mlflow_server.log_model({"MLmodel": b"flavors: {}\n", "weights": str(number).encode()})
        mlflow_server.register(name, f"models:/{logged}")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, environments=("staging", "production"), model=name) as one:
        yield one


def promote(it: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "promoter", "promote", *arguments, "--no-watch", "--no-render"]
    config = ["--config", str(it.folder / "promoter.yaml")]
    return subprocess.run(
        [*command, *config], capture_output=True, text=True, env=dict(it.clients.environ), cwd=it.folder, check=False
    )


def in_git(it: World, name: str) -> Release:
    environment = it.clients.environment(name)
    found = deployed(it.clients.repository(environment.application).fetch(), environment)
    assert found
    return found


def test_the_version_and_the_image_that_are_live_are_promoted(it: World) -> None:
    assert promote(it, f"{it.model}:2", "--to", "staging").returncode == 0
    done = promote(it, it.model, "--from", "staging", "--to", "production")
    assert done.returncode == 20, "it is not live yet"
    assert "version 2 is not live in 'staging'" in done.stderr
    it.settle(60)
    done = promote(it, it.model, "--from", "staging", "--to", "production")
    assert done.returncode == 0, done.stderr
    assert (in_git(it, "production"), in_git(it, "production").version) == (in_git(it, "staging"), "2")


def test_another_image_of_the_version_is_refused(it: World) -> None:
    """Somebody wrote another digest next to the version's own tag."""
    assert promote(it, f"{it.model}:2", "--to", "staging").returncode == 0
    file, other = "overlays/staging/kustomization.yaml", "sha256:" + "ab" * 32
    it.remote.commit({file: it.remote.show(file).replace(in_git(it, "staging").digest, other)})
    it.settle(60)
    done = promote(it, it.model, "--from", "staging", "--to", "production")
    assert done.returncode == 20
    assert f"@{other} is live in 'staging', and 'production' would get {it.model}" in done.stderr.replace(REPOSITORY, it.model)
    assert in_git(it, "production").version == "1"


@pytest.mark.parametrize(
    ("arguments", "words"), [(["NAME:2"], "names a version"), (["NAME", "--tag", "v2-x"], "each name an image")]
)
def test_two_names_of_an_image_are_one_too_many(it: World, arguments: list[str], words: str) -> None:
    named = [one.replace("NAME", it.model) for one in arguments]
    done = promote(it, *named, "--from", "staging", "--to", "production")
    assert (done.returncode, words in done.stderr) == (2, True)
