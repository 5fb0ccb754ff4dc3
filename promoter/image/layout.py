"""An OCI image layout folder as an image repository (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).

Writers lock the folder itself, so that a killed one leaves no lock behind; every file appears complete, by a rename. The lock
is flock's: the folder has to be on a file system of this machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from promoter.errors import RefusedError, UnreachableError, UsageError
from promoter.image.layer import CHUNK
from promoter.image.oci import (
    INDEX,
    MANIFEST,
    Descriptor,
    Repository,
    canonical,
    decode,
    is_digest,
    objects,
    section,
    sha256,
    verified,
)
from promoter.models import Origin

_REF_NAME = "org.opencontainers.image.ref.name"
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_UPLOAD = ".upload-"


class LayoutRepository:
    """The images named `repository` in the layout at `path`; the folder is made when something is first written."""

    def __init__(self, path: Path, repository: str) -> None:
        self._path, self._repository = path, repository

    @property
    def name(self) -> str:
        return f"oci:{self._path}"

    def has_blob(self, digest: str) -> bool:
        return self._blob(digest).is_file()

    def require_push(self) -> None:
        """See `Repository`: a folder that can't be made is reported when something is written."""

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        """See `Repository`.

        Raises:
            RefusedError: the blob is missing or damaged.
        """
        return verified(self._chunks(self._blob(blob.digest), blob.digest), blob, self.name)

    def write_blob(self, chunks: Iterable[bytes], size: int | None) -> str:
        """See `Repository`.

        Raises:
            UnreachableError: the folder can't be written.
            RefusedError: more or less than `size` bytes came.
        """
        digest, written = hashlib.sha256(), 0
        with self._writing(), self._temporary() as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                written += len(chunk)
            if size not in (None, written):
                raise RefusedError(f"{self.name}: {written} bytes came for a blob of {size}")
            self._place(file, self._blob("sha256:" + digest.hexdigest()))
        return "sha256:" + digest.hexdigest()

    def copy_blob(self, blob: Descriptor, source: Repository) -> Origin:
        """See `Repository`: repositories of one folder share their blobs.

        Raises:
            AuthError, UnreachableError, RefusedError: the source's, or as `write_blob`.
        """
        if self.has_blob(blob.digest):
            return Origin.THERE
        self.write_blob(source.read_blob(blob), blob.size)
        return Origin.SENT

    def read_manifest(self, reference: str) -> bytes | None:
        """See `Repository`.

        Raises:
            RefusedError: index.json or the manifest is damaged.
        """
        if is_digest(reference):
            return self._read(reference) if self.has_blob(reference) else None
        wanted = self._ref_name(reference)
        for entry in self._index()["manifests"]:
            if (entry.get("annotations") or {}).get(_REF_NAME) == wanted:
                return self._read(Descriptor.parse(entry, f"{self.name}/index.json").digest)
        return None

    def create_manifest(self, tag: str, manifest: bytes) -> bytes:
        """See `Repository`: of several processes with one tag the first wins, and tags of others are never lost.

        Raises:
            UnreachableError: the folder can't be written.
            RefusedError: index.json is damaged.
        """
        digest = self.write_blob([manifest], len(manifest))
        with self._writing(), self._locked():
            existing = self.read_manifest(tag)
            if existing is not None:
                return existing
            index = self._index()
            media_type = str(decode(manifest, tag).get("mediaType", MANIFEST))
            entry = Descriptor(media_type, digest, len(manifest)).as_json() | {"annotations": {_REF_NAME: self._ref_name(tag)}}
            self._replace("index.json", canonical(index | {"manifests": [*index["manifests"], entry]}))
        return manifest

    def reference_named(self, ref: str | None) -> str:
        """The digest of the image that index.json calls `ref` (or `<repository>:<ref>`), or of its only image.

        Raises:
            UsageError: the layout or the image does not exist, or it has more than one.
        """
        if not (self._path / "oci-layout").is_file():
            raise UsageError(f"{self._path} is not an OCI image layout: it has no oci-layout file", hint="write oci:PATH[:REF]")
        entries = [
            (str(section(entry, "annotations").get(_REF_NAME, "")), Descriptor.parse(entry, f"{self.name}/index.json").digest)
            for entry in self._index()["manifests"]
        ]
        found = {digest for name, digest in entries if ref is None or name == ref or name.endswith(f":{ref}")}
        if len(found) != 1:
            names = ", ".join(sorted({name for name, _ in entries if name})) or "none with a name"
            what = "no image" if not found else f"{len(found)} images"
            raise UsageError(f"{self.name} holds {what} for '{ref or '(any)'}'", hint=f"images there: {names}")
        return found.pop()

    # -- files -------------------------------------------------------------------------------------------------------

    def _ref_name(self, tag: str) -> str:
        return f"{self._repository}:{tag}"

    def _blob(self, digest: str) -> Path:
        if not is_digest(digest):  # it becomes a path
            raise RefusedError(f"{self.name}: '{digest}' is not a sha256 digest")
        return self._place_of(digest)

    def _place_of(self, digest: str) -> Path:
        return self._path / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def _chunks(self, place: Path, digest: str) -> Iterator[bytes]:
        try:
            with place.open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise RefusedError(f"{self.name}: {digest} can't be read: {error.strerror}", hint="publish it again") from error

    def _read(self, digest: str) -> bytes:
        """The manifest of a digest that is one."""
        data = b"".join(self._chunks(self._place_of(digest), digest))
        if sha256(data) != digest:
            raise RefusedError(f"{self.name}: the content of {digest} does not match its digest", hint="publish it again")
        return data

    def _index(self) -> dict[str, Any]:
        try:
            data = (self._path / "index.json").read_bytes()
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        index = decode(data, f"{self.name}/index.json")
        objects(index, "manifests", f"{self.name}/index.json")
        return index

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreachableError(
                f"{self.name} can't be written: {reason}", hint="check its permissions and the disk"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _temporary(self) -> Iterator[IO[bytes]]:
        """A new file in the layout, locked by us as long as it is written; those of killed writers are swept away."""
        self._initialise()
        with self._locked():
            self._sweep()
            file = tempfile.NamedTemporaryFile(dir=self._path, prefix=_UPLOAD, delete=False)  # noqa: SIM115 - closed below
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            with file:
                yield file
        finally:
            with suppress(FileNotFoundError):  # it was renamed
                Path(file.name).unlink()

    def _sweep(self) -> None:
        for path in self._path.glob(f"{_UPLOAD}*"):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    def _initialise(self) -> None:
        (self._path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not (self._path / "index.json").exists():
                self._replace("index.json", canonical(self._index()))
            if not (self._path / "oci-layout").exists():
                self._replace("oci-layout", _VERSION)

    def _replace(self, name: str, data: bytes) -> None:
        """A small file of the layout, under the lock."""
        with tempfile.NamedTemporaryFile(dir=self._path, prefix=_UPLOAD, delete=False) as file:
            file.write(data)
            self._place(file, self._path / name)

    def _place(self, file: IO[bytes], path: Path) -> None:
        """Renames a complete file to its final name; its content is synced to the disk first."""
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
        Path(file.name).replace(path)
