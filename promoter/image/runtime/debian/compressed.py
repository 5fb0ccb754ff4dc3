"""Compressed files of Debian's formats, unpacked no further than to a limit."""

from __future__ import annotations

import gzip
import importlib
import lzma
import zlib
from collections.abc import Iterator
from typing import IO, Any

from promoter.image.layer import CHUNK

SUFFIXES = ("", ".xz", ".gz", ".zst")


def unpacked(file: IO[bytes], suffix: str, largest: int) -> Iterator[bytes]:
    """What a file of this suffix unpacks to, in chunks.

    Raises:
        ValueError: it is damaged, too large, or of a kind that this Python can't unpack.
    """
    seen = 0
    try:
        stream = _opened(file, suffix)
        while chunk := stream.read(CHUNK):
            seen += len(chunk)
            if seen > largest:
                raise ValueError(f"it unpacks to more than {largest} bytes")
            yield chunk
    except (lzma.LZMAError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"it is damaged: {error}") from None


def _opened(file: IO[bytes], suffix: str) -> Any:
    if suffix == ".xz":
        return lzma.LZMAFile(file)
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=file)
    if suffix == ".zst":
        try:
            return importlib.import_module("compression.zstd").ZstdFile(file)
        except ImportError:
            raise ValueError("it is compressed by zstd, which Python reads from 3.14 on") from None
    if suffix:
        raise ValueError(f"it is compressed as {suffix}")
    return file
