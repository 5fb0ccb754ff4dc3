"""One .deb: what is taken from it, what is refused, and where it goes on a base."""

from __future__ import annotations

import gzip
import io
import itertools
import re
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promoter.errors import RefusedError
from promoter.image.runtime.debian.archive import Deb, read_deb
from promoter.image.runtime.debian.compressed import unpacked
from promoter.image.runtime.debian.layer import pack_packages
from promoter.image.runtime.unpacked.base_files import BaseFiles, Node
from promoter.image.runtime.unpacked.files import Member
from promoter.image.runtime.unpacked.members import PackedLayer, read_member
from tests.support.debian_archive import PACKERS, Content, ar_of, control_of, deb_of, tar_of
from tests.test_paths import ODD

CONTROL = control_of("shop", Multi_Arch="same")
STATUS = "Package: base\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n"


def deb(folder: Path, files: Mapping[str, Content], **made: Any) -> Deb:
    return read(folder, deb_of(CONTROL, files, **made))


def read(folder: Path, content: bytes, name: str = "shop_1.0_amd64") -> Deb:
    (folder / f"{name}.deb").write_bytes(content)
    return read_deb(folder / f"{name}.deb", folder)


def base(**more: Node) -> BaseFiles:
    nodes = {
        "var/lib/dpkg/status": Node("file", text=STATUS),
        "lib": Node("link", "usr/lib"),
        "usr/lib/old.so": Node("file"),
        "usr/lib/linked.so": Node("link", "old.so"),
        "usr/lib64": Node("link", "/usr/lib"),
        "dangling": Node("link", "nowhere"),
    }
    return BaseFiles("base:1", nodes | {name.replace("__", "/"): node for name, node in more.items()})


def entries(layer: PackedLayer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(b"".join(layer.chunks)))) as archive:
        return {entry.name: entry for entry in archive}


# -- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packer", PACKERS)
def test_a_package_is_read_in_every_compression(tmp_path: Path, packer: str) -> None:
    files: dict[str, Content] = {"usr/": None, "usr/a": b"content", "usr/b": "a", "usr/empty": b""}
    made = deb(tmp_path, files, packer=packer, kept={"md5sums": b"x"})
    assert (made.package.name, made.package.version, made.control) == ("shop", "1.0", CONTROL)
    assert made.kept == {"md5sums": b"x"}
    assert [entry.path for entry in made.entries] == ["usr", "usr/a", "usr/b", "usr/empty"]
    content = made.entries[1].content
    assert isinstance(content, Member)
    assert b"".join(read_member(content)) == b"content"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python reads zstd")
def test_zstd_is_named_where_python_does_not_read_it(tmp_path: Path) -> None:
    made = ar_of({"debian-binary": b"2.0\n", "control.tar.zst": b"", "data.tar.zst": b""})
    with pytest.raises(RefusedError, match=r"compressed by zstd, which Python reads from 3\.14 on") as refused:
        read(tmp_path, made)
    assert "image.runtime-builder: engine" in refused.value.hint


IDLE = [
    b"#!/bin/sh\nset -e\n# Automatically added\nldconfig\n\nexit 0\n",
    b'#! /bin/sh -e\ndpkg-maintscript-helper rm_conffile /etc/old 1.0~ -- "$@"\n',
]
AT_WORK = [
    b"#!/bin/sh\nset -e\nupdate-alternatives --install a b c 1\n",
    b"#!/usr/bin/perl\n",
    b"",
    b'#!/bin/sh\ndpkg-maintscript-helper rm_conffile /etc/old 1.0~ -- "$@"; touch /x\n',
    b"#!/bin/sh\nldconfig && touch /x\n",
]


@pytest.mark.parametrize("script", IDLE)
def test_scripts_that_do_nothing_are_kept(tmp_path: Path, script: bytes) -> None:
    assert deb(tmp_path, {"a": b""}, kept={"postinst": script, "prerm": AT_WORK[0]}).kept["postinst"] == script


@pytest.mark.parametrize("name", ["preinst", "postinst", "config"])
@pytest.mark.parametrize("script", AT_WORK)
def test_scripts_with_work_to_do_are_refused_by_name(tmp_path: Path, name: str, script: bytes) -> None:
    with pytest.raises(RefusedError, match=f"shop_1.0_amd64.deb can't be unpacked: it needs its own script {name}") as refused:
        deb(tmp_path, {"a": b""}, kept={name: script})
    assert refused.value.hint.startswith("set image.runtime-builder: engine")


@pytest.mark.parametrize("line", ["interest /usr/share/fonts", "activate update-initramfs", "interest-noawait ldconfig"])
def test_triggers_but_that_of_the_loader_are_refused(tmp_path: Path, line: str) -> None:
    deb(tmp_path, {"a": b""}, kept={"triggers": b"# x\nactivate-noawait ldconfig\n"})
    with pytest.raises(RefusedError, match=re.escape(f"it needs a trigger ({line})")):
        deb(tmp_path, {"a": b""}, kept={"triggers": line.encode()})


