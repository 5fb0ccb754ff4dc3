"""A model version's image: found by its tag, or made once and published; never a second one for the same version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from promoter.errors import AuthError, RefusedError
from promoter.image.base import Base, BaseImage, Platform, read_base
from promoter.image.layer import Open, content_digest, pack, packed_size
from promoter.image.manifest import Published, image_annotations, image_config, image_manifest
from promoter.image.oci import CONFIG, LAYER, Descriptor, Repository, canonical, sha256
from promoter.image.reference import image_tag
from promoter.models import Image, ModelVersion

Runtime = Callable[[ModelVersion, Open], BaseImage | None]
"""Finds or builds the image that serves this version, to put its model on; None where an image is the model alone."""


class Publisher:
    """Publishes into `target`, which people know as `repository`, for one `platform`.

    The `runtime` is asked for only when an image has to be made. A version's image stays what it was when first published:
    today's runtime makes no second one.
    """

    def __init__(self, target: Repository, repository: str, runtime: Runtime, platform: str = "linux/amd64") -> None:
        self._target, self._repository, self._runtime = target, repository, runtime
        self._platform = Platform.parse(platform)

    def find(self, version: ModelVersion) -> Image | None:
        """The image published for this version, by its tag's manifest alone: nobody looks whether the files still are those.

        Raises:
            RefusedError: the tag is taken by something that is not this version's image.
            AuthError, UnreachableError: as the registry answers.
            UsageError: the version can't be a tag.
        """
        manifest = self._target.read_manifest(image_tag(version))
        return None if manifest is None else self._image(version, manifest)

    def ensure(self, version: ModelVersion, open_file: Open) -> Image:
        """The version's image, published now if it is not yet; the tag is written last, so that there is no half of an image.

        Files of a published version are read again only where their listing does not prove that they are unchanged.

        Raises:
            RefusedError: the tag stands for other content or something else, or files or base can't be put into an image.
            AuthError, UnreachableError: as the registries answer, or where a file can't be read.
            UsageError: the version can't be a tag.
        """
        manifest = self._target.read_manifest(image_tag(version))
        if manifest is not None:
            return self._reuse(version, manifest, open_file)
        manifest, content = self._write(version, open_file)
        stored = self._target.create_manifest(image_tag(version), manifest)
        # Somebody else may have been first; then theirs is the image.
        image = self._image(version, stored, content, reused=stored != manifest)
        self._remember_listing(version, stored)
        return image

    def _reuse(self, version: ModelVersion, manifest: bytes, open_file: Open) -> Image:
        listing = listing_tag(version)
        if listing is not None and self._target.read_manifest(listing) == manifest:
            return self._image(version, manifest)
        self._image(version, manifest)  # refuses a tag that is not ours before gigabytes are read
        image = self._image(version, manifest, content_digest(version.files, open_file))
        # It only saves time later; who may read the image but not push can use it all the same.
        with suppress(AuthError):
            self._remember_listing(version, manifest)
        return image

    def _remember_listing(self, version: ModelVersion, manifest: bytes) -> None:
        """A second tag of the same image says which listing it was made from; in the manifest it would change the digest."""
        listing = listing_tag(version)
        if listing is not None:
            self._target.create_manifest(listing, manifest)

    def _write(self, version: ModelVersion, open_file: Open) -> tuple[bytes, str]:
        """Everything but the tag: the manifest to be, and the content digest."""
        image = self._runtime(version, open_file)
        base = read_base(image, self._platform)
        if image is not None:
            self._copy_layers(base, image.repository)
        layer, content = self._write_layer(version, open_file)
        config = image_config(version, base, self._platform, content, diff_id=layer.digest)
        if not self._target.has_blob(sha256(config)):
            self._target.write_blob([config], len(config))
        described = Descriptor(CONFIG, sha256(config), len(config))
        return image_manifest(base, described, layer, image_annotations(version, base, self._platform, content)), content

    def _copy_layers(self, base: Base, source: Repository) -> None:
        for layer in base.layers:
            if not self._target.has_blob(layer.digest):
                self._target.write_blob(source.read_blob(layer), layer.size)

    def _write_layer(self, version: ModelVersion, open_file: Open) -> tuple[Descriptor, str]:
        """The model layer, packed, hashed and sent in one pass."""
        content = ""

        def chunks() -> Iterator[bytes]:
            nonlocal content
            content = yield from pack(version.files, open_file)

        size = packed_size(version.files)
        return Descriptor(LAYER, self._target.write_blob(chunks(), size), size), content

    def _image(self, version: ModelVersion, manifest: bytes, content: str | None = None, *, reused: bool = True) -> Image:
        """The published image, if it is this version's for our platform, and its content is `content` where that is known.

        Raises:
            RefusedError: it is not.
        """
        tag = image_tag(version)
        where = f"{self._repository}:{tag}"
        published = Published.parse(manifest, where)
        if (published.model, published.version) != (version.name, version.version):
            raise RefusedError(
                f"{where} is the image of {published.model}:{published.version}, not of {version.reference}",
                hint="give each model an image repository of its own",
            )
        if not self._platform.runs(Platform.parse(published.platform)):
            raise RefusedError(
                f"{where} was published for {published.platform}, not for {self._platform}",
                hint=f"go on with {published.platform}, or use another repository for {self._platform}",
            )
        if content not in (None, published.content_digest):
            raise RefusedError(
                f"{where} holds {published.content_digest}, but the files of {version.reference} are {content} now",
                hint="somebody changed the files of a registered version: register a new version instead",
            )
        return Image(self._repository, tag, published.digest, published.content_digest, published.layer_size, reused)


def listing_tag(version: ModelVersion) -> str | None:
    """The tag that an image made from exactly this listing carries beside its own, or None where ETags don't prove anything.

    An ETag identifies content under its own address only, and a weak one (`W/`) does not promise equal bytes (RFC 9110, 8.8.3).
    """
    if not all(file.etag and not file.etag.startswith("W/") for file in version.files):
        return None
    files = sorted((file.path, file.size, file.etag) for file in version.files)
    digest = sha256(canonical({"artifact_uri": version.artifact_uri, "files": files}))
    return f"{image_tag(version)}.{digest.removeprefix('sha256:')[:32]}"
