"""Wheels become layers: the same bytes everywhere, nothing hostile in them, and what compiled code lacks has a name."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from promoter.errors import RefusedError
from promoter.image.base import Platform
from promoter.image.runtime.unpacked.base_files import BaseFiles, Node
from promoter.image.runtime.unpacked.elf import Library, read_library
from promoter.image.runtime.unpacked.environment import CONTAINER, VARIABLES, container
from promoter.image.runtime.unpacked.files import File, Link
from promoter.image.runtime.unpacked.libraries import require_libraries
from promoter.image.runtime.unpacked.make import grouped, runtime_files
from promoter.image.runtime.unpacked.members import PackedLayer, pack_files
from promoter.image.runtime.unpacked.wheel import LARGEST, Wheel
from tests.support.other_python import other_python
from tests.test_paths import ODD

AMD64 = Platform("linux", "amd64")
ROOT = Path(__file__).parent.parent
SITE = "opt/runtime/lib/python3.11/site-packages"
# Written down once: a change of it is another image for everybody's requirements, and another UNPACKED in recipe.py.
GOLDEN_LAYER = "sha256:a9fdce356bdc33a3e27fb788b08f6e88e08eb0fe79c384c0213842ea46848356"


def wheel(folder: Path, files: Mapping[str, bytes], name: str = "shop", version: str = "1.0", **changes: Any) -> Wheel:
    """A wheel with these files; `changes` are set on the entry of each that is not its own."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    own = {f"{name}-{version}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in {**own, **files}.items():
            entry = zipfile.ZipInfo(file)
            entry.compress_type = zipfile.ZIP_DEFLATED if len(content) % 2 else zipfile.ZIP_STORED
            entry.external_attr = 0o100644 << 16
            for key, value in changes.items() if file in files else ():
                setattr(entry, key, value)
            archive.writestr(entry, content)
    return Wheel(path, "3.11")


def unpacked(layer: PackedLayer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(b"".join(layer.chunks)))) as archive:
        return {entry.name: entry for entry in archive}


FILES = {
    "shop/__init__.py": b"PRICE = 1\n",
    "shop/data.bin": bytes(range(256)) * 4099 + b"!",
    "shop/empty.py": b"",
    "größe/" + "d" * 90 + "/" + "f" * 30: b"not ASCII, and longer than a USTAR name",
    "shop-1.0.dist-info/entry_points.txt": b"[console_scripts]\nshop = shop.cli:App.run [extra]\n\n[other]\nx = y\n",
    "shop-1.0.data/scripts/old": b"#!python -u\nprint()\n",
    "shop-1.0.data/scripts/raw": b"#!/bin/sh\n",
    "shop-1.0.data/data/share/man": b"read me",
    "shop-1.0.data/headers/shop.h": b"int shop;",
    "shop-1.0.data/purelib/more.py": b"x = 1",
}


# -- what a wheel becomes ---------------------------------------------------------------------------------------------


def test_everything_is_where_an_installer_puts_it(tmp_path: Path) -> None:
    found = {file.path: file for file in wheel(tmp_path, FILES).files}
    assert {f"{SITE}/{name}" for name in FILES if ".data/" not in name} < set(found)
    others = {"bin/shop", "bin/old", "bin/raw", "share/man", "include/site/python3.11/shop/shop.h"}
    assert {f"opt/runtime/{name}" for name in others} | {f"{SITE}/more.py"} < set(found)
    assert found["opt/runtime/bin/old"].content == b"#!/opt/runtime/bin/python -u\nprint()\n"
    command = found["opt/runtime/bin/shop"].content
    assert isinstance(command, bytes)
    assert command.startswith(b"#!/opt/runtime/bin/python\nimport sys\nfrom shop.cli import App\n")
    assert b"sys.exit(App.run())" in command
    assert {path for path, file in found.items() if file.mode == 0o755} == {
        f"opt/runtime/bin/{n}" for n in ("shop", "old", "raw")
    }


