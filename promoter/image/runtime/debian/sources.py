"""Where the base's own apt would look for packages (sources.list(5)), and the keys that it would trust there."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from promoter.errors import RefusedError
from promoter.image.runtime.debian.control import paragraphs
from promoter.image.runtime.unpacked.base_files import BaseFiles

_LINE = re.compile(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{32,64}!?")
_ARMOR = re.compile(r"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)
# A snapshot (snapshot.debian.org, snapshot.ubuntu.com) names the index that is meant: it is as old as it should be.
_DATED = re.compile(r"/\d{8}T\d{6}Z(/|$)")
_NO = ("no", "false", "0", "off")


@dataclass(frozen=True, slots=True)
class Keys:
    """What a signature has to be by: one of these keyrings, and one of these fingerprints if there are any."""

    keyrings: tuple[bytes, ...]
    fingerprints: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """One suite of an archive; without components it is a flat repository. `may_expire`: it has to be as new as it claims."""

    address: str
    suite: str
    components: tuple[str, ...]
    keys: Keys
    may_expire: bool = True

    @property
    def folder(self) -> str:
        """The address of its InRelease, without that name."""
        return (
            f"{self.address}/dists/{self.suite}" if self.components else posixpath.join(self.address, self.suite).rstrip("/.")
        )

    def __str__(self) -> str:
        return " ".join((self.address, self.suite, *self.components))


def read_sources(base: BaseFiles, architecture: str, mirror: str | None) -> list[Source]:
    """The base's sources of binary packages, at `mirror` if there is one: `{archive}` in it is the last part of their address.

    Raises:
        RefusedError: it has none, or none of its keys can be read.
    """
    found = []
    for options in _listed(base):
        address = options["uri"].replace("$(ARCH)", architecture).rstrip("/")
        wanted = options.get("architectures", "").replace(",", " ").split()
        if (wanted and architecture not in wanted) or urlsplit(address).scheme not in ("http", "https"):
            continue
        if mirror:
            address = mirror.replace("{archive}", posixpath.basename(urlsplit(address).path)).rstrip("/")
        expires = options.get("check-valid-until", "yes").lower() not in _NO and not _DATED.search(address)
        suite = options["suite"].replace("$(ARCH)", architecture)
        keys = _keys(base, options.get("signed-by", ""))
        found.append(Source(address, suite, tuple(options["components"].split()), keys, expires))
    if not found:
        raise RefusedError(
            f"{base.name} names no package sources that can be read over HTTP",
            hint="name an image.base with /etc/apt/sources.list, or set image.runtime-builder: engine",
        )
    return list(dict.fromkeys(found))


def _listed(base: BaseFiles) -> Iterator[dict[str, str]]:
    """Each source as options by the names of deb822, with one `uri` and one `suite`."""
    folder = "etc/apt/sources.list.d/"
    files = [path for path in sorted(base.nodes) if path.startswith(folder) and path.endswith((".list", ".sources"))]
    for path in ("etc/apt/sources.list", *files):
        yield from _deb822(base.text(path)) if path.endswith(".sources") else _lines(base.text(path))


def _lines(text: str) -> Iterator[dict[str, str]]:
    names = {"arch": "architectures"}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.partition("#")[0].strip()):
            pairs = (option.partition("=")[::2] for option in (match[1] or "").split())
            options = {names.get(name.lower(), name.lower()): value for name, value in pairs}
            options["signed-by"] = options.get("signed-by", "").replace(",", " ")
            yield {**options, "uri": match[2], "suite": match[3], "components": match[4]}


def _deb822(text: str) -> Iterator[dict[str, str]]:
    for fields in paragraphs(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in _NO:
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield {**fields, "uri": uri, "suite": suite, "components": fields.get("components", "")}


def _keys(base: BaseFiles, signed_by: str) -> Keys:
    """Those that a source names; all that apt trusts for any source if it names none."""
    if "-----BEGIN" in signed_by:  # the key itself, where a dot stands for an empty line
        return Keys((_keyring("\n".join("" if line == "." else line for line in signed_by.splitlines()).encode()),))
    named = signed_by.split()
    fingerprints = frozenset(one.rstrip("!").upper() for one in named if _FINGERPRINT.fullmatch(one))
    paths = [one for one in named if one.startswith("/")]
    if not paths:
        paths = [path for path in sorted(base.nodes) if re.fullmatch(r"etc/apt/trusted\.gpg(\.d/[^/]+\.(gpg|asc))?", path)]
    contents = [base.text(path).encode(errors="surrogateescape") for path in paths]
    keyrings = tuple(_keyring(content) for content in contents if content)
    if not keyrings:
        named_here = f" {' '.join(paths)}" if paths else ""
        raise RefusedError(
            f"{base.name} has no keys for its package sources{named_here}",
            hint="name an image.base with the keyring that its sources name, or set image.runtime-builder: engine",
        )
    return Keys(keyrings, fingerprints)


def _keyring(content: bytes) -> bytes:
    """As gpgv reads it: what is in ASCII armor is taken out (RFC 9580, 6.2)."""
    blocks = _ARMOR.findall(content.decode(errors="replace")) if content.lstrip().startswith(b"-----BEGIN") else []
    return b"".join(map(_unarmored, blocks)) if blocks else content


def _unarmored(block: str) -> bytes:
    lines = block.replace("\r", "").split("\n")
    body = lines[lines.index("", 1) + 1 :] if "" in lines[1:] else lines
    try:
        return base64.b64decode("".join(line.strip() for line in body if not line.startswith("=")), validate=True)
    except binascii.Error:
        return b""


def release_of(base: BaseFiles) -> Mapping[str, str]:
    """The variables of os-release(5)."""
    text = base.text("etc/os-release") or base.text("usr/lib/os-release")
    lines = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in lines}
