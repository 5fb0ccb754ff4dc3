"""Model versions as the image tests publish them: files in memory, read as a store would hand them out; and manifests."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import UTC, datetime

from promoter.image.oci import MANIFEST, canonical
from promoter.models import ModelFile, ModelVersion

CREATED = datetime(2026, 11, 22, 20, 20, 15, 934000, tzinfo=UTC)
FILES: Mapping[str, bytes] = {
    "MLmodel": b"flavors: {}\n",
    "model.skops": bytes(range(256)) * 5000,
    "code/predict.py": b"print('hello')\n",
    "requirements.txt": b"",
}


@dataclass(frozen=True)
class Store:
    """Files by path, and how often each was opened."""

    files: Mapping[str, bytes]
    opened: list[str]

    def open(self, file: ModelFile) -> AbstractContextManager[io.BytesIO]:
        self.opened.append(file.path)
        return closing(io.BytesIO(self.files[file.path]))


def store(files: Mapping[str, bytes] = FILES) -> Store:
    return Store(files, [])


def listing(files: Mapping[str, bytes] = FILES, etag: str | None = None) -> tuple[ModelFile, ...]:
    """The files as a store lists them; with `etag` each has one that begins with it."""
    return tuple(ModelFile(path, len(data), etag and f'"{etag}-{path}"') for path, data in files.items())


def manifest(number: int) -> bytes:
    """An image manifest like no other."""
    return canonical({"schemaVersion": 2, "mediaType": MANIFEST, "annotations": {"number": str(number)}})


def model_version(
    files: tuple[ModelFile, ...] | None = None, *, name: str = "fraud-detector", version: str = "7", uri: str = "file:///m"
) -> ModelVersion:
    return ModelVersion(
        name=name,
        version=version,
        created=CREATED,
        artifact_uri=uri,
        files=listing() if files is None else files,
        run_id="4f1c2d3e",
    )
