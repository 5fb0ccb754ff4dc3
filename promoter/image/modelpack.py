"""A model alone in the CNCF's ModelPack format, so that tools other than a container runtime know it for a model.

https://github.com/modelpack/model-spec (docs/spec.md, docs/config.md, specs-go/v1/mediatype.go). The layer is the same bytes as
an image's; config, media types and `artifactType` are ModelPack's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from promoter.image.layer import MODEL_FOLDER
from promoter.image.manifest import ModelLayer, created
from promoter.image.oci import LAYER, LAYER_GZIP, MANIFEST, Descriptor, canonical

if TYPE_CHECKING:
    from promoter.models import ModelVersion

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
_WEIGHTS = {
    LAYER: "application/vnd.cncf.model.weight.v1.tar",
    LAYER_GZIP: "application/vnd.cncf.model.weight.v1.tar+gzip",
}
_FILEPATH = "org.cncf.model.filepath"


def model_config(version: ModelVersion, layer: ModelLayer) -> bytes:
    """What the format asks for: `format` is MLflow's folder with its MLmodel, which lists the flavors."""
    return canonical(
        {
            "descriptor": {"createdAt": created(version), "name": version.name, "version": version.version},
            "config": {"format": "mlflow"},
            "modelfs": {"type": "layers", "diffIds": [layer.diff_id]},
        }
    )


def model_manifest(config: Descriptor, layer: ModelLayer, annotated: Mapping[str, str]) -> bytes:
    """One layer of weights, with the annotations that an image of the version has."""
    weights = Descriptor(_WEIGHTS[layer.blob.media_type], layer.blob.digest, layer.blob.size)
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT,
            "config": config.as_json(),
            "layers": [{**weights.as_json(), "annotations": {_FILEPATH: MODEL_FOLDER}}],
            "annotations": dict(annotated),
        }
    )
