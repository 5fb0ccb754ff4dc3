"""The model layer: the same bytes everywhere, readable by everybody, safe with hostile files."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promoter.errors import RefusedError, UnreachableError
from promoter.image.layer import Open, content_digest, pack, packed_size, sort_checked
from promoter.models import ModelFile
from promoter.serving.content import content_digest as served_digest
from tests.support.models import listing, store

# Written down once: a change of these is a change of every image that anybody ever pinned.
GOLDEN_LAYER = "684c1c7c6f054151d6e483fea2f7edd068f5fca3d5713f599f12d78951da6ed9"
GOLDEN_CONTENT = "sha256:0929a87406f7a139b93211f038a51a3a53664697d0bf45d46e18f7cf66fd738e"
GOLDEN_FILES: Mapping[str, bytes] = {
    "MLmodel": b"flavors: {}\n",
    "data/model.bin": bytes(range(256)) * 4099,
    "data-2/x": b"sorts between data and data/",
    "empty": b"",
    "größe/模型.bin": b"not ASCII",
    "deep/" + "d" * 60 + "/" + "f" * 60: b"longer than a USTAR name",
}


def packed(files: tuple[ModelFile, ...], open_file: Open) -> tuple[bytes, str]:
    """The whole layer, and the content digest that the generator returns."""
    result: list[str] = []

    def chunks() -> Iterator[bytes]:
        result.append((yield from pack(files, open_file)))

    return b"".join(chunks()), result[0]


def test_layer_and_content_digest_never_change() -> None:
    layer, content = packed(listing(GOLDEN_FILES), store(GOLDEN_FILES).open)
    assert hashlib.sha256(layer).hexdigest() == GOLDEN_LAYER
    assert content == GOLDEN_CONTENT


def test_order_etags_and_chunks_of_the_listing_do_not_matter() -> None:
    class OneByte(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    files = {path: data[:2000] for path, data in GOLDEN_FILES.items()}
    backwards = tuple(reversed(listing(files, etag="e")))
    dribbled = packed(backwards, lambda file: closing(OneByte(files[file.path])))
    assert dribbled == packed(listing(files), store(files).open)


def test_tarfile_reads_it_back_with_folders_first_and_nothing_of_this_machine() -> None:
    layer, _ = packed(listing(GOLDEN_FILES), store(GOLDEN_FILES).open)
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        members = tar.getmembers()
        read = {member.name: tar.extractfile(member) for member in members if member.isfile()}
        assert {name: file.read() for name, file in read.items() if file} == {
            f"opt/model/{path}": data for path, data in GOLDEN_FILES.items()
        }
    names = [member.name for member in members]
    assert names[:2] == ["opt", "opt/model"]
    assert names == sorted(names, key=str.encode)
    assert all(str(Path(name).parent) in {*names, "."} for name in names)
    assert {(member.uid, member.gid, member.uname, member.gname, member.mtime) for member in members} == {(0, 0, "", "", 0)}
    assert {oct(member.mode) for member in members if member.isfile()} == {"0o644"}
    assert {oct(member.mode) for member in members if member.isdir()} == {"0o755"}


def test_gnu_tar_reads_it_too(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("tar is not installed")
    layer, _ = packed(listing(GOLDEN_FILES), store(GOLDEN_FILES).open)
    done = subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=layer, capture_output=True, check=True)
    assert done.stderr == b""
    assert (tmp_path / "opt/model/größe/模型.bin").read_bytes() == b"not ASCII"


def test_the_content_digest_is_what_sha256sum_reports(tmp_path: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    for path, data in GOLDEN_FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    command = r"find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
    assert content_digest(listing(GOLDEN_FILES), store(GOLDEN_FILES).open) == "sha256:" + printed[:64].decode()
    assert content_digest(listing(GOLDEN_FILES), store(GOLDEN_FILES).open) == GOLDEN_CONTENT


names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=120)
trees = st.dictionaries(
    names.filter(lambda name: name not in (".", "..") and not name.startswith(".wh.")), st.binary(max_size=1500)
)


@given(trees.filter(bool))
@settings(max_examples=60, deadline=None)
def test_any_folder_comes_back_as_it_was_and_as_long_as_announced(files: dict[str, bytes]) -> None:
    layer, content = packed(listing(files), store(files).open)
    assert len(layer) == packed_size(listing(files))
    assert content == content_digest(listing(files), store(files).open)
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        found = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        assert {name: file.read() for name, file in found.items() if file} == {
            f"opt/model/{name}": files[name] for name in files
        }


def test_a_hundred_thousand_files_are_packed_as_announced() -> None:
    files = tuple(ModelFile(f"folder-{number % 100}/{number}", 0) for number in range(100_000))
    size = sum(len(chunk) for chunk in pack(files, lambda _: closing(io.BytesIO())))
    assert size == (100_000 + 102) * 512 + 1024


def test_a_file_of_8_gib_gets_a_pax_size() -> None:
    size = 8 << 30
    headers = pack((ModelFile("huge", size),), lambda _: closing(io.BytesIO()))
    blocks = b"".join(next(headers) for _ in range(3))
    with tarfile.open(fileobj=io.BytesIO(blocks + bytes(1024))) as tar:
        assert [member.size for member in (tar.next(), tar.next(), tar.next()) if member] == [0, 0, size]
    assert packed_size((ModelFile("huge", size),)) == size + (2 + 3 + 2) * 512


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../outside",
        "a/../../outside",
        "a//b",
        "a/",
        "./a",
        ".",
        "nul\0name",
        "new\nline",
        "back\\slash",
        "carriage\rreturn",
        "escape\x1b[31m",
        "surrogate\udcff",
        ".wh.passwd",
        "folder/.wh..wh..opq",
        ".wh.folder/file",
    ],
)
def test_a_hostile_path_is_refused_before_anything_is_read(path: str) -> None:
    opened = store({path: b"x"})
    for act in (
        lambda: next(pack(listing(opened.files), opened.open)),
        lambda: content_digest(listing(opened.files), opened.open),
    ):
        with pytest.raises(RefusedError) as error:
            act()
        assert error.value.message.isprintable()
        assert error.value.hint
    assert opened.opened == []


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b", "a/b/c/d")])
def test_two_files_in_one_place_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="twice, or is a folder"):
        sort_checked([ModelFile(path, 1) for path in paths])


def test_no_files_and_negative_sizes_are_refused() -> None:
    with pytest.raises(RefusedError, match="no files"):
        content_digest((), store().open)
    with pytest.raises(RefusedError, match="size is -1"):
        packed_size((ModelFile("a", -1),))


@pytest.mark.parametrize("listed", [0, 1, 9, 11, 2000])
def test_a_file_of_another_length_than_listed_is_refused(listed: int) -> None:
    files = (ModelFile("a", listed),)
    for act in (
        lambda: packed(files, store({"a": b"0123456789"}).open),
        lambda: content_digest(files, store({"a": b"0123456789"}).open),
    ):
        with pytest.raises(RefusedError, match="changed while it was read"):
            act()


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="'gone' can't be read"):
        packed((ModelFile("gone", 3),), lambda file: (tmp_path / file.path).open("rb"))


def test_memory_does_not_grow_with_the_model() -> None:
    class Zeros:
        def __init__(self, size: int) -> None:
            self.left = size

        def read(self, size: int, /) -> bytes:
            taken = min(size, self.left)
            self.left -= taken
            return bytes(taken)

        def close(self) -> None:
            pass

    size = 64 << 20
    tracemalloc.start()
    try:
        sent = sum(len(chunk) for chunk in pack((ModelFile("weights", size),), lambda _: closing(Zeros(size))))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert sent > size


def test_a_layer_is_the_same_in_another_process_and_locale() -> None:
    program = (
        "import hashlib; from tests.test_image_layer import *;"
        "print(hashlib.sha256(packed(listing(GOLDEN_FILES), store(GOLDEN_FILES).open)[0]).hexdigest())"
    )
    environment = {**os.environ, "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1", "SOURCE_DATE_EPOCH": "1"}
    printed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
    assert printed.decode().strip() == GOLDEN_LAYER


def test_the_content_digest_is_that_of_the_packed_image(tmp_path: Path) -> None:
    contents = {"MLmodel": b"flavors: {}\n", "b/model.skops": bytes(range(256)) * 9000, "b-c": b"", "ä/ö": b"x", "Z": b"z"}
    for path, content in contents.items():
        tmp_path.joinpath(path).parent.mkdir(exist_ok=True)
        tmp_path.joinpath(path).write_bytes(content)

    def opened(file: ModelFile) -> AbstractContextManager[IO[bytes]]:
        return (tmp_path / file.path).open("rb")

    packed = content_digest([ModelFile(path, len(content)) for path, content in contents.items()], opened)
    assert served_digest(tmp_path) == packed
    (tmp_path / "registered_model_meta").write_text("model_name: m\n")  # what MLflow's download adds
    assert served_digest(tmp_path) == packed
    (tmp_path / "Z").write_bytes(b"y")
    assert served_digest(tmp_path) != packed
