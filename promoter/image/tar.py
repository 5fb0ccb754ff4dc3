"""Tar as promoter writes it into layers: POSIX.1-2001, "ustar Interchange Format" and "pax Header Block".

Headers are written here and not by tarfile, whose fields and defaults change between Python versions; a digest that Git pins
for years must not. Everything belongs to root and has time 0.
"""

from __future__ import annotations

from collections.abc import Iterable

FILE, SAME, LINK, DIRECTORY, _PAX = b"0", b"1", b"2", b"5", b"x"
_BLOCK = 512
_LARGEST_USTAR_SIZE = 0o77777777777
END = bytes(2 * _BLOCK)
"""What follows the last file."""


def padded(size: int) -> int:
    """Bytes that content of this size takes."""
    return -(-size // _BLOCK) * _BLOCK


def folders(paths: Iterable[str]) -> set[str]:
    """Every folder above these paths."""
    return {path[:at] for path in paths for at, character in enumerate(path) if character == "/"}


def header(name: str, size: int = 0, kind: bytes = FILE, *, mode: int | None = None, link: str = "") -> bytes:
    """The header of a file, a folder (whose name ends with a slash), a symbolic link to `link`, or another name of that file.

    It is USTAR; a name that is not short ASCII or a size of 8 GiB gets a PAX record before it.
    """
    encoded, target = name.encode(), link.encode()
    records = b""
    if not name.isascii() or len(encoded) > 100:
        records += _pax_record("path", encoded)
    if not link.isascii() or len(target) > 100:
        records += _pax_record("linkpath", target)
    if size > _LARGEST_USTAR_SIZE:
        records += _pax_record("size", str(size).encode())
        size = 0
    mode = (0o755 if kind == DIRECTORY else 0o777 if kind == LINK else 0o644) if mode is None else mode
    block = _ustar(name.encode("ascii", "replace")[:100], size, kind, mode, link.encode("ascii", "replace")[:100])
    if not records:
        return block
    return _ustar(b"././@PaxHeader", len(records), _PAX, 0o644) + records.ljust(padded(len(records)), b"\0") + block


def _pax_record(key: str, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`; the length includes its own digits."""
    length = rest = len(key) + len(value) + 3
    while length != rest + len(str(length)):
        length = rest + len(str(length))
    return f"{length} {key}=".encode() + value + b"\n"


def _ustar(name: bytes, size: int, kind: bytes, mode: int, link: bytes = b"") -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0",  # uid
        b"0000000\0",  # gid
        b"%011o\0" % size,
        b"00000000000\0",  # mtime
        b"        ",  # checksum: counted as spaces
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(32 + 32),  # user and group name
        b"0000000\0" * 2,  # device
        bytes(155 + 12),  # prefix, padding
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
