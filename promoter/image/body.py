"""What an upload sends: a blob's bytes, read once and hashed on the way, and kept until the registry has confirmed them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from promoter.errors import RefusedError

CHUNK_SIZE = 12 << 20
"""Bytes that are sent at a time, and at most once more if the connection breaks."""


class ChunkReader:
    """Reads chunks once, and counts and hashes them on the way."""

    def __init__(self, chunks: Iterable[bytes], size: int | None) -> None:
        self._chunks, self.size = iter(chunks), size
        self._sha256 = hashlib.sha256()
        self.seen = 0
        # Whether an error comes from reading the chunks, not from the HTTP client or the registry.
        self.at_fault = False

    def read(self) -> bytes:
        """The next bytes, none at the end.

        Raises:
            RefusedError: there are more or less of them than announced.
        """
        self.at_fault = True
        chunk = next(filter(None, self._chunks), b"")
        self.seen += len(chunk)
        if self.size is not None and (self.seen > self.size or (not chunk and self.seen < self.size)):
            raise RefusedError(f"{self.seen} bytes came for a blob of {self.size}", hint="run again")
        self.at_fault = False
        self._sha256.update(chunk)
        return chunk

    def finished(self) -> str:
        """The digest, when everything has been read.

        Raises:
            RefusedError: more bytes follow.
        """
        if self.read():
            raise RefusedError(f"more than {self.size} bytes came for a blob of that size", hint="run again")
        return "sha256:" + self._sha256.hexdigest()


class Window:
    """The part of a source that the registry has not confirmed yet, from `start` on: what was read of it is kept in memory."""

    def __init__(self, source: ChunkReader) -> None:
        self.source = source
        self.start = self._end = 0
        self._kept: deque[memoryview] = deque()
        self._rest = memoryview(b"")

    def next_end(self, length: int) -> int:
        """The end of a chunk of this length, or of the blob; without a known size, finding the blob's end means reading it."""
        end = self.start + length
        if self.source.size is not None:
            return min(end, self.source.size)
        for _ in self.read(self.start, end):
            pass
        return self._end

    def read(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes from `start` to `end`, as often as they are asked for."""
        place = self.start
        for piece in tuple(self._kept):
            if place + len(piece) > start:
                yield piece[max(0, start - place) :]
            place += len(piece)
        while self._end < end:
            self._rest = self._rest or memoryview(self.source.read())
            if not self._rest:
                return
            piece, self._rest = self._rest[: end - self._end], self._rest[end - self._end :]
            self._kept.append(piece)
            self._end += len(piece)
            yield piece

    def move(self, start: int) -> None:
        """Drops everything before `start`."""
        self.start = self._end = start
        self._kept.clear()


class Whole:
    """All of a source, from its beginning each time that it is sent; `source` is the last one."""

    def __init__(self, chunks: Iterable[bytes], size: int | None) -> None:
        self._chunks, self.size = chunks, size
        self.source = ChunkReader(chunks, size)

    def read(self) -> Iterator[bytes]:
        self.source = ChunkReader(self._chunks, self.size)
        while chunk := self.source.read():
            yield chunk


class Body:
    """A request body that can be sent again; without a length it goes as HTTP's own chunks."""

    def __init__(self, read: Callable[[], Iterator[bytes | memoryview]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self._read()


class _SizedBody(Body):
    def __init__(self, read: Callable[[], Iterator[bytes | memoryview]], size: int) -> None:
        super().__init__(read)
        self._size = size

    def __len__(self) -> int:
        return self._size


def body(read: Callable[[], Iterator[bytes | memoryview]], size: int | None) -> Body:
    return Body(read) if size is None else _SizedBody(read, size)
