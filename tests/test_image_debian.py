"""image.packages without an engine: from a signed archive to a layer on the base, the same for everybody and for ever."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from promoter.errors import PromoterError, RefusedError
from promoter.image.base import BaseImage, read_base
from promoter.image.oci import MANIFEST, Descriptor, canonical, decode, sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.debian.lock import DebianPackages, PackagesLock
from tests.support.debian_archive import SUITE, DebianArchive, Signer, control_of, in_days, serving_packages, signing
from tests.support.models import listing, model_version, store
from tests.support.registry_server import RegistryServer, registry_server
from tests.test_image_unpacked_runtime import AMD64, FILES, PYTHON, World, layer, push_base, world

__all__ = ["registry_server", "world"]

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Provides: libc-virtual
Description: C library
 Of many lines.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 0.9

"""
SETTINGS = b"a = 1\n"
DEBIAN: dict[str, bytes | str] = {
    **PYTHON,
    "etc/os-release": b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n',
    "var/lib/dpkg/status": STATUS.encode(),
    "var/lib/dpkg/info/format": b"1\n",
    "lib": "usr/lib",
    "usr/lib/x86_64-linux-gnu/libc.so.6": b"",
}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    with signing(tmp_path_factory.mktemp("k") / "gpg") as key:
        yield key


@pytest.fixture
def archive(tmp_path: Path, signer: Signer) -> Iterator[DebianArchive]:
    """With a library that needs another one."""
    with serving_packages(tmp_path / "archive", signer) as served:
        served.add(control_of("libother", Architecture="all"), {"usr/share/doc/libother/copyright": b"free"})
        served.add(
            control_of("libshop1", "2:1.0-1", Depends="libc6 (>= 2.30), libother (>= 1)", Multi_Arch="same"),
            {
                "lib/": None,
                "lib/x86_64-linux-gnu/": None,
                "lib/x86_64-linux-gnu/libshop.so.1": "libshop.so.1.0",
                "lib/x86_64-linux-gnu/libshop.so.1.0": b"\x7fELF",
                "usr/share/doc/libshop1": "libother",
                "etc/shop.conf": SETTINGS,
                "var/empty-shop/": None,
            },
            kept={
                "triggers": b"# made by a tool\nactivate-noawait ldconfig\n",
                "conffiles": b"/etc/shop.conf\n",
                "shlibs": b"libshop 1 libshop1\n",
                "postrm": b"#!/bin/sh\nrm -rf /var/empty-shop\n",
            },
        )
        served.publish(Valid_Until=in_days(7))
        yield served


@dataclass(frozen=True)
class Shop:
    """A base whose apt knows the archive."""

    registry: RegistryServer
    archive: DebianArchive
    base: str
    environ: dict[str, str]

    def repository(self, name: str) -> RegistryRepository:
        return RegistryRepository(ImageReference.parse(f"{self.registry.host}/{name}"))

    def lock(self, name: str, *asked: str, mirror: str | None = None) -> PackagesLock:
        source = RegistryRepository(ImageReference.parse(self.base))
        base = read_base(BaseImage(source, "1"), AMD64)
        where = base, self.base, source, self.repository(name), AMD64
        return DebianPackages(asked or ("libshop1",), mirror, *where, self.environ, lambda _: None).ensure()

    def refused(self, *asked: str, mirror: str | None = None) -> PromoterError:
        repository = f"debian/refused-{self.base.rpartition('/')[2].partition(':')[0]}"
        with pytest.raises(PromoterError) as refused:
            self.lock(repository, *asked, mirror=mirror)
        assert refused.value.hint
        return refused.value


@pytest.fixture
def shop(registry_server: RegistryServer, archive: DebianArchive, signer: Signer) -> Shop:
    return shop_of(registry_server, archive, {**DEBIAN, **trusting(archive, signer)})


def trusting(archive: DebianArchive, signer: Signer) -> dict[str, bytes | str]:
    return {"etc/apt/sources.list.d/test.sources": archive.sources(), "usr/share/keyrings/test.gpg": signer.keyring}


