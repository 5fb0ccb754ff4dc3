"""One wheel (https://packaging.python.org/en/latest/specifications/binary-distribution-format/), read where it lies.

Nothing of it is written to a disk. Every name passes the one function for names from outside; what a wheel may not contain is
refused before a byte of it is unpacked.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from promoter.errors import RefusedError
from promoter.image.runtime.unpacked.files import RUNTIME, File, Member
from promoter.machine.paths import flaw

LARGEST = 16 << 30
"""Bytes that a wheel may unpack to; the largest that are published have a quarter of that."""
_MOST_FILES = 250_000
_LARGEST_TEXT = 4 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1
_PYTHON_LINE = re.compile(rb"#!pythonw?(?=\s|$)")
_OBJECT = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*:\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*(?:\[.*\])?", re.ASCII)
_SCRIPT = """\
#!/{runtime}/bin/python
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.argv[0] = sys.argv[0].removesuffix(".exe")
    sys.exit({function}())
"""


@dataclass(frozen=True)
class Wheel:
    """The wheel at `path`, for CPython `python` (3.11)."""

    path: Path
    python: str

    @cached_property
    def name(self) -> str:
        """As package indexes have it (scikit-learn)."""
        return str(self._parsed[0])

    @cached_property
    def version(self) -> str:
        return str(self._parsed[1])

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @cached_property
    def files(self) -> tuple[File, ...]:
        """Everything that it installs, with the commands that it asks for, in no particular order.

        Raises:
            RefusedError: it is damaged, or contains what no wheel may.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                entries = self._checked(archive.infolist())
                self._require_version(archive, entries)
                files = [self._file(archive, path, entry) for path, entry in entries.items()]
                return (*files, *self._commands(archive, entries))
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError, struct.error) as error:
            raise self._refused(f"it can't be read: {error}") from None

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(file.size for file in self.files)

    @cached_property
    def _parsed(self) -> tuple[object, ...]:
        try:
            return parse_wheel_filename(self.path.name)
        except InvalidWheelFilename:
            raise RefusedError(f"{self.path.name} is not the name of a wheel", hint="check the package index") from None

    def _checked(self, listed: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        """The entries that are files, each by its name, which is safe."""
        if len(listed) > _MOST_FILES:
            raise self._refused(f"it lists {len(listed)} files")
        if (total := sum(entry.file_size for entry in listed)) > LARGEST:
            raise self._refused(f"it would unpack to {total} bytes")
        if sum(entry.compress_size for entry in listed) > self.path.stat().st_size:
            raise self._refused("its files lie on top of each other")
        files: dict[str, zipfile.ZipInfo] = {}
        for entry in listed:
            if why := self._flaw(entry):
                raise self._refused(f"{entry.orig_filename!r}: {why}")
            if entry.is_dir():
                continue
            if entry.filename in files:
                raise self._refused(f"{entry.filename!r} is in it twice")
            files[entry.filename] = entry
        return files

    @staticmethod
    def _flaw(entry: zipfile.ZipInfo) -> str:
        # zipfile cuts a name at a NUL; the one that was written counts.
        name = entry.orig_filename.removesuffix("/") if entry.is_dir() else entry.orig_filename
        if why := flaw(name):
            return why
        if any(part.startswith(".wh.") for part in name.split("/")):
            return "a name that starts with .wh. deletes files in an image layer"
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            return "it is a link or a device"
        if entry.flag_bits & _ENCRYPTED:
            return "it is encrypted"
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"it is compressed by method {entry.compress_type}, not by deflate"
        return ""

    def _require_version(self, archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> None:
        text = self._text(archive, entries, "WHEEL")
        if text is None or not re.search(r"^Wheel-Version:\s*1\.\d+\s*$", text, re.MULTILINE):
            raise self._refused("it is not a wheel of version 1")

    def _file(self, archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> File:
        path = self._place(name)
        content: Member | bytes = self._member(entry)
        executable = bool(entry.external_attr >> 16 & 0o111)
        if path.startswith(f"{RUNTIME}/bin/"):
            executable = True
            with archive.open(entry) as file:
                start = file.read(64)
                if match := _PYTHON_LINE.match(start):
                    if entry.file_size > _LARGEST_TEXT:
                        raise self._refused(f"the script {name!r} has {entry.file_size} bytes")
                    content = f"#!/{RUNTIME}/bin/python".encode() + start[match.end() :] + file.read()
        return File(path, content, str(self), 0o755 if executable else 0o644)

    def _place(self, name: str) -> str:
        """The path in the image."""
        site = f"{RUNTIME}/lib/python{self.python}/site-packages/"
        first, _, rest = name.partition("/")
        if not rest or not first.endswith(".data"):
            return site + name
        scheme, _, rest = rest.partition("/")
        places = {
            "purelib": site,
            "platlib": site,
            "scripts": f"{RUNTIME}/bin/",
            "data": f"{RUNTIME}/",
            "headers": f"{RUNTIME}/include/site/python{self.python}/{self.name}/",
        }
        if scheme not in places or not rest:
            raise self._refused(f"{name!r} is for a place that wheels do not have")
        return places[scheme] + rest

    def _member(self, entry: zipfile.ZipInfo) -> Member:
        """Where the bytes are: the header in front of them may be longer than the one in the list."""
        with self.path.open("rb") as raw:
            raw.seek(entry.header_offset)
            magic, name, extra = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
        if magic != b"PK\x03\x04":
            raise self._refused(f"{entry.filename!r} is not where the list has it")
        offset = entry.header_offset + _LOCAL_HEADER.size + name + extra
        deflated = entry.compress_type == zipfile.ZIP_DEFLATED
        if not deflated and entry.compress_size != entry.file_size:
            raise self._refused(f"{entry.filename!r} has two sizes")
        return Member(self.path, offset, entry.compress_size, entry.file_size, entry.CRC, deflated)

    def _commands(self, archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> Iterator[File]:
        """https://packaging.python.org/en/latest/specifications/entry-points/#use-for-scripts"""
        parser = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(self._text(archive, entries, "entry_points.txt") or "")
        except ConfigError:
            raise self._refused("its entry_points.txt can't be read") from None
        for section in ("console_scripts", "gui_scripts"):
            for name, value in parser.items(section) if parser.has_section(section) else ():
                match = _OBJECT.fullmatch(value.strip())
                if flaw(name) or "/" in name or match is None:
                    raise self._refused(f"the command {name!r} can't be made of {value!r}")
                words = {"runtime": RUNTIME, "module": match[1], "first": match[2].partition(".")[0], "function": match[2]}
                yield File(f"{RUNTIME}/bin/{name}", _SCRIPT.format(**words).encode(), str(self), 0o755)

    def _text(self, archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str) -> str | None:
        """A file of the wheel's own folder `*.dist-info`; None if it does not have that."""
        found = [path for path in entries if re.fullmatch(rf"[^/]+\.dist-info/{re.escape(name)}", path)]
        if len(found) > 1:
            raise self._refused(f"it has {len(found)} files {name}")
        if not found:
            return None
        if entries[found[0]].file_size > _LARGEST_TEXT:
            raise self._refused(f"its {name} has {entries[found[0]].file_size} bytes")
        return archive.read(entries[found[0]]).decode(errors="replace")

    def _refused(self, why: str) -> RefusedError:
        return RefusedError(
            f"the wheel {self.path.name} can't be unpacked: {why}",
            hint="the index has that file under the hash of the lock: report it to who published the package",
        )
