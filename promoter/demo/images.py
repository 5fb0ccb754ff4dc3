"""What a node does with an image: the model inside it, unpacked for the pods that run it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from promoter.errors import RefusedError
from promoter.image.layer import MODEL_FOLDER
from promoter.image.layout import LayoutRepository
from promoter.image.oci import Descriptor, decode, objects, read_bytes
from promoter.image.reference import ImageReference


def unpack_model(layout: Path, image: str, folder: Path) -> Path | None:
    """The folder with the model of the image that this reference pins by digest; None if the image does not exist.

    Unpacked below `folder` when first asked for: from the last layer, as promoter packs it.

    Raises:
        RefusedError: the image is damaged.
    """
    reference = ImageReference.parse(image)
    repository = LayoutRepository(layout, reference.name)
    manifest = repository.read_manifest(reference.digest) if reference.digest else None
    if manifest is None:
        return None
    target = folder / str(reference.digest).removeprefix("sha256:")
    if not target.exists():
        layer = Descriptor.parse(objects(decode(manifest, image), "layers", image)[-1], image)
        _unpack(read_bytes(repository, layer), target)
    return target / MODEL_FOLDER


def _unpack(layer: bytes, target: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        for member in tar:
            path = (target / member.name).resolve()
            if not path.is_relative_to(target):
                raise RefusedError(f"the layer has a file outside of its folder: {member.name!r}")
            stream = tar.extractfile(member)
            if stream is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(stream.read())
