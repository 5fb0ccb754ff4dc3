"""The packages that the base's sources offer: indexes, by the hashes of a signed InRelease.

https://wiki.debian.org/DebianRepository/Format

An index has 60,000 packages and more. It lies unpacked on the disk, and only paragraphs that are asked for are read.
"""

from __future__ import annotations

import mmap
import posixpath
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from promoter.errors import RefusedError
from promoter.image.runtime.debian.compressed import unpacked
from promoter.image.runtime.debian.control import Package, paragraphs
from promoter.image.runtime.debian.fetch import Archive
from promoter.image.runtime.debian.signature import signed_text
from promoter.image.runtime.debian.sources import Source
from promoter.machine.paths import flaw

_LARGEST_PACKED, _LARGEST = 256 << 20, 1 << 30
_LISTED = re.compile(r"([0-9a-f]{64})\s+(\d{1,15})\s+(\S+)")
_HASH = re.compile(r"[0-9a-f]{64}")
_EARLY = 60.0  # seconds that our clock may be behind the archive's
_BY_ITSELF, _IF_ASKED = 500, 1  # apt's priorities (apt_preferences(5))


@dataclass(frozen=True, slots=True)
class File:
    """A package's file, as a signed index lists it: `name` below the archive's address."""

    archive: str
    name: str
    size: int
    sha256: str

    @property
    def address(self) -> str:
        return f"{self.archive}/{quote(self.name)}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A package that may be installed; the larger `priority` comes first, then the newer version."""

    package: Package
    file: File
    priority: int


class Index:
    """One index, unpacked in a file; `address` is what its file names are below."""

    def __init__(self, path: Path, address: str, priority: int) -> None:
        self._address, self._priority = address, priority
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def named(self, name: str) -> Iterator[Candidate]:
        """The packages of this name. Raises ValueError."""
        for at in self._found(f"\nPackage: {name}\n"):
            yield self._candidate(at + 1)

    def offering(self, name: str) -> Iterator[Candidate]:
        """The packages of another name that provide this one. Raises ValueError."""
        for at in self._found(name):
            line = self._data.rfind(b"\n", 0, at) + 1
            if self._data[line : line + 10] == b"Provides: ":
                found = self._candidate(line)
                if found.package.name != name and any(name == offered for offered, _ in found.package.offers):
                    yield found

    def _found(self, text: str) -> Iterator[int]:
        wanted, at = text.encode(), -1
        while (at := self._data.find(wanted, at + 1)) >= 0:
            yield at

    def _candidate(self, at: int) -> Candidate:
        """Of the paragraph around this place."""
        start, end = self._data.rfind(b"\n\n", 0, at), self._data.find(b"\n\n", at)
        text = self._data[max(start, 0) : end if end >= 0 else len(self._data)].decode(errors="replace")
        package = Package(next(paragraphs(text)))
        name = posixpath.normpath(package.fields.get("filename", ""))
        size, digest = package.fields.get("size", ""), package.fields.get("sha256", "")
        if flaw(name) or not re.fullmatch(r"\d{1,15}", size) or not _HASH.fullmatch(digest):
            raise ValueError(f"{package} has no file with size and SHA256")
        return Candidate(package, File(self._address, name, int(size), digest), self._priority)


def read_indexes(sources: Sequence[Source], architecture: str, folder: Path, env: Mapping[str, str]) -> list[Index]:
    """Every index of these sources, unpacked in the folder.

    Raises:
        RefusedError: one is not signed by a key of its source, has expired, or is not the file that it should be.
        AuthError, UnreachableError, UsageError: as archives and disk answer, or gpgv is missing.
    """
    found = []
    for number, source in enumerate(sources):
        place = folder / str(number)
        place.mkdir()
        archive = Archive(source.address)
        where = f"{source.folder}/InRelease"
        release = archive.read(where)
        if release is None:
            raise RefusedError(
                f"{where} does not exist", hint="check the package sources of image.base, or image.packages-mirror"
            )
        signed = _Release(next(paragraphs(signed_text(release, source.keys, where, place, env)), {}), source, where)
        signed.require_current()
        for name in signed.indexes(architecture):
            path = place / quote(name, safe="")
            signed.fetch(archive, name, path)
            found.append(Index(path, source.address if source.components else source.folder, signed.priority))
    return found


