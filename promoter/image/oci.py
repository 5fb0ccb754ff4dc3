"""What every image module speaks: descriptors, media types, and the repository that images are read from and written to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from promoter.errors import RefusedError
from promoter.models import Origin
from promoter.transport.boundary import LARGEST_ANSWER, MOST_VALUES, ODD, OPENING, has_too_many_values

# https://github.com/opencontainers/image-spec/blob/main/media-types.md
# Docker's types mean the same (compatibility matrix there).
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = f"{LAYER}+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One blob or manifest: its media type, digest, and size in bytes."""

    media_type: str
    digest: str
    size: int

    @classmethod
    def parse(cls, value: Mapping[str, Any], where: str) -> Descriptor:
        """From the JSON of a manifest or index.

        Raises:
            RefusedError: it is not a descriptor; `where` names the file.
        """
        try:
            descriptor = cls(str(value["mediaType"]), str(value["digest"]), int(value["size"]))
        except ODD:
            descriptor = cls("", "", -1)
        if not is_digest(descriptor.digest) or descriptor.size < 0:
            raise RefusedError(f"{where} holds a broken descriptor: {json.dumps(value)[:200]}", hint="build that image again")
        return descriptor

    def as_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Restartable(Iterable[bytes]):
    """Chunks that can be had again from the first on, in case that an upload has to start over."""

    start: Callable[[], Iterator[bytes]]

    def __iter__(self) -> Iterator[bytes]:
        return self.start()


class Repository(Protocol):
    """One image repository, in a container registry or in an OCI image layout folder; `name` is what people call it."""

    @property
    def name(self) -> str: ...

    def has_blob(self, digest: str) -> bool: ...

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        """The blob in chunks; it ends with a RefusedError if the bytes do not match the digest."""

    def write_blob(self, chunks: Iterable[bytes], size: int | None) -> str:
        """Stores a blob of `size` bytes (None: unknown) and returns its digest.

        Until the last chunk is there nobody can see it. `chunks` may be read more than once, if they can be (`Restartable`).
        """

    def copy_blob(self, blob: Descriptor, source: Repository) -> Origin:
        """Has the blob of another repository here too, the cheapest way there is."""

    def read_manifest(self, reference: str) -> bytes | None:
        """The manifest or index behind a tag or digest."""

    def create_manifest(self, tag: str, manifest: bytes) -> bytes:
        """Tags the manifest unless the tag is taken; returns the manifest that the tag names now."""

    def require_push(self) -> None:
        """Asks whether blobs would be taken, and leaves none. Raises what a push would."""


def is_digest(text: str) -> bool:
    """Whether this is a `sha256:<64 hexadecimal digits>` digest (every registry has those), which no tag can be."""
    return _DIGEST.fullmatch(text) is not None


def sha256(data: bytes) -> str:
    """The digest of these bytes, as OCI writes it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(value: Mapping[str, Any]) -> bytes:
    """The one spelling of this JSON, so that equal values have equal digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def decode(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        RefusedError: it is something else; `where` names what was read.
    """
    try:
        many = sum(map(data.count, OPENING)) > MOST_VALUES and has_too_many_values(data)
        value = None if many else json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RefusedError(f"{where} is not a JSON object", hint="check that it is an image")
    return value


def section(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The JSON object under this key; an empty one if it is missing."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def objects(value: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """The list of JSON objects under this key.

    Raises:
        RefusedError: it is something else; `where` names the file.
    """
    found = value.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise RefusedError(f"{where}: '{key}' is not a list of objects", hint="check that it is an image")
    return found


def verified(chunks: Iterable[bytes], blob: Descriptor, where: str) -> Iterator[bytes]:
    """The chunks as they come; the last one is held back until digest and size are known to be right.

    Raises:
        RefusedError: other bytes came.
    """
    seen, held, digest = 0, b"", hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        seen += len(chunk)
        if seen > blob.size:
            break
        if held:
            yield held
        held = chunk
    if seen != blob.size or "sha256:" + digest.hexdigest() != blob.digest:
        raise RefusedError(
            f"{where}: the content of {blob.digest} does not match its digest", hint="it is damaged there: publish it again"
        )
    if held:
        yield held


def read_bytes(repository: Repository, blob: Descriptor) -> bytes:
    """A small blob, such as an image config, at once.

    Raises:
        RefusedError: its size is not that of a document; and as `Repository.read_blob`.
    """
    if blob.size > LARGEST_ANSWER:
        raise RefusedError(
            f"{repository.name}: {blob.digest} has {blob.size} bytes, too many for a document", hint="check that it is an image"
        )
    return b"".join(repository.read_blob(blob))
