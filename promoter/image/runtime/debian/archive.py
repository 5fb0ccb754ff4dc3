"""One .deb (deb(5)), read and never run: its files, and what dpkg keeps of it.

A package whose own scripts have work to do is refused, as is every name, link and kind of file that no library has.
"""

from __future__ import annotations

import io
import posixpath
import re
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from promoter.errors import RefusedError
from promoter.image.layer import CHUNK
from promoter.image.runtime.debian.compressed import SUFFIXES, unpacked
from promoter.image.runtime.debian.control import Package, paragraphs
from promoter.image.runtime.unpacked.files import Link, Member
from promoter.machine.paths import flaw, leads_below

_MAGIC, _HEADER = b"!<arch>\n", 60
_LARGEST, _LARGEST_CONTROL, _MOST_FILES = 8 << 30, 16 << 20, 250_000
_NAMES = re.compile(r"(control|data)\.tar(\.[a-z0-9]+)?")
_RUN = ("preinst", "postinst", "config")
"""What dpkg or debconf runs when a package is installed; prerm and postrm are for its end, and are kept for that."""
# What does nothing where the package is new, or what a layer has no need of: the loader looks in the libraries' folders.
_IDLE = re.compile(
    r"(set -[eu]+|:|exit 0|ldconfig"
    r'|dpkg-maintscript-helper (rm_conffile|mv_conffile|symlink_to_dir|dir_to_symlink) [^;&|`$]*(-- "\$@")?)'
)
_TRIGGER = re.compile(r"activate(-noawait|-await)? ldconfig")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder (without content) or link of a package, by its path in the image without a slash in front."""

    path: str
    content: Member | Link | None
    mode: int


@dataclass(frozen=True, slots=True)
class Deb:
    """`control` is the package's paragraph as it is written there, `kept` what dpkg keeps next to it, by name."""

    package: Package
    control: str
    kept: dict[str, bytes]
    entries: tuple[Entry, ...]


def read_deb(path: Path, folder: Path) -> Deb:
    """The package in a file; its content is unpacked as one tar into the folder.

    Raises:
        RefusedError: it is damaged, needs scripts of its own, or contains what is not put into a layer.
    """
    try:
        with path.open("rb") as file:
            control, data = _parts(file)
            kept = dict(_control(control.open(file), control.suffix))
            content = folder / f"{path.stem}.tar"
            with content.open("wb") as out:
                for chunk in unpacked(data.open(file), data.suffix, _LARGEST):
                    out.write(chunk)
        text = kept.pop("control", b"").decode()
        package = _package(text)
        _require_idle(kept)
        return Deb(package, text, kept, tuple(_entries(content)))
    except (ValueError, tarfile.TarError, EOFError, RecursionError) as error:
        raise RefusedError(f"the package {path.name} can't be unpacked: {error}", hint=_HINT) from None


def _package(control: str) -> Package:
    found = list(paragraphs(control))
    if len(found) != 1 or not control.lower().startswith("package:") or "status" in found[0]:
        raise ValueError("its control file is not one paragraph that begins with its name")
    return Package(found[0])


_HINT = "set image.runtime-builder: engine, which installs it with apt-get, or name an image.base that has it"


@dataclass(frozen=True, slots=True)
class _Part:
    suffix: str
    offset: int
    size: int

    def open(self, file: IO[bytes]) -> IO[bytes]:
        return io.BufferedReader(_Window(file, self.offset, self.size))


