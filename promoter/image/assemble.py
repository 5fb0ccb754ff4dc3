"""All of an image but its tag: copies the runtime's layers, the model and the config to the target repository."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from promoter.errors import RefusedError
from promoter.image import compression, modelpack
from promoter.image.base import Base, Platform
from promoter.image.layer import Open, content_digest, pack, packed_size
from promoter.image.manifest import ModelLayer, image_annotations, image_config, image_manifest
from promoter.image.oci import CONFIG, LAYER, LAYER_GZIP, Descriptor, Repository, Restartable, sha256
from promoter.models import Blob, Compress, Embed, Format, ModelVersion, Origin, Role


@dataclass(frozen=True, slots=True)
class Packing:
    """How a model gets into its image; a model of more than `embed_limit` bytes is never embedded, whatever `model` is."""

    compress: Compress = Compress.NONE
    model: Embed = Embed.EMBED
    embed_limit: int | None = None
    format: Format = Format.OCI

    def embeds(self, version: ModelVersion) -> bool:
        """Whether this version's files become a layer."""
        return self.model is not Embed.URI and (self.embed_limit is None or version.size <= self.embed_limit)


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A version's content as an image refers to it: a layer in the target, or none if the server downloads the model."""

    content_digest: str
    layer: ModelLayer | None
    origin: Origin = Origin.THERE

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """The layer, if there is one."""
        return (Blob(Role.MODEL, self.layer.blob.digest, self.layer.blob.size, self.origin),) if self.layer else ()


def write_model(target: Repository, version: ModelVersion, open_file: Open, packing: Packing, base: Base) -> PackedModel:
    """The model's layer, packed, hashed and sent in one pass; or only its content digest, if it is not embedded.

    Raises:
        RefusedError: there would be nothing in the image, neither runtime nor model.
        RefusedError, AuthError, UnreachableError: as `pack` and `write_blob`.
        UsageError: the package for `compress` is missing.
    """
    if not packing.embeds(version):
        if not base.layers:
            raise RefusedError(
                f"an image of {version.reference} without its model would be empty: it has no runtime (image.runtime: scratch)",
                hint="set image.runtime to an image that downloads and serves models, or image.model: embed",
            )
        return PackedModel(content_digest(version.files, open_file), None)
    return (_write_gzip if packing.compress is Compress.GZIP else _write_plain)(target, version, open_file)


def _write_plain(target: Repository, version: ModelVersion, open_file: Open) -> PackedModel:
    tar = _Tar(version, open_file)
    size = packed_size(version.files)
    digest = target.write_blob(Restartable(tar.chunks), size)
    return PackedModel(tar.content_digest, ModelLayer(Descriptor(LAYER, digest, size), digest), Origin.SENT)


def _write_gzip(target: Repository, version: ModelVersion, open_file: Open) -> PackedModel:
    compression.codec()  # refuses before an upload is opened
    tar = _Tar(version, open_file)
    diff_id, size = "", 0

    def hashed() -> Iterator[bytes]:
        nonlocal diff_id
        digest = hashlib.sha256()
        for chunk in tar.chunks():
            digest.update(chunk)
            yield chunk
        diff_id = "sha256:" + digest.hexdigest()

    def chunks() -> Iterator[bytes]:
        nonlocal size
        size = 0
        for chunk in compression.compressed(hashed()):
            size += len(chunk)
            yield chunk

    digest = target.write_blob(Restartable(chunks), None)
    return PackedModel(tar.content_digest, ModelLayer(Descriptor(LAYER_GZIP, digest, size), diff_id), Origin.SENT)


class _Tar:
    """A version's layer, packed each time it has to be sent; its content digest is set after the last chunk."""

    def __init__(self, version: ModelVersion, open_file: Open) -> None:
        self._version, self._open_file = version, open_file
        self.content_digest = ""

    def chunks(self) -> Iterator[bytes]:
        self.content_digest = yield from pack(self._version.files, self._open_file)


def copy_layers(target: Repository, base: Base, source: Repository) -> list[Blob]:
    """The runtime's layers, copied to the target if they are missing there; raises as `copy_blob`."""
    return [Blob(Role.RUNTIME, layer.digest, layer.size, target.copy_blob(layer, source)) for layer in base.layers]


def write_config(
    target: Repository, version: ModelVersion, base: Base, platform: Platform, model: PackedModel, form: Format = Format.OCI
) -> tuple[bytes, Blob]:
    """The manifest, which is not written yet, and its config, which is in the target; raises as `write_blob`."""
    annotated = image_annotations(version, base, platform, model.content_digest, embedded=model.layer is not None)
    if form is Format.MODELPACK and model.layer is not None:
        config = modelpack.model_config(version, model.layer)
        described = Descriptor(modelpack.CONFIG, sha256(config), len(config))
        manifest = modelpack.model_manifest(described, model.layer, annotated)
    else:
        config = image_config(version, base, platform, model.content_digest, model.layer)
        described = Descriptor(CONFIG, sha256(config), len(config))
        manifest = image_manifest(base, described, model.layer, annotated)
    target.write_blob([config], len(config))
    return manifest, Blob(Role.CONFIG, described.digest, described.size, Origin.SENT)
