"""Files as a layer in gzip, whose compressed bytes are those of the wheels: nothing is compressed again, here or anywhere.

A gzip file may have many members (RFC 1952, 2.2), and a wheel is a zip, whose files are compressed by the same algorithm. So
the layer is the wheel's own bytes between headers of tar: the same on every machine, whatever its zlib, Python, time or locale.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from promoter.errors import RefusedError
from promoter.image import tar
from promoter.image.layer import CHUNK
from promoter.image.oci import LAYER_GZIP, Descriptor, Restartable
from promoter.image.runtime.unpacked.files import File, Link, Member

_GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, no time, no system
_LARGEST_BLOCK = 0xFFFF


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer before it is sent; `diff_id` is the digest of its tar, and `chunks` may be read more than once."""

    blob: Descriptor
    diff_id: str
    chunks: Restartable


def pack_files(files: Sequence[File], folders: Collection[str] | None = None) -> PackedLayer:
    """The layer of these files with their folders, sorted by the bytes of their path; read once here, to know its digests.

    `folders` are those that it contains: all above the files by default.

    Raises:
        RefusedError: a file does not have the size or the checksum that its wheel lists.
    """
    plain, packed = hashlib.sha256(), hashlib.sha256()
    size = 0
    listed = tar.folders([file.path for file in files]) if folders is None else folders
    for chunk in _chunks(files, listed, plain.update):
        packed.update(chunk)
        size += len(chunk)
    blob = Descriptor(LAYER_GZIP, f"sha256:{packed.hexdigest()}", size)
    return PackedLayer(blob, f"sha256:{plain.hexdigest()}", Restartable(lambda: _chunks(files, listed)))


def read_member(member: Member) -> Iterator[bytes]:
    """A file of a wheel in chunks.

    Raises:
        RefusedError: it does not have the size or the checksum that the wheel lists.
    """
    left, crc = member.size, 0
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in _stored(member):
        for part in _inflated(inflater, chunk) if member.deflated else (chunk,):
            left -= len(part)
            if left < 0:
                raise _damaged(member)
            crc = zlib.crc32(part, crc)
            yield part
    if left or crc != member.crc or (member.deflated and (not inflater.eof or inflater.unused_data)):
        raise _damaged(member)


def _chunks(files: Sequence[File], folders: Collection[str], plain: Callable[[bytes], object] | None = None) -> Iterator[bytes]:
    """The layer in chunks; `plain` gets what they unpack to."""
    waiting = bytearray()
    for header, file in _headers(files, folders):
        waiting += header
        content = file.content if file else b""
        if isinstance(content, bytes):
            waiting += content
        elif isinstance(content, Member) and content.size:
            if plain:
                plain(bytes(waiting))
            yield _uncompressed(waiting)
            waiting.clear()
            yield from _member(content, plain)
        if file and not isinstance(content, Link):
            waiting += bytes(tar.padded(file.size) - file.size)
    waiting += tar.END
    if plain:
        plain(bytes(waiting))
    yield _uncompressed(waiting)


def _headers(files: Sequence[File], folders: Collection[str]) -> Iterator[tuple[bytes, File | None]]:
    """Each with the file whose content follows it, if any does; a file of several names comes under the first of them."""
    names: dict[str, File | None] = dict.fromkeys(folders)
    names |= {file.path: file for file in files}
    first: dict[Member, str] = {}
    for name, file in sorted(names.items(), key=lambda entry: entry[0].encode()):
        if file is None:
            yield tar.header(f"{name}/", kind=tar.DIRECTORY), None
        elif isinstance(file.content, Link):
            yield tar.header(name, kind=tar.LINK, link=file.content.target), file
        elif isinstance(file.content, Member) and first.setdefault(file.content, name) != name:
            yield tar.header(name, mode=file.mode, kind=tar.SAME, link=first[file.content]), None
        else:
            yield tar.header(name, file.size, mode=file.mode), file


def _member(member: Member, plain: Callable[[bytes], object] | None) -> Iterator[bytes]:
    """The wheel's bytes as a member of gzip; they are unpacked, and thereby checked, for `plain` only."""
    if plain:
        for part in read_member(member):
            plain(part)
    yield _GZIP
    if member.deflated:
        yield from _stored(member)
    else:
        for chunk in _stored(member):
            yield b"".join(_blocks(chunk, last=False))
        yield struct.pack("<BHH", 1, 0, 0xFFFF)
    yield struct.pack("<II", member.crc, member.size & 0xFFFFFFFF)


def _uncompressed(data: bytes | bytearray) -> bytes:
    """A member of gzip that is not compressed: what zlib makes of headers is not the same everywhere."""
    blocks = b"".join(_blocks(data, last=True))
    return _GZIP + blocks + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def _blocks(data: bytes | bytearray, *, last: bool) -> Iterator[bytes]:
    """RFC 1951, 3.2.4."""
    for start in range(0, len(data), _LARGEST_BLOCK):
        part = data[start : start + _LARGEST_BLOCK]
        final = last and start + _LARGEST_BLOCK >= len(data)
        yield struct.pack("<BHH", final, len(part), len(part) ^ 0xFFFF) + part


def _stored(member: Member) -> Iterator[bytes]:
    left = member.stored
    with member.archive.open("rb") as file:
        file.seek(member.offset)
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
    if left:
        raise _damaged(member)


def _inflated(inflater: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    try:
        part = inflater.decompress(data, CHUNK)
        while part or inflater.unconsumed_tail:
            yield part
            part = inflater.decompress(inflater.unconsumed_tail, CHUNK)
    except zlib.error:
        return  # what is missing shows


def _damaged(member: Member) -> RefusedError:
    return RefusedError(
        f"the wheel {member.archive.name} is damaged: a file is not what its list has", hint="report it to who published it"
    )
