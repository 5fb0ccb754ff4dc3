"""Model folders that somebody prepared, and stores that MLflow's client reads one file at a time."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from promoter.errors import RefusedError, UnreachableError
from promoter.image.layer import content_digest
from promoter.model_registry import settings
from promoter.model_registry.artifacts import LocalArtifacts
from promoter.model_registry.client import ClientArtifacts
from promoter.model_registry.proxied import ProxiedArtifacts
from promoter.model_registry.server import TrackingServer
from promoter.models import ModelFile
from tests.support.mlflow_server import MlflowServer

CREATED = datetime(2026, 11, 22, tzinfo=UTC)


def hostile_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's address is short
        try:
            bound.bind(path.name)
        finally:
            os.chdir(before)


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root may make a device (/dev/zero)")


HOSTILE: dict[str, Callable[[Path], None]] = {
    "a link out": lambda path: path.symlink_to("/etc/passwd"),
    "a link to a folder": lambda path: path.symlink_to("/etc"),
    "a link inside": lambda path: path.symlink_to("MLmodel"),
    "a link to nowhere": lambda path: path.symlink_to("gone"),
    "a pipe": lambda path: os.mkfifo(path),
    "a socket": hostile_socket,
    "a device": device,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "MLmodel").write_bytes(b"flavors: {}\n")
    (tmp_path / "data" / "weights").write_bytes(b"12345")
    return tmp_path


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["evil", "data/evil"])
def test_what_is_neither_file_nor_folder_is_refused_unread(folder: Path, kind: str, name: str) -> None:
    HOSTILE[kind](folder / name)
    with pytest.raises(RefusedError, match=r"evil is .*, in the model's folder"):
        LocalArtifacts(str(folder)).list(CREATED)


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_became_of_a_file_since_it_was_listed_is_refused(folder: Path, kind: str) -> None:
    artifacts = LocalArtifacts(folder.as_uri())
    files = artifacts.list(CREATED)
    (folder / "data" / "weights").unlink()
    HOSTILE[kind](folder / "data" / "weights")
    with pytest.raises(RefusedError, match="weights is"):
        content_digest(files, artifacts.open)


def test_a_folder_that_became_a_link_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    artifacts, elsewhere = LocalArtifacts(str(folder)), tmp_path_factory.mktemp("elsewhere")
    files = artifacts.list(CREATED)
    (folder / "data").rename(elsewhere / "data")
    (folder / "data").symlink_to(elsewhere / "data")
    with pytest.raises(RefusedError, match="weights is"):
        content_digest(files, artifacts.open)


@pytest.mark.parametrize("name", [b"new\nline", b"not utf-8 \xff", b"back\\slash", b"\x1b[31m"])
def test_a_name_that_means_something_else_somewhere_is_refused(folder: Path, name: bytes) -> None:
    try:
        (folder / os.fsdecode(name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system does not take such a name")
    with pytest.raises(RefusedError) as error:
        LocalArtifacts(str(folder)).list(CREATED)
    assert error.value.message.isprintable()


def test_more_files_than_a_model_has_are_refused(tmp_path: Path) -> None:
    for number in range(10_001):
        (tmp_path / str(number)).touch()
    with pytest.raises(RefusedError, match="more than 10000 files"):
        LocalArtifacts(str(tmp_path)).list(CREATED)


def test_a_folder_without_files_has_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert LocalArtifacts(str(tmp_path)).list(CREATED) == ()


# -- through MLflow's client ------------------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, and the environment put back as it was."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = dict(os.environ)
    yield folder
    os.environ.clear()
    os.environ.update(before)


def test_files_of_a_remote_store_pass_through_the_disk_one_by_one(mlflow_server: MlflowServer, temporary: Path) -> None:
    path = "0/models/one-by-one/artifacts"
    files = {"MLmodel": b"flavors: {}\n", "data/a": bytes(300_000), "data/b": b"b" * 300_000, "größe.bin": b"x"}
    mlflow_server.put(f"mlflow-artifacts:/{path}", files)
    found = settings.read(mlflow_server.environ)
    remote = ClientArtifacts(f"{mlflow_server.url}/api/2.0/mlflow-artifacts/artifacts/{path}", found)
    listed = remote.list(CREATED)
    assert listed == tuple(ModelFile(name, len(data)) for name, data in sorted(files.items()))

    on_disk = []

    def watched(file: ModelFile):  # type: ignore[no-untyped-def]
        opened = remote.open(file)
        on_disk.append([entry for entry in temporary.rglob("*") if entry.is_file()])
        return opened

    proxied = ProxiedArtifacts(TrackingServer(found.tracking_uri, found), path)
    assert content_digest(listed, watched) == content_digest(proxied.list(CREATED), proxied.open)
    # Nothing of one file is left when the next one is asked for.
    assert on_disk == [[], [], [], []]
    assert list(temporary.iterdir()) == []


def test_nothing_is_left_on_the_disk_when_reading_breaks_off(mlflow_server: MlflowServer, temporary: Path) -> None:
    path = "0/models/broken-off/artifacts"
    mlflow_server.put(f"mlflow-artifacts:/{path}", {"MLmodel": b"flavors: {}\n"})
    remote = ClientArtifacts(
        f"{mlflow_server.url}/api/2.0/mlflow-artifacts/artifacts/{path}", settings.read(mlflow_server.environ)
    )

    def breaking() -> None:
        with remote.open(ModelFile("MLmodel", 12)) as content:
            assert content.read(3) == b"fla"
            assert [entry.name for entry in temporary.rglob("*") if entry.is_file()] == ["MLmodel"]
            raise RefusedError("broken off")

    with pytest.raises(RefusedError, match="broken off"):
        breaking()
    assert list(temporary.iterdir()) == []
    with pytest.raises(UnreachableError, match=r"failures .* 404"), remote.open(ModelFile("gone", 3)):
        pass
    assert list(temporary.iterdir()) == []


def test_one_limit_of_files_and_folders_for_every_store(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    """300 folders are a model like any other; a limit is one for the server, a folder here, and what MLflow's client reads."""
    files = {f"part-{number}/weights": b"w" for number in range(300)}
    mlflow_server.put("mlflow-artifacts:/many", files)
    mlflow_server.put(f"file://{tmp_path}/many", files)

    def stores(most: int) -> list[LocalArtifacts | ProxiedArtifacts | ClientArtifacts]:
        found = replace(settings.read(mlflow_server.environ), most_files=most)
        server = TrackingServer(mlflow_server.url, found)
        here = f"{tmp_path}/many"
        return [ProxiedArtifacts(server, "many", most), LocalArtifacts(here, most), ClientArtifacts(f"file://{here}", found)]

    assert [len(artifacts.list(CREATED)) for artifacts in stores(300)] == [300, 300, 300]
    for artifacts in stores(299):
        with pytest.raises(RefusedError, match=r"the model version has more than 299 (files|folders)") as refused:
            artifacts.list(CREATED)
        assert "image.max-files" in refused.value.hint


def test_etags_that_take_too_long_are_given_up_for_all_files(mlflow_server: MlflowServer) -> None:
    """Some of them would prove nothing about the version."""
    mlflow_server.put("mlflow-artifacts:/slow", {"MLmodel": b"flavors: {}", **{f"part-{number}": b"w" for number in range(40)}})
    server = TrackingServer(mlflow_server.url, settings.read(mlflow_server.environ))
    later = datetime.now(UTC) + timedelta(days=1)
    known = ProxiedArtifacts(server, "slow", etag_seconds=600).list(later)
    given_up = ProxiedArtifacts(server, "slow", etag_seconds=0).list(later)
    assert {bool(file.etag) for file in known} == {True}
    assert {file.etag for file in given_up} == {None}
    assert [file.path for file in known] == [file.path for file in given_up]