# -- hostile packages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ODD if name not in ("", ".", "a/", "a\0b", "./a")], ids=repr)
def test_a_name_that_no_file_may_have_is_refused(tmp_path: Path, name: str) -> None:
    content = ar_of(
        {"debian-binary": b"2.0\n", "control.tar": tar_of({"control": CONTROL.encode()}), "data.tar": tar_of({name: b"x"})}
    )
    with pytest.raises(RefusedError, match="can't be unpacked"):
        read(tmp_path, content)
    assert {path.name for path in tmp_path.rglob("*")} == {"shop_1.0_amd64.deb", "shop_1.0_amd64.tar"}


@pytest.mark.parametrize(
    ("files", "changes", "told"),
    [
        ({"a": b""}, {"mode": 0o4755}, "its mode is 4755"),
        ({"a": b""}, {"mode": 0o2644}, "its mode is 2644"),
        ({"a": b""}, {"uid": 7}, "it belongs to 7:0, not to root"),
        ({"a": b""}, {"gid": 8}, "it belongs to 0:8"),
        ({"a": b""}, {"type": tarfile.CHRTYPE}, "it is a device"),
        ({"a": b""}, {"type": tarfile.FIFOTYPE}, "it is a device, a pipe"),
        (
            {"a": b""},
            {"type": tarfile.LNKTYPE, "linkname": "../etc/passwd"},
            "another name of '../etc/passwd', which is not in front",
        ),
        ({"usr/a": "../../etc/passwd"}, {}, "leads out of the image"),
        ({"usr/a": "b/../../../x"}, {}, "leads out of the image"),
        ({"usr/a": "/usr/../../x"}, {}, "leads out of the image"),
        ({"usr/.wh.a": b""}, {}, "deletes files in an image layer"),
    ],
)
def test_what_no_layer_may_contain_is_refused(
    tmp_path: Path, files: dict[str, Content], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(RefusedError, match=re.escape(told)):
        deb(tmp_path, files, **changes)


PLAIN = {"debian-binary": b"2.0\n", "control.tar": tar_of({"control": CONTROL.encode()}), "data.tar": tar_of({"a": b"x"})}


PARTS = {name: data for name, data in PLAIN.items() if name != "data.tar"}
DAMAGED = [
    (b"", "not an ar archive"),
    (ar_of({}), "its parts are missing"),
    (ar_of(dict(reversed(PLAIN.items()))), "its parts are data.tar, control.tar, debian-binary"),
    (ar_of({**PLAIN, "more": b""}), "its parts are"),
    (ar_of({**PARTS, "data.tar.lz": b""}), "it is compressed as .lz"),
    (ar_of({**PARTS, "data.tar.gz": PLAIN["data.tar"]}), "it is damaged"),
    (ar_of({**PARTS, "data.tar.xz": PACKERS[".xz"](PLAIN["data.tar"])[:99]}), "it is damaged"),
    (ar_of(PLAIN)[:-3000], "its list of parts is damaged"),
    (ar_of({**PLAIN, "data.tar": PLAIN["data.tar"][:512]}), "can't be unpacked"),
    (ar_of({**PLAIN, "control.tar": tar_of({"x": b""})}), "its control file is not"),
    (ar_of({**PLAIN, "control.tar": tar_of({"control": CONTROL.encode() + b"\n" + CONTROL.encode()})}), "its control file is not one paragraph"),
    (ar_of({**PLAIN, "control.tar": tar_of({"control": b"Version: 1\n" + CONTROL.encode()})}), "begins with its name"),
    (ar_of({**PLAIN, "control.tar": tar_of({"control": CONTROL.encode() + b"Status: x\n"})}), "its control file"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "told"), DAMAGED, ids=[str(number) for number, _ in enumerate(DAMAGED)])
def test_a_damaged_package_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(told)):
        read(tmp_path, content)


def test_a_file_that_is_in_it_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"'a' is in it twice"):
        read(tmp_path, ar_of({**PLAIN, "data.tar": tar_of({"./a": b"1", "a": b"2"})}))


def test_a_part_that_is_not_known_is_passed_over_if_it_says_so(tmp_path: Path) -> None:
    """deb(5): what begins with _ may be anywhere behind debian-binary."""
    names = {"debian-binary": b"2.0\n", "_gpgorigin": b"odd", **PLAIN}
    assert read(tmp_path, ar_of(names)).package.name == "shop"


