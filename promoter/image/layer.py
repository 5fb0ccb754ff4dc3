"""Model files as one reproducible image layer: the same files are the same bytes on every machine and every Python.

See tar.py for its headers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from promoter.errors import RefusedError, UnreachableError
from promoter.image import tar
from promoter.machine.paths import flaw
from promoter.models import ModelFile

MODEL_FOLDER = "opt/model"
CHUNK = 1 << 20


class Readable(Protocol):
    """What a model file is read from; an empty answer is the end."""

    def read(self, size: int, /) -> bytes: ...


Open = Callable[[ModelFile], AbstractContextManager[Readable]]


def content_digest(files: Iterable[ModelFile], open_file: Open) -> str:
    """What identifies a model's content: `sha256:` and the sha256 of its sorted list of files.

    The list has one line `<sha256 in hexadecimal>  <path>\\n` a file, in UTF-8, sorted by the bytes of the path; it is what
    `find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum` prints. Names, times and modes outside of that do
    not count.

    Raises:
        RefusedError: a path that can't be packed safely, or a file that is not as long as it was listed.
        UnreachableError: a file can't be read.
    """
    digests = []
    for file in sort_checked(files):
        sha256 = hashlib.sha256()
        for chunk in _read(file, open_file):
            sha256.update(chunk)
        digests.append((file.path, sha256.hexdigest()))
    return _digest_of_list(digests)


def packed_size(files: Iterable[ModelFile]) -> int:
    """Bytes of the layer that `pack` makes, known before anything is read.

    Raises:
        RefusedError: a path that can't be packed safely.
    """
    entries = _entries(sort_checked(files))
    return sum(len(header) + (tar.padded(file.size) if file else 0) for header, file in entries) + len(tar.END)


def pack(files: Iterable[ModelFile], open_file: Open) -> Generator[bytes, None, str]:
    """The uncompressed tar layer in chunks; what the generator returns is the content digest, computed on the way.

    Files stand under `opt/model/` with their folders, sorted by the bytes of their path; everything belongs to root, mode 0644
    (folders 0755), time 0. A header is USTAR; a name that is not short ASCII or a size of 8 GiB gets a PAX record before it.
    Media type `application/vnd.oci.image.layer.v1.tar`, so that the digest does not depend on a codec.

    Raises:
        RefusedError: a path that can't be packed safely, or a file that is not as long as it was listed.
        UnreachableError: a file can't be read.
    """
    digests = []
    for header, file in _entries(sort_checked(files)):
        yield header
        if file is None:
            continue
        sha256 = hashlib.sha256()
        for chunk in _read(file, open_file):
            sha256.update(chunk)
            yield chunk
        yield bytes(tar.padded(file.size) - file.size)
        digests.append((file.path, sha256.hexdigest()))
    yield tar.END
    return _digest_of_list(digests)


def sort_checked(files: Iterable[ModelFile]) -> list[ModelFile]:
    """The files sorted by the bytes of their path, each of them safe in a layer.

    Raises:
        RefusedError: no file at all, two in one place, or a path that leaves the folder or means something else in a layer.
    """
    listed = list(files)
    for file in listed:
        if why := _refusal(file):
            raise RefusedError(f"model file {file.path!r} can't be packed: {why}", hint="log the model again without it")
    if not listed:
        raise RefusedError("the model version has no files", hint="check that its artifacts were uploaded")
    paths = [file.path for file in listed]
    taken = tar.folders(paths)
    for path in paths:
        if path in taken:
            raise RefusedError(f"model file {path!r} is listed twice, or is a folder too", hint="log the model again")
        taken.add(path)
    return sorted(listed, key=lambda file: file.path.encode())


def _refusal(file: ModelFile) -> str:
    try:
        file.path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    # sha256sum escapes backslashes and control characters: the list behind the content digest would have two spellings.
    if why := flaw(file.path):
        return why
    # https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts: such a file deletes another one.
    if any(part.startswith(".wh.") for part in file.path.split("/")):
        return "a name that starts with .wh. deletes files in an image layer"
    if file.size < 0:
        return f"its size is {file.size}"
    return ""


def _read(file: ModelFile, open_file: Open) -> Iterator[bytes]:
    """The file in chunks, exactly as long as listed."""
    left = file.size
    try:
        with open_file(file) as stream:
            # One byte more than is left: a file that grew must not pass for the one that was listed.
            while chunk := stream.read(min(CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
    except OSError as error:
        # Not the error's own words: those of an HTTP client repeat signed URLs.
        reason = error.strerror or type(error).__name__
        raise UnreachableError(f"model file {file.path!r} can't be read: {reason}", hint="run again") from None
    if left:
        raise RefusedError(
            f"model file {file.path!r} is not {file.size} bytes long, as listed: it changed while it was read",
            hint="run again once nobody writes to the model version",
        )


def _digest_of_list(digests: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"{digest}  {path}\n" for path, digest in digests)
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def _entries(files: Sequence[ModelFile]) -> list[tuple[bytes, ModelFile | None]]:
    """Headers of folders (with None) and files in order; a path sorts after each of its folders, being longer."""
    names: list[tuple[str, ModelFile | None]] = [(f"{MODEL_FOLDER}/{file.path}", file) for file in files]
    names += [(folder, None) for folder in tar.folders([name for name, _ in names])]
    return [
        (tar.header(name, file.size) if file else tar.header(f"{name}/", kind=tar.DIRECTORY), file)
        for name, file in sorted(names, key=lambda entry: entry[0].encode())
    ]
