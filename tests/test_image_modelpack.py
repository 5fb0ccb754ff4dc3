"""A model alone as an artifact in the CNCF's ModelPack format."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from promoter.errors import ConfigError
from promoter.image.assemble import Packing
from promoter.image.layout import LayoutRepository
from promoter.image.manifest import CONTENT_DIGEST
from promoter.image.oci import Repository
from promoter.image.publish import Publisher
from promoter.models import Compress, Embed, Format
from tests.support.models import model_version, store
from tests.test_image_publish import NAME, TAG, image_parts, registry_server, target
from tests.test_model_volume import configured

__all__ = ["registry_server", "target"]

# https://github.com/modelpack/model-spec, schema/config-schema.json
SCHEMA = json.loads((Path(__file__).parent / "data/modelpack/config-schema.json").read_text())
ALONE = Packing(model=Embed.VOLUME, format=Format.MODELPACK)


def test_the_artifact_is_the_formats(target: Repository) -> None:
    Publisher(target, NAME, lambda *_: None, packing=ALONE).ensure(model_version(), store().open)
    manifest, config = image_parts(target, TAG)
    jsonschema.Draft202012Validator(SCHEMA).validate(config)
    assert (config["descriptor"]["name"], config["descriptor"]["version"]) == (model_version().name, model_version().version)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    [layer] = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.cncf.model.weight.v1.tar"
    assert layer["annotations"] == {"org.cncf.model.filepath": "opt/model"}
    assert config["modelfs"]["diffIds"] == [layer["digest"]], "not compressed"


def test_the_schema_refuses_what_is_not_the_format() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate({"descriptor": {}, "config": {}, "modelfs": {"type": "layers"}})


def test_only_what_describes_the_model_differs_from_an_image_of_it(target: Repository, tmp_path: Path) -> None:
    layout = LayoutRepository(tmp_path, NAME)
    image = Publisher(layout, NAME, lambda *_: None, packing=Packing(model=Embed.VOLUME)).ensure(model_version(), store().open)
    artifact = Publisher(target, NAME, lambda *_: None, packing=ALONE).ensure(model_version(), store().open)
    assert (artifact.content_digest, artifact.size) == (image.content_digest, image.size)
    one, other = image_parts(layout, TAG)[0], image_parts(target, TAG)[0]
    assert one["layers"][0]["digest"] == other["layers"][0]["digest"]
    assert one["annotations"] == other["annotations"]
    assert one["annotations"][CONTENT_DIGEST] == image.content_digest
    again = Publisher(target, NAME, lambda *_: None, packing=ALONE).ensure(model_version(), store().open)
    assert (again.digest, again.reused) == (artifact.digest, True)


def test_a_compressed_layer_keeps_the_digest_of_its_tar(target: Repository) -> None:
    pytest.importorskip("isal", reason="isal is not installed")
    packing = Packing(Compress.GZIP, Embed.VOLUME, format=Format.MODELPACK)
    Publisher(target, NAME, lambda *_: None, packing=packing).ensure(model_version(), store().open)
    manifest, config = image_parts(target, TAG)
    [layer] = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.cncf.model.weight.v1.tar+gzip"
    assert config["modelfs"]["diffIds"] != [layer["digest"]]


def test_the_key_goes_with_a_model_alone(tmp_path: Path) -> None:
    assert configured(tmp_path, "  model: volume\n  format: modelpack\n").image.format is Format.MODELPACK
    with pytest.raises(ConfigError, match=r"image\.format: needs image\.model: volume"):
        configured(tmp_path, "  format: modelpack\n")
