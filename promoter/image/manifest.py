"""Config and manifest of a model's image: pure, and the same bytes for the same version on the same base.

Only what identifies a version goes in. Its aliases, tags and description change, and how its files are listed (ETags,
addresses) depends on who looks: none of them may have a say in the digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from promoter.errors import RefusedError
from promoter.image.oci import MANIFEST, Descriptor, canonical, decode, objects, section, sha256

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


@dataclass(frozen=True, slots=True)
class Published:
    """What the manifest of a published image says about it; `layer_size` is the model layer's."""

    digest: str
    model: str
    version: str
    content_digest: str
    platform: str
    layer_size: int

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
                f"{where} exists and was not published by promoter: it carries no {CONTENT_DIGEST}",
                hint="somebody pushed that tag; it is never overwritten: delete it, or choose another repository",
            )
        return cls(
            digest=sha256(manifest),
            model=annotations[TITLE],
            version=annotations[VERSION],
            content_digest=annotations[CONTENT_DIGEST],
            platform=annotations[PLATFORM],
            layer_size=Descriptor.parse(objects(value, "layers", where)[-1], where).size,
        )


def image_annotations(version: ModelVersion, base: Base, platform: Platform, content_digest: str) -> dict[str, str]:
    """What the manifest says about the image, and the config repeats as labels for `docker inspect`."""
    values = {
        CREATED: created(version),
        TITLE: version.name,
        VERSION: version.version,
        BASE_DIGEST: base.digest,
        CONTENT_DIGEST: content_digest,
        PLATFORM: str(platform),
        RUN_ID: version.run_id,
    }
    return {key: value for key, value in values.items() if value}


def image_config(version: ModelVersion, base: Base, platform: Platform, content_digest: str, diff_id: str) -> bytes:
    """The base's config with one more layer, and the model in the environment: MODEL_NAME, MODEL_VERSION, MODEL_DIGEST."""
    ours = {"MODEL_NAME": version.name, "MODEL_VERSION": version.version, "MODEL_DIGEST": content_digest}
    container = dict(section(base.config, "config"))
    container["Env"] = _with_env(container.get("Env") or (), ours)
    container["Labels"] = {**section(container, "Labels"), **image_annotations(version, base, platform, content_digest)}
    config: dict[str, Any] = {
        **platform.as_json(),
        **base.config,
        "created": created(version),
        "config": container,
        "rootfs": {"type": "layers", "diff_ids": [*section(base.config, "rootfs").get("diff_ids", ()), diff_id]},
    }
    history = base.config.get("history") or []
    # A history of fewer layers than there are is worse than none: tools pair them up.
    if history or not base.layers:
        entry = {"created": created(version), "created_by": "promoter", "comment": f"model {version.reference}"}
        config["history"] = [*history, entry]
    return canonical(config)


def image_manifest(base: Base, config: Descriptor, layer: Descriptor, annotated: Mapping[str, str]) -> bytes:
    """The image: the base's layers, then the model's."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.as_json(),
            "layers": [part.as_json() for part in (*base.layers, layer)],
            "annotations": dict(annotated),
        }
    )


def created(version: ModelVersion) -> str:
    """When the version was created, as RFC 3339 in UTC."""
    return version.created.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _with_env(env: Sequence[str], ours: Mapping[str, str]) -> list[str]:
    kept = [variable for variable in env if variable.partition("=")[0] not in ours]
    return kept + [f"{key}={value}" for key, value in ours.items()]