def test_an_executable_stays_one(tmp_path: Path) -> None:
    made = wheel(tmp_path, {"shop/run": b"x"}, external_attr=0o100755 << 16)
    assert next(file.mode for file in made.files if file.path.endswith("/run")) == 0o755


def test_the_layer_has_each_file_as_the_wheel_has_it(tmp_path: Path) -> None:
    files = [*wheel(tmp_path, FILES).files, File("opt/runtime/bin/python", Link("python3"), "promoter")]
    layer = pack_files(files)
    packed = b"".join(layer.chunks)
    assert (layer.blob.digest, layer.blob.size) == (f"sha256:{hashlib.sha256(packed).hexdigest()}", len(packed))
    plain = gzip.decompress(packed)
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        entries = archive.getmembers()
        content = {entry.name: archive.extractfile(entry) for entry in entries if entry.isreg()}
        for name, data in FILES.items():
            if ".data/" not in name:
                opened = content[f"{SITE}/{name}"]
                assert opened is not None
                assert opened.read() == data
    assert [entry.name for entry in entries] == sorted((entry.name for entry in entries), key=str.encode)
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in entries} == {(0, 0, 0, "")}
    assert {entry.linkname for entry in entries if entry.issym()} == {"python3"}
    for path in {entry.name.rpartition("/")[0] for entry in entries} - {""}:
        assert next(entry for entry in entries if entry.name == path).isdir()


@pytest.mark.parametrize("program", ["gzip", "pigz"])
def test_programs_that_nodes_unpack_with_read_the_layer(tmp_path: Path, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is missing")
    layer = pack_files(wheel(tmp_path, FILES).files)
    done = subprocess.run([program, "-dc"], input=b"".join(layer.chunks), capture_output=True, check=True)
    assert f"sha256:{hashlib.sha256(done.stdout).hexdigest()}" == layer.diff_id


def test_the_layer_never_changes() -> None:
    made = Wheel(ROOT / "tests/data/shop-1.0-py3-none-any.whl", "3.11")
    assert pack_files(made.files).blob.digest == GOLDEN_LAYER


PACK = """
import sys
from pathlib import Path
from promoter.image.runtime.unpacked.members import pack_files
from promoter.image.runtime.unpacked.wheel import Wheel
print(pack_files(Wheel(Path(sys.argv[1]), "3.11").files).blob.digest)
"""


def test_another_python_user_clock_and_locale_make_the_same_layer(tmp_path: Path) -> None:
    """The other Python has no packages: it gets those that promoter needs for this."""
    import packaging

    (tmp_path / "packaging").symlink_to(Path(packaging.__file__).parent)
    made = wheel(tmp_path, FILES)
    os.utime(made.path, (0, 0))
    digests = set()
    for program, env in (
        (sys.executable, {"TZ": "UTC", "LC_ALL": "C.UTF-8"}),
        (other_python(), {"TZ": "Asia/Tokyo", "LC_ALL": "C"}),
    ):
        environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1", **env}
        done = subprocess.run([program, "-c", PACK, made.path], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip())
    assert digests == {pack_files(made.files).blob.digest}


def test_memory_does_not_grow_with_a_wheel(tmp_path: Path) -> None:
    made = wheel(tmp_path, {"shop/large": bytes(64 << 20) + b"!", "shop/stored": bytes(32 << 20)})
    files = made.files
    tracemalloc.start()
    layer = pack_files(files)
    for _ in layer.chunks:
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


# -- hostile wheels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ODD if name not in ("", "a/", "a\0b")], ids=repr)
def test_a_name_that_no_file_may_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedError, match="can't be unpacked"):
        _ = wheel(tmp_path, {name: b"x"}).files
    assert [path.name for path in tmp_path.iterdir()] == ["shop-1.0-py3-none-any.whl"]


def test_a_name_that_is_cut_at_a_null_is_refused(tmp_path: Path) -> None:
    made = wheel(tmp_path, {"shop/aXb": b"x"})
    made.path.write_bytes(made.path.read_bytes().replace(b"shop/aXb", b"shop/a\0b"))
    with pytest.raises(RefusedError, match="can't be unpacked"):
        _ = made.files


