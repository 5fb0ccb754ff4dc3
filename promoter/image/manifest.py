"""Config and manifest of a model's image: pure, and the same bytes for the same version on the same base.

Only what identifies a version goes in. Its aliases, tags and description change, and how its files are listed (ETags,
addresses) depends on who looks: the digest must not depend on any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from promoter.errors import RefusedError
from promoter.image.oci import MANIFEST, Descriptor, canonical, decode, objects, section, sha256
from promoter.models import Role

if TYPE_CHECKING:
    from promoter.image.base import Base, Platform
    from promoter.models import ModelVersion

# https://github.com/opencontainers/image-spec/blob/main/annotations.md, and our own.
CREATED = "org.opencontainers.image.created"
TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
BASE_DIGEST = "org.opencontainers.image.base.digest"
_OURS = "io.github.model-promoter."
CONTENT_DIGEST = f"{_OURS}content-digest"
PLATFORM = f"{_OURS}platform"
RUN_ID = f"{_OURS}run-id"
MODEL_URI = f"{_OURS}model-uri"
# What a base may carry of another model, and must not leave in our image.
VARIABLES = frozenset({"MODEL_NAME", "MODEL_VERSION", "MODEL_DIGEST", "MODEL_URI"})


@dataclass(frozen=True, slots=True)
class ModelLayer:
    """A model as a layer of an image: the blob, and the digest of its tar (the same, unless it is compressed)."""

    blob: Descriptor
    diff_id: str


@dataclass(frozen=True, slots=True)
class Published:
    """What a published image's manifest contains; `runtime` is the digest of the image underneath, "" for scratch.

    `model_layer` is None if the server downloads the model.
    """

    digest: str
    model: str
    version: str
    content_digest: str
    platform: str
    runtime: str
    config: Descriptor
    runtime_layers: tuple[Descriptor, ...]
    model_layer: Descriptor | None

    @classmethod
    def parse(cls, manifest: bytes, where: str) -> Published:
        """Read from the manifest alone.

        Raises:
            RefusedError: it is not an image that promoter published.
        """
        value = decode(manifest, where)
        annotations = section(value, "annotations")
        if not value.get("layers") or not all(
            isinstance(annotations.get(key), str) for key in (TITLE, VERSION, CONTENT_DIGEST, PLATFORM)
        ):
            raise RefusedError(
                f"{where} exists and was not published by promoter: it does not have {CONTENT_DIGEST}",
                hint="somebody pushed that tag; it is never overwritten: delete it, or choose another repository",
            )
        layers = tuple(Descriptor.parse(layer, where) for layer in objects(value, "layers", where))
        embedded = MODEL_URI not in annotations
        return cls(
            digest=sha256(manifest),
            model=annotations[TITLE],
            version=annotations[VERSION],
            content_digest=annotations[CONTENT_DIGEST],
            platform=annotations[PLATFORM],
            runtime=str(annotations.get(BASE_DIGEST, "")),
            config=Descriptor.parse(section(value, "config"), where),
            runtime_layers=layers[:-1] if embedded else layers,
            model_layer=layers[-1] if embedded else None,
        )

    @property
    def blobs(self) -> tuple[tuple[Role, Descriptor], ...]:
        """Everything that the manifest points to."""
        model = ((Role.MODEL, self.model_layer),) if self.model_layer else ()
        return ((Role.CONFIG, self.config), *((Role.RUNTIME, layer) for layer in self.runtime_layers), *model)


def model_uri(version: ModelVersion) -> str:
    """What MLflow calls this version, on whichever server: the address of a server has no place in an image."""
    return f"models:/{version.name}/{version.version}"


def image_annotations(
    version: ModelVersion, base: Base, platform: Platform, content_digest: str, *, embedded: bool
) -> dict[str, str]:
    """The manifest's annotations, which the config repeats as labels for `docker inspect`."""
    values = {
        CREATED: created(version),
        TITLE: version.name,
        VERSION: version.version,
        BASE_DIGEST: base.digest,
        CONTENT_DIGEST: content_digest,
        PLATFORM: str(platform),
        RUN_ID: version.run_id,
        MODEL_URI: None if embedded else model_uri(version),
    }
    return {key: value for key, value in values.items() if value}


def image_config(version: ModelVersion, base: Base, platform: Platform, content_digest: str, layer: ModelLayer | None) -> bytes:
    """The base's config with the model's layer, and in the environment MODEL_NAME, MODEL_VERSION and MODEL_DIGEST.

    Without a layer it also has MODEL_URI, from which the server downloads the content with that digest.
    """
    annotated = image_annotations(version, base, platform, content_digest, embedded=layer is not None)
    own = {"MODEL_NAME": version.name, "MODEL_VERSION": version.version, "MODEL_DIGEST": content_digest}
    if layer is None:
        own["MODEL_URI"] = model_uri(version)
    container = dict(section(base.config, "config"))
    container["Env"] = _with_env(container.get("Env") or (), own)
    container["Labels"] = {**section(container, "Labels"), **annotated}
    diff_ids = [*section(base.config, "rootfs").get("diff_ids", ()), *([layer.diff_id] if layer else ())]
    config: dict[str, Any] = {
        **platform.as_json(),
        **base.config,
        "created": created(version),
        "config": container,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    history = base.config.get("history") or []
    # A history of fewer layers than there are is worse than none: tools pair them up.
    if history or not base.layers:
        entry = {"created": created(version), "created_by": "promoter", "comment": f"model {version.reference}"}
        config["history"] = [*history, entry | ({} if layer else {"empty_layer": True})]
    return canonical(config)


def image_manifest(base: Base, config: Descriptor, layer: ModelLayer | None, annotated: Mapping[str, str]) -> bytes:
    """The image: the base's layers, then the model's."""
    layers = (*base.layers, *((layer.blob,) if layer else ()))
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.as_json(),
            "layers": [part.as_json() for part in layers],
            "annotations": dict(annotated),
        }
    )


def created(version: ModelVersion) -> str:
    """When the version was created, as RFC 3339 in UTC."""
    return version.created.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _with_env(env: Sequence[str], own: Mapping[str, str]) -> list[str]:
    kept = [variable for variable in env if variable.partition("=")[0] not in VARIABLES]
    return kept + [f"{key}={value}" for key, value in own.items()]