class _Release:
    """What was signed: `where` is its address."""

    def __init__(self, fields: Mapping[str, str], source: Source, where: str) -> None:
        self._fields, self._source, self._where = fields, source, where
        listed = (_LISTED.fullmatch(line.strip()) for line in fields.get("sha256", "").splitlines())
        self._files = {match[3]: (int(match[2]), match[1]) for match in listed if match}

    @property
    def priority(self) -> int:
        return _IF_ASKED if self._fields.get("notautomatic", "") == "yes" else _BY_ITSELF

    def require_current(self) -> None:
        """An index that was signed for another suite, or replaced long ago, is not what its address stands for.

        Raises:
            RefusedError: it is such a one.
        """
        names = {self._fields.get("suite", ""), self._fields.get("codename", "")} - {""}
        wanted = self._source.suite
        if self._source.components and names and not {wanted, wanted.partition("/")[0]} & names:
            raise RefusedError(f"{self._where} is the index of {' or '.join(sorted(names))}, not of {wanted}", hint=_REPLAYED)
        now = time.time()
        if (until := self._time("valid-until")) and self._source.may_expire and now > until:
            raise RefusedError(f"{self._where} has expired: it is valid until {self._fields['valid-until']}", hint=_REPLAYED)
        if (made := self._time("date")) and now + _EARLY < made:
            raise RefusedError(f"{self._where} is from the future: {self._fields['date']}", hint="set this machine's clock")

    def _time(self, field: str) -> float | None:
        try:
            return parsedate_to_datetime(self._fields[field]).timestamp() if self._fields.get(field) else None
        except ValueError:
            raise RefusedError(f"{self._where}: {field} {self._fields[field]!r} is not a time", hint=_REPLAYED) from None

    def indexes(self, architecture: str) -> list[str]:
        """Names of indexes for the architecture, without the suffix of their compression."""
        if not self._source.components:
            return ["Packages"]
        kinds = [architecture]
        if "Packages" not in self._fields.get("no-support-for-architecture-all", ""):
            kinds.append("all")
        named = [f"{part}/binary-{kind}/Packages" for part in self._source.components for kind in kinds]
        return [name for name in named if self._packed(name)]

    def _packed(self, name: str) -> str | None:
        return next((suffix for suffix in (".xz", ".gz", "") if name + suffix in self._files), None)

    def fetch(self, archive: Archive, name: str, path: Path) -> None:
        """The index, unpacked at the path; raises as `read_indexes`."""
        suffix = self._packed(name)
        size, digest = self._files.get(f"{name}{suffix or ''}", (0, ""))
        if suffix is None or size > _LARGEST_PACKED:
            raise RefusedError(
                f"{self._where} lists no {name} that can be read", hint="check the package sources of image.base"
            )
        packed = path.with_suffix(".packed")
        plain = f"{self._source.folder}/{name}{suffix}"
        places = [plain]
        if self._fields.get("acquire-by-hash", "") == "yes":  # this one stays while the archive changes
            places.insert(0, f"{posixpath.dirname(plain)}/by-hash/SHA256/{digest}")
        if not any(archive.download(place, size, digest, packed) for place in places):
            raise RefusedError(f"{plain} does not exist, although {self._where} lists it", hint="run again later")
        largest = self._files.get(name, (_LARGEST, ""))[0]
        try:
            with packed.open("rb") as file, path.open("wb") as whole:
                whole.write(b"\n")  # every paragraph is between line breaks, the first one too
                for chunk in unpacked(file, suffix, largest):
                    whole.write(chunk)
                whole.write(b"\n")
        except ValueError as error:
            raise RefusedError(f"{plain} can't be read: {error}", hint="report it to who runs the archive") from None
        packed.unlink()


_REPLAYED = "an old index may be shown on purpose: check image.packages-mirror and proxies, and this machine's clock"
