"""The OCI layout folder: many processes at once, killed at any moment, damaged by others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from promoter.errors import RefusedError, UnreachableError, UsageError
from promoter.image.layout import LayoutRepository
from promoter.image.oci import MANIFEST, Descriptor, read_bytes, sha256
from tests.support.models import manifest

REPOSITORY = "registry.example/fraud-detector"


def assert_valid(path: Path) -> dict[str, str]:
    """The layout as the specification wants it; its names with their digests."""
    assert json.loads((path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((path / "index.json").read_text())
    for blob in (path / "blobs" / "sha256").iterdir():
        assert sha256(blob.read_bytes()) == f"sha256:{blob.name}"
    for entry in index["manifests"]:
        assert (path / "blobs" / "sha256" / entry["digest"][7:]).stat().st_size == entry["size"]
    return {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index["manifests"]}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    layout = LayoutRepository(tmp_path / "new" / "layout", REPOSITORY)
    assert layout.read_manifest("v1") is None
    assert layout.write_blob([b"ab", b"c"], 3) == sha256(b"abc")
    assert layout.has_blob(sha256(b"abc"))
    assert not layout.has_blob(sha256(b"other"))
    assert read_bytes(layout, Descriptor("x", sha256(b"abc"), 3)) == b"abc"
    assert layout.create_manifest("v1", manifest(1)) == manifest(1)
    assert layout.read_manifest("v1") == layout.read_manifest(sha256(manifest(1))) == manifest(1)
    assert assert_valid(tmp_path / "new" / "layout") == {f"{REPOSITORY}:v1": sha256(manifest(1))}
    assert sorted(path.name for path in (tmp_path / "new" / "layout").iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_tag_is_never_moved_and_other_repositories_have_their_own(tmp_path: Path) -> None:
    layout, other = LayoutRepository(tmp_path, REPOSITORY), LayoutRepository(tmp_path, "registry.example/other")
    layout.create_manifest("v1", manifest(1))
    assert layout.create_manifest("v1", manifest(2)) == manifest(1)
    assert other.create_manifest("v1", manifest(3)) == manifest(3)
    assert layout.read_manifest("v1") == manifest(1)


def test_an_image_is_found_by_its_whole_name_its_tag_or_because_it_is_the_only_one(tmp_path: Path) -> None:
    layout = LayoutRepository(tmp_path, REPOSITORY)
    with pytest.raises(UsageError, match="not an OCI image layout"):
        layout.reference_named(None)
    layout.create_manifest("v1", manifest(1))
    layout.create_manifest("v1.listing", manifest(1))
    assert layout.reference_named(None) == sha256(manifest(1))
    layout.create_manifest("v2", manifest(2))
    assert layout.reference_named("v2") == layout.reference_named(f"{REPOSITORY}:v2") == sha256(manifest(2))
    for ref in (None, "v3"):
        with pytest.raises(UsageError) as error:
            layout.reference_named(ref)
        assert f"{REPOSITORY}:v2" in error.value.hint


def test_foreign_entries_of_the_index_are_kept(tmp_path: Path) -> None:
    foreign = {"mediaType": MANIFEST, "digest": sha256(b"x"), "size": 1, "platform": {"os": "linux", "architecture": "arm64"}}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "annotations": {"a": "b"}, "manifests": [foreign]}))
    LayoutRepository(tmp_path, REPOSITORY).create_manifest("v1", manifest(1))
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["manifests"][0] == foreign
    assert index["annotations"] == {"a": "b"}


@pytest.mark.parametrize("text", ["", "[]", '{"manifests": 1}', "{"])
def test_a_damaged_index_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    layout = LayoutRepository(tmp_path, REPOSITORY)
    with pytest.raises(RefusedError, match=r"index\.json"):
        layout.create_manifest("v1", manifest(1))
    assert (tmp_path / "index.json").read_text() == text


def test_damaged_and_missing_blobs_are_refused(tmp_path: Path) -> None:
    layout = LayoutRepository(tmp_path, REPOSITORY)
    blob = Descriptor("x", layout.write_blob([b"abc"], 3), 3)
    for wrong in (b"abd", b"ab", b"abcd", b""):
        (tmp_path / "blobs" / "sha256" / blob.digest[7:]).write_bytes(wrong)
        with pytest.raises(RefusedError, match="does not match its digest"):
            read_bytes(layout, blob)
    (tmp_path / "blobs" / "sha256" / blob.digest[7:]).unlink()
    with pytest.raises(RefusedError, match="can't be read"):
        read_bytes(layout, blob)
    with pytest.raises(RefusedError, match="not a sha256 digest"):
        layout.has_blob("sha256:../../../etc/passwd")


def test_a_stream_of_another_size_or_that_fails_leaves_nothing(tmp_path: Path) -> None:
    layout = LayoutRepository(tmp_path, REPOSITORY)
    with pytest.raises(RefusedError, match="2 bytes came for a blob of 3"):
        layout.write_blob([b"ab"], 3)

    def broken() -> Iterator[bytes]:
        yield b"ab"
        raise RefusedError("it changed")

    with pytest.raises(RefusedError, match="it changed"):
        layout.write_blob(broken(), 3)
    assert not list((tmp_path / "blobs" / "sha256").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreachableError, match="can't be written"):
        LayoutRepository(tmp_path / "file" / "layout", REPOSITORY).write_blob([b"x"], 1)


TAGGING = """
import sys
from pathlib import Path
from promoter.image.layout import LayoutRepository
from tests.support.models import manifest
layout, number = LayoutRepository(Path(sys.argv[1]), sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(2):
    layout.write_blob([b"%d %d" % (number, turn)] * 1000, len(b"%d %d" % (number, turn)) * 1000)
    layout.create_manifest(f"v{number}-{turn}", manifest(number * 10 + turn))
    layout.create_manifest("shared", manifest(number))
"""


def test_sixteen_processes_tag_one_new_layout_and_no_tag_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "layout"
    start = [sys.executable, "-c", TAGGING, str(path), REPOSITORY]
    processes = [subprocess.Popen([*start, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for number in range(16)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.communicate(b"go\n")
    assert [process.returncode for process in processes] == [0] * 16
    names = assert_valid(path)
    expected = {f"{REPOSITORY}:v{n}-{turn}": sha256(manifest(n * 10 + turn)) for n in range(16) for turn in range(2)}
    assert {name: digest for name, digest in names.items() if not name.endswith(":shared")} == expected
    assert names[f"{REPOSITORY}:shared"] in {sha256(manifest(number)) for number in range(16)}


def test_what_a_killed_writer_left_is_swept_by_the_next_but_not_a_live_one(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from promoter.image.layout import LayoutRepository
def chunks():
    yield b"half"
    print("half", flush=True)
    sys.stdin.readline()
    yield b"whole"
LayoutRepository(Path(sys.argv[1]), "x").write_blob(chunks(), 9)
"""
    start = [sys.executable, "-c", program, str(tmp_path)]
    dead, live = (subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2))
    for process in (dead, live):
        assert process.stdout
        assert process.stdout.readline() == b"half\n"
    assert len(list(tmp_path.glob(".upload-*"))) == 2
    os.kill(dead.pid, signal.SIGKILL)
    dead.communicate()
    LayoutRepository(tmp_path, "x").write_blob([b"x"], 1)
    assert len(list(tmp_path.glob(".upload-*"))) == 1
    live.communicate(b"go on\n")
    assert live.returncode == 0
    assert not list(tmp_path.glob(".upload-*"))
    assert LayoutRepository(tmp_path, "x").has_blob(sha256(b"halfwhole"))
