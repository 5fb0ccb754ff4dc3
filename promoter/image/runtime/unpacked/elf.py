"""What a shared library needs and offers, read from its dynamic section (https://gabi.xinuos.com/elf/08-dynamic.html).

Versions of symbols are GNU's (https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

MACHINES = {62: "amd64", 183: "arm64"}
_LARGEST_TABLE, _MOST = 1 << 20, 10_000
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRTAB, _STRSZ, _SONAME = 1, 5, 10, 14
_VERDEF, _VERNEED = 0x6FFFFFFC, 0x6FFFFFFE


@dataclass(frozen=True, slots=True)
class Library:
    """`machine` in Go's words (amd64), or ELF's number; `offered` and `required` are versions of symbols, by library."""

    machine: str
    soname: str = ""
    needed: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    required: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, value: dict[str, Any]) -> Library:
        """From `as_json`."""
        required = tuple((name, tuple(versions)) for name, versions in value["required"])
        return cls(value["machine"], value["soname"], tuple(value["needed"]), tuple(value["offered"]), required)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_library(file: IO[bytes]) -> Library | None:
    """The library in a file that can be searched; None if it is not a 64-bit little-endian ELF file, or damaged."""
    try:
        return _Reader(file).library()
    except (struct.error, ValueError, IndexError, OverflowError):
        return None


class _Reader:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        header = self._at(0, 64)
        if header[:6] != b"\x7fELF\x02\x01":
            raise ValueError
        (self._machine,) = struct.unpack_from("<H", header, 18)
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        programs = self._at(table, size * count)
        # type, flags, offset in the file, address, physical address, length in the file
        self._segments = [struct.unpack_from("<IIQQQQ", programs, number * size) for number in range(count)]
        self._entries = list(self._dynamic())
        self._strings = self._at(self._offset(self._value(_STRTAB)), min(self._value(_STRSZ), 16 * _LARGEST_TABLE))

    def library(self) -> Library:
        needed = tuple(self._string(value) for tag, value in self._entries if tag == _NEEDED)
        soname = next((self._string(value) for tag, value in self._entries if tag == _SONAME), "")
        machine = MACHINES.get(self._machine, str(self._machine))
        return Library(machine, soname, needed, tuple(self._offered()), tuple(self._required()))

    def _dynamic(self) -> Iterator[tuple[int, int]]:
        for kind, _, offset, _, _, length in self._segments:
            if kind == _DYNAMIC:
                data = self._at(offset, min(length, _LARGEST_TABLE))
                for at in range(0, len(data) - 15, 16):
                    tag, value = struct.unpack_from("<QQ", data, at)
                    if tag == 0:
                        return
                    yield tag, value

    def _offered(self) -> Iterator[str]:
        """Of each definition its first name; the others are versions that it came from."""
        at = self._offset(self._value(_VERDEF, 0))
        for _ in range(_MOST if at else 0):
            _, flags, _, _, _, names, following = struct.unpack("<HHHHIII", self._at(at, 20))
            if not flags & 1:  # the library's own name
                yield self._string(struct.unpack("<I", self._at(at + names, 4))[0])
            if not following:
                return
            at += following

    def _required(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        at = self._offset(self._value(_VERNEED, 0))
        for _ in range(_MOST if at else 0):
            _, count, name, names, following = struct.unpack("<HHIII", self._at(at, 16))
            yield self._string(name), tuple(self._names(at + names, min(count, _MOST)))
            if not following:
                return
            at += following

    def _names(self, at: int, count: int) -> Iterator[str]:
        for _ in range(count):
            _, flags, _, name, following = struct.unpack("<IHHII", self._at(at, 16))
            if not flags & 2:  # weak: it is taken if it is there
                yield self._string(name)
            at += following

    def _value(self, tag: int, missing: int | None = None) -> int:
        found = next((value for one, value in self._entries if one == tag), missing)
        if found is None:
            raise ValueError(tag)
        return found

    def _offset(self, address: int) -> int:
        """Where an address is in the file; 0 if there is none."""
        for kind, _, offset, start, _, length in self._segments:
            if address and kind == _LOAD and start <= address < start + length:
                return int(address - start + offset)
        return 0

    def _string(self, at: int) -> str:
        return self._strings[at : self._strings.index(b"\0", at)].decode(errors="replace")

    def _at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) < length:
            raise ValueError(offset)
        return data
