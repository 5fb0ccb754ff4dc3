"""How a model gets into its image: plain, compressed, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from promoter.errors import RefusedError
from promoter.image.assemble import Packing
from promoter.image.base import BaseImage
from promoter.image.layout import LayoutRepository
from promoter.image.manifest import MODEL_URI
from promoter.image.oci import LAYER_GZIP, Descriptor, Repository, read_bytes
from promoter.image.publish import Publisher
from promoter.models import Compress, Embed, Origin, Role
from tests.support.models import FILES, model_version, store
from tests.test_image_publish import NAME, TAG, base_layout, image_parts, registry_server, target

__all__ = ["registry_server", "target"]


def test_a_compressed_layer_holds_the_same_content_under_another_digest(target: Repository, tmp_path: Path) -> None:
    pytest.importorskip("isal", reason="isal is not installed")
    plain = Publisher(LayoutRepository(tmp_path, NAME), NAME, lambda *_: None).ensure(model_version(), store().open)
    read = store()
    packing = Packing(compress=Compress.GZIP)
    image = Publisher(target, NAME, lambda *_: None, packing=packing).ensure(model_version(), read.open)
    assert sorted(read.opened) == sorted(FILES)
    assert image.content_digest == plain.content_digest
    assert image.size < plain.size

    manifest, config = image_parts(target, TAG)
    [layer] = manifest["layers"]
    assert (layer["mediaType"], layer["size"]) == (LAYER_GZIP, image.size)
    packed = read_bytes(target, Descriptor.parse(layer, ""))
    tar = gzip.decompress(packed)
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(tar).hexdigest()]
    assert config["rootfs"]["diff_ids"] == image_parts(LayoutRepository(tmp_path, NAME), TAG)[1]["rootfs"]["diff_ids"]
    # No file name and no time in gzip's header (RFC 1952): two runs are one digest.
    assert packed[3:8] == bytes(5)
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        assert sorted(member.name for member in members if member.isfile()) == sorted(f"opt/model/{path}" for path in FILES)


def test_without_the_package_for_gzip_nothing_is_written(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["isal"] = None
from pathlib import Path
from promoter.errors import UsageError
from promoter.image.assemble import Packing
from promoter.image.layout import LayoutRepository
from promoter.image.publish import Publisher
from promoter.models import Compress
from tests.support.models import model_version, store
layout = LayoutRepository(Path(sys.argv[1]), "x")
try:
    Publisher(layout, "x", lambda *_: None, packing=Packing(compress=Compress.GZIP)).ensure(model_version(), store().open)
except UsageError as error:
    print(error.hint)
"""
    path = tmp_path / "layout"
    printed = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True).stdout
    assert "its extra gzip (pip install '.[gzip]'" in printed
    assert not path.exists()


@pytest.mark.parametrize("packing", [Packing(model=Embed.URI), Packing(embed_limit=100)], ids=["uri", "over the limit"])
def test_a_model_that_is_not_embedded_is_named_with_its_digest(target: Repository, tmp_path: Path, packing: Packing) -> None:
    runtime = BaseImage(base_layout(tmp_path / "base"), "linux-amd64")
    embedded = Publisher(LayoutRepository(tmp_path / "embedded", NAME), NAME, lambda *_: runtime)
    content = embedded.ensure(model_version(), store().open).content_digest
    read = store()
    publisher = Publisher(target, NAME, lambda *_: runtime, packing=packing)
    image = publisher.ensure(model_version(uri="s3://bucket/secret-place"), read.open)
    assert sorted(read.opened) == sorted(FILES)
    assert (image.size, image.content_digest) == (0, content)
    assert [(blob.role, blob.origin) for blob in image.blobs] == [
        (Role.CONFIG, Origin.SENT),
        (Role.RUNTIME, Origin.SENT),
        (Role.RUNTIME, Origin.SENT),
    ]
    manifest, config = image_parts(target, TAG)
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 2
    assert [entry.get("empty_layer", False) for entry in config["history"]] == [False, False, True]
    assert manifest["annotations"][MODEL_URI] == "models:/fraud-detector/7"
    assert config["config"]["Env"][-2:] == [f"MODEL_DIGEST={content}", "MODEL_URI=models:/fraud-detector/7"]
    # Where the files were read is this machine's business.
    assert "s3:" not in str(config) + str(manifest)
    assert publisher.ensure(model_version(), store().open).reused
    # What is published stays the image of its version, however models are packed since.
    assert Publisher(target, NAME, lambda *_: None).ensure(model_version(), store().open).digest == image.digest


def test_a_limit_that_is_not_reached_embeds(tmp_path: Path) -> None:
    packing = Packing(embed_limit=model_version().size)
    image = Publisher(LayoutRepository(tmp_path, NAME), NAME, lambda *_: None, packing=packing).ensure(
        model_version(), store().open
    )
    assert image.size > model_version().size


def test_an_image_of_nothing_is_refused(tmp_path: Path) -> None:
    publisher = Publisher(LayoutRepository(tmp_path, NAME), NAME, lambda *_: None, packing=Packing(model=Embed.URI))
    read = store()
    with pytest.raises(RefusedError, match="would be empty"):
        publisher.ensure(model_version(), read.open)
    assert (publisher.find(model_version()), read.opened) == (None, [])