@pytest.mark.parametrize(
    ("files", "changes", "told"),
    [
        ({"shop/link": b"/etc/passwd"}, {"external_attr": (stat.S_IFLNK | 0o777) << 16}, "it is a link or a device"),
        ({"shop/device": b""}, {"external_attr": (stat.S_IFCHR | 0o666) << 16}, "it is a link or a device"),
        ({"shop/x": b"xyz"}, {"compress_type": zipfile.ZIP_BZIP2}, "compressed by method 12"),
        ({"shop/.wh.other": b"x"}, {}, "deletes files in an image layer"),
        ({"shop-1.0.data/scripts/../../x": b"x"}, {}, "a path is relative"),
        ({"shop-1.0.data/elsewhere/x": b"x"}, {}, "a place that wheels do not have"),
        ({"shop-1.0.data/x": b"x"}, {}, "a place that wheels do not have"),
        ({"shop-1.0.dist-info/entry_points.txt": b"[console_scripts]\n../x = a:b\n"}, {}, "can't be made of 'a:b'"),
        ({"shop-1.0.dist-info/entry_points.txt": b"[console_scripts]\nx = a:b();import os\n"}, {}, "can't be made of"),
        ({"shop-1.0.dist-info/entry_points.txt": b"x = y\n"}, {}, "entry_points.txt can't be read"),
        ({"other-1.0.dist-info/WHEEL": b"x"}, {}, "it has 2 files WHEEL"),
    ],
)  # fmt: skip
def test_what_no_wheel_may_contain_is_refused(
    tmp_path: Path, files: dict[str, bytes], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(RefusedError, match=re.escape(told)):
        _ = wheel(tmp_path, files, **changes).files


def patched(made: Wheel, change: Callable[[bytearray, int], None]) -> Wheel:
    """The wheel after `change` of its bytes, which gets where the list's last entry begins."""
    data = bytearray(made.path.read_bytes())
    change(data, data.rindex(b"PK\x01\x02"))
    made.path.write_bytes(data)
    return made


def size_in_list(size: int) -> Callable[[bytearray, int], None]:
    def change(data: bytearray, entry: int) -> None:
        data[entry + 24 : entry + 28] = size.to_bytes(4, "little")

    return change


def test_a_wheel_of_a_hundred_gigabytes_of_zeros_is_refused_before_one_is_unpacked(tmp_path: Path) -> None:
    """As its list has it: no more than LARGEST; and as it is: what is longer than its list has it is not read to the end."""
    path = tmp_path / "shop-1.0-py3-none-any.whl"
    many = 4 * (LARGEST >> 32) + 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shop-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        for number in range(many):
            archive.writestr(f"shop/zeros{number}", bytes(1001))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    while at >= 0:
        size_in_list(1 << 30)(data, at)
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)
    with pytest.raises(RefusedError, match=f"it would unpack to {(many + 1) << 30} bytes"):
        _ = Wheel(path, "3.11").files
    path.unlink()
    liar = patched(wheel(tmp_path, {"shop/zeros": bytes((32 << 20) + 1)}), size_in_list(4096))
    tracemalloc.start()
    with pytest.raises(RefusedError, match="is damaged"):
        pack_files(liar.files)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20


@pytest.mark.parametrize("at", [16, 20, 24, 42])  # checksum, size here, size unpacked, place of the file
def test_a_list_that_lies_is_refused(tmp_path: Path, at: int) -> None:
    def change(data: bytearray, entry: int) -> None:
        data[entry + at] ^= 1

    made = patched(wheel(tmp_path, {"shop/file": b"content of the file"}), change)
    with pytest.raises(RefusedError):
        pack_files(made.files)


def test_files_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    made = wheel(tmp_path, {"shop/a": b"x" * 1000, "shop/b": b"y" * 1000})

    def change(data: bytearray, entry: int) -> None:
        data[entry + 20 : entry + 28] = (2000).to_bytes(4, "little") * 2

    with pytest.raises(RefusedError, match="lie on top of each other"):
        _ = patched(made, change).files


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    made = wheel(tmp_path, {"shop/a": b"1"})
    with zipfile.ZipFile(made.path, "a") as archive:
        archive.writestr("shop/a", b"2")
    with pytest.raises(RefusedError, match="'shop/a' is in it twice"):
        _ = made.files


