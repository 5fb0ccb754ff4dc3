"""gzip, for links that are slower than a fast codec: ISA-L's level 1, whose output depends on its version.

So that the digest of an image does not depend on a codec, compression is off unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from promoter.errors import UsageError
from promoter.machine.extras import install

_LEVEL = 1
_GZIP_WINDOW = 31


class Codec(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def codec() -> Codec:
    """A new compressor.

    Raises:
        UsageError: the package for it is not installed.
    """
    try:
        from isal import isal_zlib
    except ImportError:
        raise UsageError(
            "image.compress: gzip needs the package isal", hint=f"{install('gzip')}, or set compress: none"
        ) from None
    compressor: Codec = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
    return compressor


def compressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks as one gzip member, which names no file and no time; raises as `codec`."""
    compressor = codec()
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()
