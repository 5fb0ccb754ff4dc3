"""Strategy `build`: one Docker build makes the whole image, with the model in it, as it was done before there were layers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from promoter.errors import RefusedError
from promoter.image.assemble import PackedModel
from promoter.image.base import Base, BaseImage, read_base
from promoter.image.layer import content_digest
from promoter.image.manifest import ModelLayer
from promoter.image.oci import Repository, section
from promoter.image.publish import Publisher
from promoter.image.reference import image_tag
from promoter.image.runtime.build import RuntimeBuilder, build_and_push, require_engine
from promoter.image.runtime.context import OFFERED
from promoter.machine.folders import writing
from promoter.machine.paths import open_below
from promoter.models import Blob, Image, Role

if TYPE_CHECKING:
    from promoter.image.layer import Open, Readable
    from promoter.models import ModelFile, ModelVersion

_NEWEST = "build"


class WholePublisher(Publisher):
    """Publishes what the engine built: the same layers under promoter's manifest, so that the image is found like any other."""

    def __init__(
        self,
        target: Repository,
        repository: str,
        builder: RuntimeBuilder,
        platform: str = "linux/amd64",
        *,
        elsewhere: Sequence[Repository] = (),
    ) -> None:
        super().__init__(target, repository, lambda *_: None, platform, elsewhere=elsewhere)
        self._builder = builder

    def _make(self, version: ModelVersion, tag: str, open_file: Open) -> Image:
        base, model = build_whole(self._builder, version, open_file, f"{tag}.build")
        layers = [Blob(Role.RUNTIME, layer.digest, layer.size) for layer in base.layers]
        return self._publish(version, tag, base, layers, model)

    def rebuild(self, version: ModelVersion, open_file: Open) -> Image:
        tag = f"{image_tag(version)}-{self._builder.recipe(version, open_file, whole=True).key[:8]}"
        found = self._found(tag)
        return self._reuse(version, tag, found, open_file) if found else self._make(version, tag, open_file)


def build_whole(builder: RuntimeBuilder, version: ModelVersion, open_file: Open, tag: str) -> tuple[Base, PackedModel]:
    """Builds the Dockerfile to its end, with the model's files if it names them, and pushes it as `tag`.

    Returns the model and the base under it. If the Dockerfile takes the model, its last layer contains it; otherwise the image
    gets MODEL_URI, and its server downloads the model from there.

    Raises as `RuntimeBuilder`.
    """
    recipe = builder.recipe(version, open_file, whole=True)
    embedded = recipe.source.names("model")
    require_engine(recipe)
    with recipe.context() as (folder, dockerfile):
        model = folder / OFFERED / "model"
        content = content_digest(version.files, _keeping(model, open_file) if embedded else open_file)
        for path in model.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # whatever our umask: the server is another user
        digest = build_and_push(recipe, folder, dockerfile, None, tag, _NEWEST)
    pushed = BaseImage(builder.target, digest or tag)
    base = read_base(pushed, recipe.platform)
    if not base.layers:
        raise RefusedError(f"the image that was built, {pushed}, has no layers", hint="see image.dockerfile")
    if not embedded:
        return base, PackedModel(content, None)
    below, layer = _split(base)
    return below, PackedModel(content, layer)


def _split(base: Base) -> tuple[Base, ModelLayer]:
    """The image without its last layer, and that."""
    *diff_ids, last = section(base.config, "rootfs")["diff_ids"]
    history = list(base.config.get("history") or [])
    filled = [at for at, entry in enumerate(history) if not entry.get("empty_layer")]
    if filled:
        del history[filled[-1]]  # the layer gets the entry that a model's layer has
    config = {**base.config, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}
    return replace(base, layers=base.layers[:-1], config=config), ModelLayer(base.layers[-1], last)


def _keeping(folder: Path, open_file: Open) -> Open:
    """Opens files so that what is read of them is kept in the folder too."""

    @contextmanager
    def open_both(file: ModelFile) -> Iterator[Readable]:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            target = os.fdopen(open_below(folder, file.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")
        with target, open_file(file) as source:
            yield _Tee(source, target, folder)

    return open_both


@dataclass(frozen=True, slots=True)
class _Tee:
    source: Readable
    target: IO[bytes]
    folder: Path

    def read(self, size: int, /) -> bytes:
        chunk = self.source.read(size)
        with writing(self.folder):
            self.target.write(chunk)
        return chunk