def test_two_wheels_with_one_file(tmp_path: Path) -> None:
    """Of the same content it is one file; of another it depends on the order, and is refused, as is promoter's own."""
    one, same = wheel(tmp_path, {"n/__init__.py": b""}), wheel(tmp_path, {"n/__init__.py": b""}, "market")
    python = BASE.python
    paths = [file.path for file in runtime_files(python, "lock", [one, same])]
    assert paths.count(f"{SITE}/n/__init__.py") == 1
    other = wheel(tmp_path, {"n/__init__.py": b"x"}, "market")
    with pytest.raises(
        RefusedError, match=r"/site-packages/n/__init__\.py is in shop 1\.0 and market 1\.0, with other content"
    ):
        runtime_files(python, "lock", [one, other])
    for name in ("bin/python", "pyvenv.cfg", "bin/python3/x"):
        with pytest.raises(RefusedError, match=r"promoter and shop 1\.0"):
            runtime_files(python, "lock", [wheel(tmp_path, {f"shop-1.0.data/data/{name}": b"x"})])


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shop-1.0-py3-none-any.whl"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match="can't be unpacked"):
        _ = Wheel(path, "3.11").files
    with pytest.raises(RefusedError, match="is not the name of a wheel"):
        _ = Wheel(tmp_path / "shop.whl", "3.11").name


# -- layers -----------------------------------------------------------------------------------------------------------


def test_a_large_package_has_a_layer_of_its_own_and_promoter_is_last(tmp_path: Path) -> None:
    wheels = [
        wheel(tmp_path, {f"{name}/x": bytes(size + 1)}, name)
        for name, size in (("b", 9 << 20), ("a", 9 << 20), ("c", 10), ("d", 10))
    ]
    layers = grouped(runtime_files(BASE.python, "lock", wheels))
    assert [sorted({file.owner for file in layer}) for layer in layers] == [
        ["a 1.0"],
        ["b 1.0"],
        ["c 1.0", "d 1.0"],
        ["promoter"],
    ]


def test_the_container_is_as_the_dockerfile_makes_it() -> None:
    text = (ROOT / "promoter/image/runtime/Dockerfile").read_text()
    runtime = text[text.index(" AS runtime") : text.index("\nFROM runtime")]
    variables = dict(
        word.split("=", 1) for line in re.findall(r"^ENV (HOME.*)$", runtime, re.MULTILINE) for word in line.split()
    )
    assert variables == VARIABLES
    lines = dict(re.findall(r"^(WORKDIR|USER|EXPOSE|ENTRYPOINT) (.*)$", runtime, re.MULTILINE))
    assert lines["WORKDIR"] == CONTAINER["WorkingDir"]
    assert lines["USER"] == CONTAINER["User"]
    assert [f"{lines['EXPOSE']}/tcp"] == list(CONTAINER["ExposedPorts"])
    assert lines["ENTRYPOINT"] == str(CONTAINER["Entrypoint"]).replace("'", '"')
    made = container(
        {"Env": ["PATH=/usr/bin", "LANG=C.UTF-8", "HOME=/root"], "Cmd": ["python3"], "User": "root", "Shell": ["x"]}
    )
    assert "Cmd" not in made
    assert made["Shell"] == ["x"]
    env = {key: value for key, _, value in (line.partition("=") for line in made["Env"])}
    assert env == {"PATH": "/opt/runtime/bin:/usr/bin", "LANG": "C.UTF-8", **VARIABLES}


# -- the base ---------------------------------------------------------------------------------------------------------

LIBC = Library("amd64", "libc.so.6", (), ("GLIBC_2.2.5", "GLIBC_2.28"))
BASE = BaseFiles(
    "base:1",
    {
        "lib": Node("link", "usr/lib"),
        "usr": Node("folder"),
        "usr/bin": Node("folder"),
        "usr/bin/python3": Node("link", "python3.11"),
        "usr/bin/python3.11": Node("file"),
        "usr/lib": Node("folder"),
        "usr/lib/x86_64-linux-gnu": Node("folder"),
        "usr/lib/x86_64-linux-gnu/libc.so.6": Node("file", library=LIBC),
        "opt/odd/libodd.so.1": Node("file", library=Library("amd64")),
    },
)