def _parts(file: IO[bytes]) -> tuple[_Part, _Part]:
    """control.tar and data.tar: the second and the third member of an ar archive."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is not an ar archive")
    found: list[tuple[str, _Part]] = []
    while header := file.read(_HEADER):
        name, length = header[:16].decode("ascii", "replace").rstrip(" /"), header[48:58].strip()
        start = file.tell()
        if header[58:] != b"`\n" or not re.fullmatch(rb"\d+", length) or start + int(length) > size:
            raise ValueError("its list of parts is damaged")
        if not name.startswith("_"):
            found.append((name, _Part("".join(re.findall(r"\.(?!tar)[a-z0-9]+$", name)), start, int(length))))
        file.seek(start + int(length) + int(length) % 2)
    names = [name for name, _ in found]
    matches = [_NAMES.fullmatch(name) for name in names[1:]]
    if names[:1] != ["debian-binary"] or [match and match[1] for match in matches] != ["control", "data"]:
        raise ValueError(f"its parts are {', '.join(names) or 'missing'}")
    for _, part in found[1:]:
        if part.suffix not in SUFFIXES:
            raise ValueError(f"it is compressed as {part.suffix}")
    return found[1][1], found[2][1]


def _control(file: IO[bytes], suffix: str) -> Iterator[tuple[str, bytes]]:
    data = b"".join(unpacked(file, suffix, _LARGEST_CONTROL))
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for entry in archive:
            name = posixpath.normpath(entry.name)
            opened = archive.extractfile(entry) if entry.isreg() else None
            if opened and re.fullmatch(r"[a-z0-9_+-]+", name):
                yield name, opened.read()


def _require_idle(kept: dict[str, bytes]) -> None:
    for name in _RUN:
        if name in kept and not _is_idle(kept[name].decode(errors="replace")):
            raise ValueError(f"it needs its own script {name}, which is not run without an engine")
    for line in _code(kept.get("triggers", b"").decode(errors="replace")):
        if not _TRIGGER.fullmatch(" ".join(line.split())):
            raise ValueError(f"it needs a trigger ({line}), which is not run without an engine")


def _is_idle(script: str) -> bool:
    first, *lines = [*script.splitlines(), ""]
    shell = re.fullmatch(r"#!\s*/bin/(ba|da)?sh(\s+-[eu]+)?\s*", first) is not None
    return shell and all(_IDLE.fullmatch(line) for line in _code("\n".join(lines)))


def _code(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _entries(content: Path) -> Iterator[Entry]:
    """Everything in data.tar, each name checked; the same name twice is refused."""
    found: dict[str, Entry] = {}
    size = content.stat().st_size
    with tarfile.open(content, "r:") as archive, content.open("rb") as file:
        for entry in archive:
            path = _plain(entry.name)
            if path == "" and entry.isdir():
                continue
            if why := _flaw(entry, size):
                raise ValueError(f"{entry.name!r}: {why}")
            if path in found or len(found) >= _MOST_FILES:
                raise ValueError(f"{entry.name!r} is in it twice" if path in found else f"it has more than {_MOST_FILES} files")
            found[path] = Entry(path, _content(entry, found, content, file), stat.S_IMODE(entry.mode))
    yield from found.values()


def _plain(name: str) -> str:
    return posixpath.normpath(f"/{name}").strip("/")


def _flaw(entry: tarfile.TarInfo, size: int) -> str:
    name = entry.name.removeprefix("./").removesuffix("/") if entry.isdir() else entry.name.removeprefix("./")
    if why := flaw(name):
        return why
    if any(part.startswith(".wh.") for part in name.split("/")):
        return "a name that starts with .wh. deletes files in an image layer"
    if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()) or entry.issparse():
        return "it is a device, a pipe or a sparse file"
    if entry.mode & 0o7000 and not entry.issym():
        return f"its mode is {entry.mode & 0o7777:o}: set-user-ID, set-group-ID and sticky bits are not put into a layer"
    if (entry.uid, entry.gid) != (0, 0):
        return f"it belongs to {entry.uid}:{entry.gid}, not to root"
    if entry.issym() and not _leads_inside(name, entry.linkname):
        return f"it is a link to {entry.linkname!r}, which leads out of the image"
    if entry.isreg() and entry.offset_data + entry.size > size:
        return "its content is not there"
    return ""


def _leads_inside(name: str, target: str) -> bool:
    """An absolute link is one below the image's root."""
    return not flaw(target.strip("/")) if target.startswith("/") else leads_below(name, target)


def _content(entry: tarfile.TarInfo, before: Mapping[str, Entry], content: Path, file: IO[bytes]) -> Member | Link | None:
    if entry.isdir():
        return None
    if entry.issym():
        return Link(entry.linkname)
    if entry.islnk():  # another name of a file in front of it
        target = before.get(_plain(entry.linkname))
        if target is None or not isinstance(target.content, Member):
            raise ValueError(f"{entry.name!r} is another name of {entry.linkname!r}, which is not in front of it")
        return target.content
    return Member(content, entry.offset_data, entry.size, entry.size, _checksum(file, entry), deflated=False)


def _checksum(file: IO[bytes], entry: tarfile.TarInfo) -> int:
    file.seek(entry.offset_data)
    crc, left = 0, entry.size
    while left and (chunk := file.read(min(CHUNK, left))):
        crc, left = zlib.crc32(chunk, crc), left - len(chunk)
    return crc


class _Window(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._at, self._end = file, offset, offset + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._at)
        chunk = self._file.read(min(len(buffer), self._end - self._at))
        self._at += len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)