def shop_of(registry: RegistryServer, archive: DebianArchive, files: dict[str, bytes | str]) -> Shop:
    """Each with a base of its own, and with caches that nobody else has."""
    content = layer(files)
    base = push_base(registry, f"debian-{hashlib.sha256(content).hexdigest()[:12]}", content)
    folder = archive.root.parent
    return Shop(
        registry, archive, base, {"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    )


def files_of(repository: RegistryRepository, blob: Descriptor, folder: Path) -> dict[str, tarfile.TarInfo]:
    """Every entry of the layer, which is unpacked in `root` of the folder."""
    (folder / "layer").write_bytes(b"".join(repository.read_blob(blob)))
    with tarfile.open(folder / "layer", "r:gz") as archive:
        archive.extractall(folder / "root", filter="tar")
        return {entry.name: entry for entry in archive}


# -- from the archive to the image ------------------------------------------------------------------------------------


def test_packages_become_one_layer_with_what_they_need(shop: Shop, tmp_path: Path) -> None:
    lock = shop.lock("debian/first")
    found = files_of(shop.repository("debian/first"), lock.layer, tmp_path)
    library = "usr/lib/x86_64-linux-gnu/libshop.so.1"
    assert found[library].linkname == "libshop.so.1.0"
    assert (found[f"{library}.0"].size, found[f"{library}.0"].mode) == (4, 0o644)
    assert found["usr/share/doc/libshop1"].linkname == "libother"
    assert found["var/empty-shop"].isdir()
    # Folders and links of the base are not touched.
    assert not {"lib", "usr", "usr/lib", "usr/lib/x86_64-linux-gnu", "etc", "var/lib/dpkg"} & {*found}
    assert {(entry.uid, entry.gid, entry.mtime) for entry in found.values()} == {(0, 0, 0)}
    assert [(one.name, one.version, one.url) for one in lock.packages] == [
        ("libother", "1.0", "pkg:deb/debian/libother@1.0?arch=all&distro=debian-12"),
        ("libshop1", "2:1.0-1", "pkg:deb/debian/libshop1@2%3A1.0-1?arch=amd64&distro=debian-12"),
    ]
    listed = decode(lock.text, "lock")["packages"]
    assert [one["file"] for one in listed] == ["pool/libother_1.0_all.deb", "pool/libshop1_2%3a1.0-1_amd64.deb"]
    assert [one["sha256"] for one in listed] == [
        hashlib.sha256((shop.archive.root / one["file"]).read_bytes()).hexdigest() for one in listed
    ]


def test_a_runtime_has_them_under_its_wheels(shop: Shop, world: World, tmp_path: Path) -> None:
    """And its key and its list of packages too; without an engine."""
    version, opened = model_version(listing(FILES)), store(FILES).open
    builder = replace(world, base=shop.base).builder("debian/runtime", packages=("libshop1",))
    assert builder.find(version, opened) is None
    image = builder(version, opened)
    lock = shop.lock("debian/runtime")
    made = read_base(image, AMD64)
    assert made.layers[1] == lock.layer
    assert made.config["rootfs"]["diff_ids"][1] == lock.diff_id
    for blob in made.layers[1:]:
        files_of(shop.repository("debian/runtime"), blob, tmp_path)
    components = json.loads((tmp_path / "root/opt/runtime/sbom.cdx.json").read_text())["components"]
    assert [one["purl"] for one in components if not one["purl"].startswith("pkg:pypi")] == [one.url for one in lock.packages]
    found = builder.find(version, opened)
    assert found is not None
    assert found.reference == image.reference
    plain = replace(world, base=shop.base).builder("debian/runtime").recipe(version, opened)
    assert f"runtime-{plain.key}" != image.reference


def test_dpkg_reads_its_records_of_them(shop: Shop, tmp_path: Path) -> None:
    if not shutil.which("dpkg-query"):
        pytest.skip("dpkg is missing")
    files_of(shop.repository("debian/records"), shop.lock("debian/records").layer, tmp_path)
    admin = tmp_path / "root/var/lib/dpkg"
    (admin / "info/format").write_text("1\n")  # as the base has it
    status = (admin / "status").read_text()
    assert status.startswith(STATUS)
    assert "Conffiles:\n /etc/shop.conf " + hashlib.md5(SETTINGS).hexdigest() + "\n" in status

    def query(*arguments: str) -> str:
        command = ["dpkg-query", f"--admindir={admin}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    shown = query("--show", "--showformat", "${binary:Package} ${Version} ${db:Status-Status}\n")
    assert {*shown.splitlines()} >= {
        "libshop1:amd64 2:1.0-1 installed",
        "libother 1.0 installed",
        "libc6 2.36-9 installed",
    }
    listed = ["/.", "/lib", "/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu/libshop.so.1"]
    assert query("--listfiles", "libshop1").splitlines()[:4] == listed
    assert query("--search", "/etc/shop.conf") == "libshop1:amd64: /etc/shop.conf\n"
    assert sorted(query("--control-list", "libshop1").split()) == ["postrm", "shlibs", "triggers"]  # conffiles are dpkg's own
    assert (admin / "info/libshop1:amd64.conffiles").read_text() == "/etc/shop.conf\n"


def test_what_was_locked_stays_the_same(shop: Shop, tmp_path: Path) -> None:
    """Another machine takes the lock of the repository; another repository gets the newest, and of the same the same bytes."""
    lock = shop.lock("debian/locked")
    assert shop.lock("debian/same") == lock
    shop.archive.add(control_of("libshop1", "2:1.1-1", Depends="libc6, libother"), {"usr/lib/libshop.so.2": b"new"})
    shop.archive.publish()
    shop.archive.asked.clear()
    elsewhere = replace(shop, environ={**shop.environ, "XDG_CACHE_HOME": str(tmp_path / "another")})
    assert elsewhere.lock("debian/locked") == lock
    assert shop.archive.asked == []
    newer = shop.lock("debian/newer")
    assert newer.digest != lock.digest
    assert "usr/lib/libshop.so.2" in files_of(shop.repository("debian/newer"), newer.layer, tmp_path)


def test_a_lock_that_is_none_is_refused(shop: Shop) -> None:
    tag = shop_tag(shop)
    repository = shop.repository("debian/odd")
    for blob in (b"{}", b"x"):
        repository.write_blob([blob], len(blob))
    described = Descriptor("text/plain", sha256(b"x"), 1).as_json()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {**described, "digest": sha256(b"{}"), "size": 2},
        "layers": [described],
    }
    repository.create_manifest(tag, canonical(manifest))
    with pytest.raises(RefusedError, match="is not a lock of promoter's"):
        shop.lock("debian/odd")


def shop_tag(shop: Shop) -> str:
    """Of the lock of libshop1 on the shop's base."""
    source = RegistryRepository(ImageReference.parse(shop.base))
    base = read_base(BaseImage(source, "1"), AMD64)
    return DebianPackages(("libshop1",), None, base, shop.base, source, source, AMD64, {}, lambda _: None).tag


def test_packages_that_the_base_has_add_no_file(shop: Shop, tmp_path: Path) -> None:
    lock = shop.lock("debian/nothing", "libc6", "libc-virtual")
    found = files_of(shop.repository("debian/nothing"), lock.layer, tmp_path)
    assert ([*found], lock.packages) == (["var/lib/dpkg/status"], ())


def test_a_version_that_is_asked_for(shop: Shop) -> None:
    shop.archive.add(control_of("libshop1", "2:1.1-1"), {"usr/lib/libshop.so.2": b"new"})
    shop.archive.publish()
    assert [one.version for one in shop.lock("debian/pinned", "libshop1=2:1.0-1").packages] == ["1.0", "2:1.0-1"]
    assert [one.version for one in shop.lock("debian/newest").packages] == ["2:1.1-1"]
    assert "libshop1 (= 3), and the base's sources have 2:1.0-1, 2:1.1-1" in shop.refused("libshop1=3").message


def test_a_mirror_takes_the_place_of_the_address_and_of_nothing_else(
    registry_server: RegistryServer, archive: DebianArchive, signer: Signer
) -> None:
    """The base's own address is not asked; `{archive}` is its last part. A snapshot is as old as it should be."""
    files = {**DEBIAN, **trusting(archive, signer)}
    files["etc/apt/sources.list.d/test.sources"] = archive.sources().replace(archive.url.encode(), b"http://127.0.0.1:9/debian")
    unreachable = shop_of(registry_server, archive, files)
    archive.publish(Valid_Until=in_days(-1))
    dated = archive.root / "20250101T000000Z/debian"
    dated.parent.mkdir()
    dated.symlink_to(archive.root)
    lock = unreachable.lock("debian/mirror", mirror=f"{archive.url}/20250101T000000Z/{{archive}}")
    assert len(lock.packages) == 2
    assert f"/20250101T000000Z/debian/dists/{SUITE}/InRelease" in archive.asked
    assert "has expired" in unreachable.refused(mirror=archive.url).message