def with_nodes(**nodes: Node) -> BaseFiles:
    return replace(BASE, nodes={**BASE.nodes, **nodes})


def test_python_is_the_first_of_the_path(tmp_path: Path) -> None:
    assert (BASE.python.path, BASE.python.version) == ("/usr/bin/python3", "3.11")
    local = {
        "usr/local/bin/python3": Node("file"),
        "usr/local/lib/python3.12/os.py": Node("file"),
        "usr/local/bin": Node("folder"),
        "usr/local": Node("folder"),
    }
    assert with_nodes(**local).python.version == "3.12"
    with pytest.raises(RefusedError, match="does not show its version"):
        _ = with_nodes(**{key: node for key, node in local.items() if "lib" not in key}).python
    with pytest.raises(RefusedError, match="base:1 has no python3 in /bin"):
        _ = replace(BASE, path="/bin").python


def test_links_that_lead_nowhere_are_nothing() -> None:
    odd = with_nodes(
        loop=Node("link", "loop"),
        out=Node("link", "../../usr/./bin"),
        gone=Node("link", "/nowhere"),
        deep=Node("link", "/usr/bin/python3/x"),
    )
    assert [odd.resolve(path) for path in ("loop", "gone", "deep", "usr/none")] == [None] * 4
    assert odd.resolve("out/python3") == "usr/bin/python3.11"


def test_libraries_are_those_where_the_loader_looks() -> None:
    assert [name for name, _ in BASE.libraries()] == ["libc.so.6"]
    configured = with_nodes(
        **{
            "etc/ld.so.conf.d/odd.conf": Node("file", text="# more\n/opt/odd\n"),
            "etc": Node("folder"),
            "opt/odd": Node("folder"),
        }
    )
    assert {name for name, _ in configured.libraries()} == {"libc.so.6", "libodd.so.1"}


def test_musl_that_is_installed_next_to_glibc_is_not_what_python_uses() -> None:
    loader, libc = "lib/ld-musl-x86_64.so.1", "usr/lib/x86_64-linux-gnu/libc.so.6"
    assert with_nodes(**{loader: Node("file")}).musl is None
    assert with_nodes(**{loader: Node("file"), libc: Node("file")}).musl == (1, 1)


def test_what_a_base_with_musl_lacks_is_none_of_what_its_loader_has_and_no_package_of_debian(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alpine = BaseFiles("alpine:1", {"lib": Node("folder"), "lib/ld-musl-x86_64.so.1": Node("file")})
    own = Library("amd64", "", ("libc.so", "libc.musl-x86_64.so.1", "libm.so.6", "libpthread.so.0"))
    require_libraries(compiled(monkeypatch, tmp_path / "own", native=own), alpine, AMD64)
    with pytest.raises(RefusedError, match=r"needs libgomp\.so\.1, which the base image does not have$"):
        require_libraries(compiled(monkeypatch, tmp_path, native=Library("amd64", "", ("libgomp.so.1",))), alpine, AMD64)


def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **libraries: Library) -> list[File]:
    """A wheel whose files are these libraries."""
    from promoter.image.runtime.unpacked import libraries as module

    tmp_path.mkdir(exist_ok=True)
    made = wheel(tmp_path, {f"shop/{name}" if ".so" in name else f"shop/{name}.so": name.encode() for name in libraries})
    monkeypatch.setattr(module, "read_library", lambda file: libraries[(file.seek(0), file.read())[1].decode()])
    return list(made.files)


