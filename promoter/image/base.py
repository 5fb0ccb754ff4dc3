"""The image underneath a model: nothing, an image of an OCI layout, or one of a container registry, for one platform."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promoter.errors import RefusedError, UsageError
from promoter.image.layout import LayoutRepository
from promoter.image.oci import Descriptor, Repository, decode, objects, read_bytes, section, sha256
from promoter.image.reference import ImageReference

# The same bytes under Docker's name (image-spec/media-types.md, "Compatibility Matrix"); a layer that is fetched from elsewhere
# ("foreign", "nondistributable") has no place here.
_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    **{name: name for name in (f"application/vnd.oci.image.layer.v1.tar{codec}" for codec in ("", "+gzip", "+zstd"))},
}


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in Go's words: `linux/amd64`, `linux/arm/v7`."""

    os: str
    architecture: str
    variant: str | None = None

    @classmethod
    def parse(cls, text: str) -> Platform:
        """`os/architecture[/variant]`.

        Raises:
            UsageError: it is not that.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise UsageError(f"'{text}' is not a platform", hint="write it as linux/amd64 or linux/arm/v7")
        return cls(*parts)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Platform:
        """From the `platform` of an index entry, or from an image config."""
        return cls(str(value.get("os", "")), str(value.get("architecture", "")), value.get("variant"))

    def runs(self, image: Platform) -> bool:
        """Whether that image was made for us; a variant counts when we name one."""
        return (image.os, image.architecture) == (self.os, self.architecture) and self.variant in (None, image.variant)

    def as_json(self) -> dict[str, str]:
        return {"os": self.os, "architecture": self.architecture} | ({"variant": self.variant} if self.variant else {})

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The location of a base image: `reference` is a tag or digest in the repository, which also contains its layers."""

    repository: Repository
    reference: str

    def __str__(self) -> str:
        return f"{self.repository.name} {self.reference}"


@dataclass(frozen=True, slots=True)
class Base:
    """A base image read for one platform; without a digest it is `scratch`, which has no layers."""

    digest: str | None = None
    layers: tuple[Descriptor, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def open_base(text: str, *, insecure: Collection[str] = (), env: Mapping[str, str] | None = None) -> BaseImage | None:
    """`scratch` (None), `oci:PATH[:REF]` or an image reference; a registry is not asked yet.

    `insecure` and `env` are those of `RegistryRepository` and `registry_login`.

    Raises:
        UsageError: it is none of these, has neither tag nor digest, or is not in that layout.
    """
    if text == "scratch":
        return None
    if text.startswith("oci:"):
        path, _, ref = text.removeprefix("oci:").partition(":")
        layout = LayoutRepository(Path(path), "")
        return BaseImage(layout, layout.reference_named(ref or None))
    reference = ImageReference.parse(text)
    pinned = reference.digest or reference.tag
    if pinned is None:
        raise UsageError(f"base image {text} has neither tag nor digest", hint=f"write {text}:TAG, or better {text}@sha256:...")
    from promoter.image.registry import RegistryRepository

    return BaseImage(RegistryRepository(reference, insecure=insecure, env=env), pinned)


def read_base(image: BaseImage | None, platform: Platform) -> Base:
    """The base's layers and config for this platform; of an index its manifest for it.

    Raises:
        RefusedError: it is not there, not for this platform, or not an image that a layer can be put on.
        AuthError, UnreachableError: as its registry answers.
    """
    if image is None:
        return Base()
    data = _manifest(image, image.reference)
    manifest = decode(data, f"base image {image}")
    if "manifests" in manifest:
        data = _manifest(image, _of_platform(manifest, platform, image))
        manifest = decode(data, f"base image {image}")
    where = f"base image {image}"
    if "layers" not in manifest or "config" not in manifest:
        raise RefusedError(f"{where} is not an image with layers", hint="name an OCI or Docker (v2, schema 2) image")
    config = decode(read_bytes(image.repository, Descriptor.parse(manifest["config"], where)), f"the config of {where}")
    if not platform.runs(Platform.of(config)):
        raise _other_platform(image, platform, [Platform.of(config)])
    layers = tuple(_layer(layer, where) for layer in objects(manifest, "layers", where))
    if len(section(config, "rootfs").get("diff_ids") or ()) != len(layers):
        raise RefusedError(f"{where}: its config does not list as many layers as its manifest", hint="build it again")
    return Base(sha256(data), layers, config)


def _manifest(image: BaseImage, reference: str) -> bytes:
    data = image.repository.read_manifest(reference)
    if data is None:
        raise RefusedError(f"base image {image.repository.name} has no {reference}", hint="check its name, or push it there")
    return data


def _of_platform(index: Mapping[str, Any], platform: Platform, image: BaseImage) -> str:
    there = [(Platform.of(section(entry, "platform")), entry) for entry in objects(index, "manifests", f"base image {image}")]
    for candidate, entry in there:
        if platform.runs(candidate):
            return Descriptor.parse(entry, f"base image {image}").digest
    raise _other_platform(image, platform, [candidate for candidate, _ in there])


def _layer(value: Mapping[str, Any], where: str) -> Descriptor:
    layer = Descriptor.parse(value, where)
    if layer.media_type not in _LAYERS:
        raise RefusedError(f"{where} has a layer of type {layer.media_type}", hint="build it with layers in tar, gzip or zstd")
    return Descriptor(_LAYERS[layer.media_type], layer.digest, layer.size)


def _other_platform(image: BaseImage, wanted: Platform, there: Collection[Platform]) -> RefusedError:
    found = ", ".join(str(platform) for platform in there) or "no platform"
    return RefusedError(f"base image {image} is for {found}, not for {wanted}", hint=f"build or name one for {wanted}")
