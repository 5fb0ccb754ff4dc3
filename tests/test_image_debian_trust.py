"""Package archives that are not believed, and the sources and keys of a base as its apt takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.errors import RefusedError, UsageError
from promoter.image.runtime.debian.sources import read_sources
from promoter.image.runtime.unpacked.base_files import BaseFiles, Node
from tests.support.debian_archive import SUITE, DebianArchive, Signer, in_days, signing
from tests.support.registry_server import RegistryServer, registry_server
from tests.test_image_debian import DEBIAN, Shop, archive, shop, shop_of, signer, trusting

__all__ = ["archive", "registry_server", "shop", "signer"]


def stranger(archive: DebianArchive, folder: Path) -> None:
    with signing(folder / "stranger") as other:
        archive.publish(signer=other)


def altered(archive: DebianArchive, folder: Path) -> None:
    path = archive.publish() / "InRelease"
    path.write_bytes(path.read_bytes().replace(b"Suite: stable", b"Suite: Stable"))


def surrounded(archive: DebianArchive, folder: Path) -> None:
    path = archive.publish() / "InRelease"
    path.write_bytes(b"Suite: mine\n\n" + path.read_bytes())


def doubled(archive: DebianArchive, folder: Path) -> None:
    path = archive.publish() / "InRelease"
    path.write_bytes(path.read_bytes() * 2)


def other_index(archive: DebianArchive, folder: Path) -> None:
    for path in (archive.publish() / "main").rglob("*"):
        if path.is_file():
            path.write_bytes(b"x" * path.stat().st_size)


def other_package(archive: DebianArchive, folder: Path) -> None:
    path = archive.root / "pool/libshop1_2%3a1.0-1_amd64.deb"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def longer_package(archive: DebianArchive, folder: Path) -> None:
    path = archive.root / "pool/libshop1_2%3a1.0-1_amd64.deb"
    path.write_bytes(path.read_bytes() + b"x")


def exchanged(archive: DebianArchive, folder: Path) -> None:
    """The index has one package's name with another one's file."""
    other = archive.listed["libother 1.0"].partition("Filename: ")[2]
    archive.listed["libshop1 2:1.0-1"] = archive.listed["libshop1 2:1.0-1"].partition("Filename: ")[0] + "Filename: " + other
    archive.publish()


def climbing(archive: DebianArchive, folder: Path) -> None:
    name = "libshop1 2:1.0-1"
    archive.listed[name] = archive.listed[name].replace("Filename: pool/", "Filename: ../../pool/")
    archive.publish()


def bomb(archive: DebianArchive, folder: Path) -> None:
    """As long as its list has it in packed form, but not unpacked."""
    archive.listed["zeros"] = "Package: zeros\nVersion: 1\nDescription: " + "x" * 1_000_000 + "\n"
    text = (archive.publish() / "InRelease").read_text().partition("\n\n")[2].partition("-----BEGIN")[0]
    lines = [
        line if not line.endswith("/Packages") else f" {'0' * 64} 100 main/binary-amd64/Packages" for line in text.splitlines()
    ]
    (archive.root / "dists" / SUITE / "InRelease").write_bytes(archive.signer.sign("\n".join(lines) + "\n"))


DISTRUSTED: dict[Callable[[DebianArchive, Path], object], str] = {
    stranger: "is not signed by a key that the base trusts: its key is ",
    altered: "its signature is not that of its content",
    surrounded: "InRelease is not one signed message",
    doubled: "InRelease is not one signed message",
    other_index: "is not the file that its signed index lists",
    other_package: "is not the file that its signed index lists",
    longer_package: "is not the file that its signed index lists",
    exchanged: "is libother 1.0, not libshop1 2:1.0-1",
    climbing: "can't be read: libshop1 2:1.0-1 has no file with size and SHA256",
    bomb: "can't be read: it unpacks to more than 100 bytes",
    lambda archive, _: archive.publish(Valid_Until=in_days(-1)): "InRelease has expired",
    lambda archive, _: archive.publish(Date=in_days(2)): "InRelease is from the future",
    lambda archive, _: archive.publish(suite="bullseye"): "is the index of bullseye or stable, not of bookworm",
    lambda archive, _: (archive.publish() / "InRelease").unlink(): "InRelease does not exist",
    lambda archive, _: (archive.root / "pool/libshop1_2%3a1.0-1_amd64.deb").unlink(): "does not exist, although a signed index",
}


@pytest.mark.parametrize(("fault", "told"), DISTRUSTED.items(), ids=[f"{n}" for n, _ in enumerate(DISTRUSTED)])
def test_what_is_not_signed_or_not_what_was_signed_is_refused(
    shop: Shop, tmp_path: Path, fault: Callable[[DebianArchive, Path], object], told: str
) -> None:
    fault(shop.archive, tmp_path)
    refused = shop.refused()
    assert isinstance(refused, RefusedError)
    assert told in refused.message


def test_a_key_in_the_source_itself_or_for_every_source(
    registry_server: RegistryServer, archive: DebianArchive, signer: Signer, tmp_path: Path
) -> None:
    """In armor and not, by fingerprint, and not for a source that names another key."""
    name = "etc/apt/sources.list.d/test.sources"
    armored = signer.armored.decode().strip().replace("\n\n", "\n.\n").replace("\n", "\n ")
    line = f"deb [arch=amd64 signed-by={signer.fingerprint}] {archive.url} {SUITE} main # mine\n".encode()
    with signing(tmp_path / "other") as stranger:
        believed: list[dict[str, bytes | str]] = [
            {name: archive.sources(f"\n {armored}")},
            {name: archive.sources(signer.fingerprint), "etc/apt/trusted.gpg.d/a.gpg": signer.keyring},
            {"etc/apt/sources.list": line, "etc/apt/trusted.gpg.d/a.asc": stranger.armored + signer.armored},
        ]
        for number, files in enumerate(believed):
            shop_of(registry_server, archive, {**DEBIAN, **files}).lock(f"debian/keys-{number}")
        distrusted: dict[str, dict[str, bytes | str]] = {
            "trusts: its key is": {
                name: archive.sources(),
                "usr/share/keyrings/test.gpg": stranger.keyring,
                "etc/apt/trusted.gpg": signer.keyring,
            },
            "no signature of it": {name: archive.sources(stranger.fingerprint), "etc/apt/trusted.gpg": signer.keyring},
            "has no keys for its package sources /usr/share/keyrings/test.gpg": {name: archive.sources()},
        }
        for told, files in distrusted.items():
            assert told in shop_of(registry_server, archive, {**DEBIAN, **files}).refused().message


def test_a_signature_by_a_weak_hash_does_not_count(shop: Shop) -> None:
    path = shop.archive.publish() / "InRelease"
    text = path.read_text().partition("\n\n")[2].partition("-----BEGIN PGP SIG")[0]
    path.write_bytes(shop.archive.signer.sign(text, "--digest-algo", "SHA1"))
    assert "is not signed by a key that the base trusts: its signature is made with a weak hash" in shop.refused().message


def test_without_gpgv_its_package_is_named(shop: Shop) -> None:
    without = replace(shop, environ={**shop.environ, "PATH": "/nowhere"})
    refused = without.refused()
    assert isinstance(refused, UsageError)
    assert refused.message == "gpgv, which checks the signatures of package indexes, can't be run: No such file or directory"
    assert "Debian: gpgv" in refused.hint


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"etc/os-release": b'ID=alpine\nPRETTY_NAME="Alpine Linux v3.20"\n'}, "image.packages are Debian packages, and {base} is Alpine Linux v3.20"),
        ({"etc/os-release": b"ID=rhel\nID_LIKE=fedora\n"}, "{base} is rhel"),
        ({"etc/os-release": b""}, "{base} is not a known distribution"),
        ({"var/lib/dpkg/status": b""}, "{base} does not list its packages (/var/lib/dpkg/status)"),
        ({"etc/apt/sources.list.d/test.sources": b"Types: deb-src\nURIs: http://x\nSuites: a\n"}, "{base} names no package sources"),
        ({"etc/apt/sources.list.d/test.sources": b"Types: deb\nURIs: cdrom:[x]\nSuites: a\nComponents: b\n"}, "names no package sources"),
    ],
)  # fmt: skip
def test_a_base_that_packages_can_not_be_put_on_is_refused_before_anything_is_asked(
    registry_server: RegistryServer, archive: DebianArchive, signer: Signer, changes: dict[str, bytes | str], told: str
) -> None:
    shop = shop_of(registry_server, archive, {**DEBIAN, **trusting(archive, signer), **changes})
    assert told.format(base=shop.base) in shop.refused().message
    assert archive.asked == []


# -- where apt would look ---------------------------------------------------------------------------------------------


def test_sources_are_read_as_apt_reads_them() -> None:
    texts = {
        "etc/apt/sources.list": (
            "# a comment\ndeb http://one.example.com/debian/ bookworm main contrib # more\n"
            "deb-src http://one.example.com/debian bookworm main\ndeb [ arch=arm64 ] http://arm.example.com x main\n"
            "deb [arch=amd64,arm64 check-valid-until=no] https://two.example.com/$(ARCH) ./\n"
        ),
        "etc/apt/sources.list.d/a.sources": (
            "# first\nTypes: deb deb-src\nURIs: http://a http://b/20250101T000000Z\nSuites: s\n# within\n t\nComponents:\n main\n\n\n"
            "Types: deb\nEnabled: no\nURIs: http://off\nSuites: s\nComponents: main\n"
        ),
        "etc/apt/sources.list.d/ignored.save": "deb http://c s main\n",
        "etc/apt/trusted.gpg.d/k.gpg": "key",
    }
    base = BaseFiles("base:1", {path: Node("file", text=text) for path, text in texts.items()})
    found = [(str(one), one.folder, one.may_expire, one.keys.keyrings) for one in read_sources(base, "amd64", None)]
    key = (b"key",)
    assert found == [
        ("http://one.example.com/debian bookworm main contrib", "http://one.example.com/debian/dists/bookworm", True, key),
        ("https://two.example.com/amd64 ./", "https://two.example.com/amd64", False, key),
        ("http://a s main", "http://a/dists/s", True, key),
        ("http://a t main", "http://a/dists/t", True, key),
        ("http://b/20250101T000000Z s main", "http://b/20250101T000000Z/dists/s", False, key),
        ("http://b/20250101T000000Z t main", "http://b/20250101T000000Z/dists/t", False, key),
    ]