@pytest.mark.parametrize(
    ("library", "told"),
    [
        (Library("amd64", "", ("libgomp.so.1",)), r"shop 1\.0 needs libgomp\.so\.1, which the base image does not have \(Debian: libgomp1\)"),
        (
            Library("amd64", "", ("libc.so.6",), (), (("libc.so.6", ("GLIBC_2.9", "GLIBC_2.28", "GLIBC_2.34", "GLIBC_2.36")),)),
            r"shop 1\.0 needs GLIBC_2\.36 of libc\.so\.6",
        ),
        (Library("arm64"), r"site-packages/shop/native\.so of shop 1\.0 is for arm64, not for linux/amd64"),
    ],
)  # fmt: skip
def test_what_compiled_code_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: Library, told: str
) -> None:
    with pytest.raises(RefusedError, match=told):
        require_libraries(compiled(monkeypatch, tmp_path, native=library), BASE, AMD64)


def test_what_wheels_base_or_nodes_have_is_not_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needs = Library(
        "amd64",
        "",
        ("libc.so.6", "other.so", "libnamed.so.3", "libcuda.so.1", "libcublas.so.13"),
        (),
        (("libc.so.6", ("GLIBC_2.28",)),),
    )
    foreign = Library("arm64", "", ("libnowhere.so",))  # debuggers carry such files along
    files = compiled(monkeypatch, tmp_path, native=needs, other=Library("amd64", "libnamed.so.3"), foreign=foreign)
    require_libraries(files, BASE, AMD64)
    # torch 2.11 has a libgfortran.so.5 that needs a library which no wheel has, and that nothing loads.
    left = {"libgfortran.so.5": Library("amd64", "libgfortran.so.5", ("libquadmath.so.0",))}
    require_libraries(compiled(monkeypatch, tmp_path / "left", native=Library("amd64"), **left), BASE, AMD64)
    named = compiled(monkeypatch, tmp_path / "named", native=Library("amd64", "", ("libgfortran.so.5",)), **left)
    with pytest.raises(RefusedError, match=r"shop 1\.0 needs libquadmath\.so\.0"):
        require_libraries(named, BASE, AMD64)
    files = compiled(monkeypatch, tmp_path, native=needs, other=Library("amd64", "libnamed.so.3"), foreign=foreign)
    without = with_nodes(**{"usr/lib/x86_64-linux-gnu/libc.so.6": Node("file")})
    with pytest.raises(RefusedError, match=r"on base:1: shop 1\.0 needs libc\.so\.6, which the base image does not have$"):
        require_libraries(files, without, AMD64)


def test_a_library_is_read_as_binutils_read_it() -> None:
    """NumPy's, which patchelf has changed, and this system's C library, whose versions are those that all others require."""
    if not shutil.which("readelf"):
        pytest.skip("readelf (package binutils) is missing")
    files = [path for path in Path(numpy.__file__).parents[1].glob("numpy*/**/*.so*") if path.is_file()]
    files += Path("/lib").glob("*-linux-gnu/lib[cm].so.6")
    assert len(files) > 10
    offered, required = set(), set()
    for path in files:
        with path.open("rb") as file:
            found = read_library(file)
        assert found is not None, path
        printed = subprocess.run(["readelf", "-dVW", path], capture_output=True, text=True, check=True).stdout
        assert list(found.needed) == re.findall(r"\(NEEDED\).*\[(.+)\]", printed), path
        assert [found.soname] == (re.findall(r"\(SONAME\).*\[(.+)\]", printed) or [""]), path
        needs = printed.partition(".gnu.version_r'")[2]
        assert [v for _, versions in found.required for v in versions] == re.findall(r"Name: (\S+)  Flags: none", needs), path
        defines = printed.partition(".gnu.version_d'")[2].partition("Version needs")[0]
        assert list(found.offered) == re.findall(r"Flags: (?:none|WEAK)[^\n]*Name: (\S+)", defines), path
        assert Library.of(found.as_json()) == found
        offered |= {*found.offered}
        required |= {version for name, versions in found.required if name == "libc.so.6" for version in versions}
    assert required <= offered


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 200, b"MZ" * 99, b"\x7fELF\x01\x01" + bytes(99)]
)
def test_a_file_that_is_no_library_is_none(content: bytes) -> None:
    assert read_library(io.BytesIO(content)) is None