@pytest.mark.parametrize("packer", PACKERS)
def test_what_unpacks_to_too_much_is_not_read_to_its_end(packer: str) -> None:
    chunks = unpacked(io.BytesIO(PACKERS[packer](bytes(32 << 20))), packer, 5_000_000)
    assert [len(chunk) for chunk in itertools.islice(chunks, 4)] == [1 << 20] * 4
    with pytest.raises(ValueError, match="it unpacks to more than 5000000 bytes"):
        next(chunks)


# -- on a base --------------------------------------------------------------------------------------------------------


def test_files_go_where_links_of_the_base_lead(tmp_path: Path) -> None:
    files: dict[str, Content] = {"lib/": None, "lib/new/": None, "lib/new/a.so": b"1", "usr/lib64/b.so": b"2", "etc/x/y": b"3"}
    found = entries(pack_packages([deb(tmp_path, files)], base()))
    assert {name for name, entry in found.items() if not entry.isdir()} >= {"usr/lib/new/a.so", "usr/lib/b.so", "etc/x/y"}
    # Only folders that the base does not have: its own keep their rights, and its links stay links.
    assert {name for name, entry in found.items() if entry.isdir()} == {"usr/lib/new", "etc", "etc/x", "var/lib/dpkg/info"}


def test_names_of_one_file_stay_names_of_one_file(tmp_path: Path) -> None:
    """As Mesa's drivers, twenty of which are one file of 24 MiB; the first by name comes with the content."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        first, other = tarfile.TarInfo("./usr/z"), tarfile.TarInfo("./usr/a")
        first.size, other.type, other.linkname = 5, tarfile.LNKTYPE, "./usr/z"
        archive.addfile(first, io.BytesIO(b"12345"))
        archive.addfile(other)
    found = entries(pack_packages([read(tmp_path, ar_of({**PLAIN, "data.tar": data.getvalue()}))], base()))
    assert (found["usr/a"].size, found["usr/z"].islnk(), found["usr/z"].linkname) == (5, True, "usr/a")


def test_a_link_that_the_base_has_too_is_left_to_it(tmp_path: Path) -> None:
    assert "usr/lib/linked.so" not in entries(pack_packages([deb(tmp_path, {"usr/lib/linked.so": "old.so"})], base()))


DIVERSION = "/usr/bin/tool\n/usr/bin/tool.real\nother\n"


@pytest.mark.parametrize(
    ("files", "changes", "told"),
    [
        ({"lib/old.so": b"new"}, {}, "/lib/old.so: the base has one already"),
        ({"usr/lib/linked.so": "new.so"}, {}, "/usr/lib/linked.so: the base has one already"),
        ({"usr/lib/old.so/x": b""}, {}, "/usr/lib/old.so of the base is not a folder"),
        ({"usr/lib/old.so/": None}, {}, "/usr/lib/old.so: the base has one already"),
        ({"dangling/x": b""}, {}, "/dangling of the base is not a folder"),
        ({"dangling": b""}, {}, "/dangling: the base has one already"),
        ({"lib": b""}, {}, "/lib: the base has one already"),
        ({"etc/ld.so.conf.d/x.conf": b"/usr/lib/x\n"}, {}, "it takes ldconfig"),
        ({"usr/bin/tool": b""}, {"var__lib__dpkg__diversions": Node("file", text=DIVERSION)}, "the base's dpkg would write it elsewhere"),
        ({"usr/bin/x": b""}, {"var__lib__dpkg__statoverride": Node("file", text="root root 4755 /usr/bin/x\n")}, "with other rights"),
        ({"usr/share/fonts/x": b""}, {"var__lib__dpkg__triggers__File": Node("file", text="/usr/share/fonts fonts/noawait\n")}, "fonts, in the base, has to run"),
        ({"a": b"1", "a/": None}, {}, "is in it twice"),
        ({"a": b"1", "a/b": b""}, {}, "/a is in shop 1.0"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_refused(tmp_path: Path, files: dict[str, Content], changes: dict[str, Node], told: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(told)) as refused:
        pack_packages([deb(tmp_path, files)], base(**changes))
    assert "image.runtime-builder: engine" in refused.value.hint


def test_pages_of_a_manual_need_no_list_of_them(tmp_path: Path) -> None:
    waiting = base(var__lib__dpkg__triggers__File=Node("file", text="/usr/share/man man-db/noawait\n"))
    assert "usr/share/man/x" in entries(pack_packages([deb(tmp_path, {"usr/share/man/x": b""})], waiting))


def test_two_packages_with_one_file(tmp_path: Path) -> None:
    one = deb(tmp_path, {"usr/a": b"1", "usr/b/": None})
    for files, told in (
        ({"usr/a": b"2"}, "/usr/a is in shop 1.0 and other 1.0"),
        ({"usr/b": b"2"}, "a folder of another package"),
    ):
        other = read(tmp_path, deb_of(control_of("other"), files), f"other-{len(told)}")
        with pytest.raises(RefusedError, match=told):
            pack_packages([one, other], base())
