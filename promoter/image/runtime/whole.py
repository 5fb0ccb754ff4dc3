"""Strategy `build`: one Docker build makes the whole image, with the model in it, as it was done before there were layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from promoter.errors import RefusedError
from promoter.image.assemble import Model
from promoter.image.base import Base, BaseImage, Platform, read_base
from promoter.image.layer import content_digest
from promoter.image.manifest import ModelLayer
from promoter.image.oci import Descriptor, Repository, section
from promoter.image.publish import Publisher
from promoter.image.runtime.build import Making, RuntimeBuilder, writing
from promoter.image.runtime.context import OFFERED
from promoter.models import Blob, Image, Role

if TYPE_CHECKING:
    from promoter.image.layer import Open, Readable
    from promoter.models import ModelFile, ModelVersion

NEWEST = "build"
"""The tag of the image that was built last: the next build's cache, and no release's image."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What the engine built and pushed: its last layer, by convention the model's, and what is underneath."""

    below: Base
    layer: Descriptor
    diff_id: str
    content_digest: str


class WholePublisher(Publisher):
    """Publishes what the engine built: the same layers under a manifest of ours, so that the image is found like any other."""

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
        whole = build_whole(self._builder, version, open_file)
        layers = [Blob(Role.RUNTIME, layer.digest, layer.size) for layer in whole.below.layers]
        model = Model(whole.content_digest, ModelLayer(whole.layer, whole.diff_id))
        return self._publish(version, tag, whole.below, layers, model)


def build_whole(builder: RuntimeBuilder, version: ModelVersion, open_file: Open) -> Whole:
    """Builds the Dockerfile to its end, with the model's files where it names them, and pushes it under the tag `build`.

    Raises as `RuntimeBuilder`.
    """
    making = Making(builder, version, open_file)
    with making.context() as (folder, dockerfile):
        keep = _keeping(folder / OFFERED / "model", open_file) if making.source.names("model") else open_file
        content = content_digest(version.files, keep)
        digest = making.build_and_push(folder, dockerfile, None, tags=(NEWEST,), cache=NEWEST)
    pushed = BaseImage(builder.target, digest or NEWEST)
    return _split(read_base(pushed, Platform.parse(builder.settings.platform)), pushed, content)


def _split(base: Base, pushed: BaseImage, content: str) -> Whole:
    if not base.layers:
        raise RefusedError(f"the image that was built, {pushed}, has no layers", hint="copy .promoter/model in the Dockerfile")
    *diff_ids, last = section(base.config, "rootfs")["diff_ids"]
    history = list(base.config.get("history") or [])
    filled = [at for at, entry in enumerate(history) if not entry.get("empty_layer")]
    if filled:
        del history[filled[-1]]  # the layer gets the entry that a model's layer has
    config = {**base.config, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}
    return Whole(replace(base, layers=base.layers[:-1], config=config), base.layers[-1], last, content)


def _keeping(folder: Path, open_file: Open) -> Open:
    """Opens files so that what is read of them is kept in the folder too."""

    @contextmanager
    def open_both(file: ModelFile) -> Iterator[Readable]:
        path = folder / file.path
        with writing(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            target = path.open("wb")
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
