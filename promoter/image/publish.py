"""A model version's image: found by its tag, or made once and published; never a second one for the same version."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from promoter.errors import AuthError, RefusedError
from promoter.image.assemble import PackedModel, Packing, copy_layers, write_config, write_model
from promoter.image.base import Base, BaseImage, Platform, read_base
from promoter.image.explain import Explanation
from promoter.image.layer import Open, content_digest
from promoter.image.manifest import ModelLayer, Published
from promoter.image.oci import Repository, canonical, decode, read_bytes, section, sha256
from promoter.image.reference import image_tag
from promoter.models import Blob, Image, ModelVersion

Runtime = Callable[[ModelVersion, Open], BaseImage | None]
"""Finds or builds the image that the model's layer goes on; None if an image contains only the model."""

Attempt = Callable[[BaseImage | None, ModelVersion, Open], None]
"""Tries a model on its runtime before anything of it is published; raises RefusedError if it can't be loaded."""

_RUNTIME_TAG = re.compile(r"runtime-([0-9a-f]{8})[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class _Found:
    """A published image, and the repository that it was found in."""

    where: Repository
    manifest: bytes


class Publisher:
    """Publishes into `target`, which people know as `repository`, for one `platform`.

    A version's image stays as it was first published, even if the runtime changes since; `runtime` is called only when an image
    has to be made. An image that is already published in a repository `elsewhere`, for an earlier environment, is copied from
    there with the same digest.
    """

    def __init__(
        self,
        target: Repository,
        repository: str,
        runtime: Runtime,
        platform: str = "linux/amd64",
        *,
        packing: Packing | None = None,
        elsewhere: Sequence[Repository] = (),
        attempt: Attempt | None = None,
    ) -> None:
        self._target, self._repository, self._runtime, self._attempt = target, repository, runtime, attempt
        self._platform, self._packing = Platform.parse(platform), packing or Packing()
        self._elsewhere = tuple(elsewhere)

    def find(self, version: ModelVersion) -> Image | None:
        """The image published here for this version, by its tag's manifest alone: its files are not looked at.

        Raises:
            RefusedError: the tag is taken by something that is not this version's image.
            AuthError, UnreachableError: as the registry answers.
            UsageError: the version can't be a tag.
        """
        tag = image_tag(version)
        manifest = self._target.read_manifest(tag)
        return None if manifest is None else self._image(version, tag, manifest)

    def expect(self, version: ModelVersion, tag: str = "") -> Image | None:
        """What `ensure` will return, as far as known before anything is made or copied; only reads; raises as `ensure`."""
        tag, found = self._wanted(version, tag)
        return self._image(version, tag, found.manifest, where=found.where) if found else None

    def ensure(self, version: ModelVersion, open_file: Open, tag: str = "", known: Image | None = None) -> Image:
        """The version's image, published if it does not exist; the tag is written last, so an incomplete image has none.

        Files of a published version are read again only if their listing does not prove that they are unchanged.
        A `tag` other than the version's own is that of an image which `rebuild` published; `known` is what `expect` found.

        Raises:
            RefusedError: the tag names other content or something else, or is not the version's own and does not exist;
                or files or base can't be put into an image.
            AuthError, UnreachableError: as the registries answer, or a file can't be read.
            UsageError: the version can't be a tag.
        """
        if known is not None and not known.copied_from and self._proves(version, known):
            return known
        tag, found = self._wanted(version, tag)
        if found is not None:
            return self._reuse(version, tag, found, open_file)
        return self._make(version, tag, open_file)

    def require_push(self) -> None:
        """Whether the repository would take an image; raises what a push would."""
        self._target.require_push()

    def rebuild(self, version: ModelVersion, open_file: Open) -> Image:
        """An image of the version on today's runtime, whose key is in its tag; the version's own tag is not moved.

        Raises:
            RefusedError: the image has no runtime; otherwise as `ensure`.
        """
        runtime = self._runtime(version, open_file)
        if runtime is None:
            raise RefusedError(
                f"the image of {version.reference} can't be rebuilt: it has no runtime (image.runtime: scratch)",
                hint="name a runtime in promoter.yaml, or go without --rebuild",
            )
        tag = f"{image_tag(version)}-{runtime_key(runtime, self._platform)}"
        found = self._found(tag)
        if found is not None:
            return self._reuse(version, tag, found, open_file)
        return self._put_on(runtime, version, tag, open_file, self._packed(version, open_file))

    def explain(self, version: ModelVersion, open_file: Open, runtime: BaseImage | None = None) -> Explanation:
        """Why `ensure` would reuse, copy or make an image; `runtime` is today's, if it exists already. Writes nothing.

        Raises as `ensure`.
        """
        tag = image_tag(version)
        found = self._found(tag)
        image, listed = self._proven(version, tag, found, open_file) if found else (None, False)
        rebuilt = None
        if runtime is not None:
            on_it = f"{tag}-{runtime_key(runtime, self._platform)}"
            manifest = self._target.read_manifest(on_it)
            rebuilt = self._image(version, on_it, manifest) if manifest is not None else None
        return Explanation(
            tag=tag,
            image=image,
            listing=listed,
            runtime_then=Published.parse(found.manifest, tag).runtime if found else "",
            runtime_now=(read_base(runtime, self._platform).digest or "") if runtime else "",
            rebuilt=rebuilt,
        )

    # -- found -------------------------------------------------------------------------------------------------------

    def _wanted(self, version: ModelVersion, tag: str) -> tuple[str, _Found | None]:
        """The tag ("" is the version's own) and the image published under it; only the version's own tag may be missing.

        Raises:
            RefusedError: another tag is missing.
        """
        own = image_tag(version)
        found = self._found(tag or own)
        if found is None and tag not in ("", own):
            raise RefusedError(
                f"no image of {version.reference} is published as {self._repository}:{tag}",
                hint=f"the version's own tag is {own}; promoter image {version.reference} --rebuild prints another",
            )
        return tag or own, found

    def _found(self, tag: str) -> _Found | None:
        for repository in (self._target, *self._elsewhere):
            manifest = repository.read_manifest(tag)
            if manifest is not None:
                return _Found(repository, manifest)
        return None

    def _reuse(self, version: ModelVersion, tag: str, found: _Found, open_file: Open) -> Image:
        image, listed = self._proven(version, tag, found, open_file)
        if found.where is not self._target:
            return self._copy(version, tag, found)
        if not listed:
            # It only saves time later; an identity that may read the image but not push can still use it.
            with suppress(AuthError):
                self._remember_listing(version, tag, found.manifest)
        return image

    def _proven(self, version: ModelVersion, tag: str, found: _Found, open_file: Open) -> tuple[Image, bool]:
        """The image, which contains the version's files of today, and whether their listing alone proved that."""
        image = self._image(version, tag, found.manifest, where=found.where)
        listing = listing_tag(version, tag)
        if listing is not None and found.where.read_manifest(listing) == found.manifest:
            return image, True
        content = content_digest(version.files, open_file)
        return self._image(version, tag, found.manifest, content, where=found.where), False

    def _proves(self, version: ModelVersion, image: Image) -> bool:
        """The listing of the version's files of today identifies this very image in the target."""
        listing = listing_tag(version, image.tag)
        manifest = self._target.read_manifest(listing) if listing else None
        return manifest is not None and sha256(manifest) == image.digest

    def _copy(self, version: ModelVersion, tag: str, found: _Found) -> Image:
        blobs = tuple(
            Blob(role, blob.digest, blob.size, self._target.copy_blob(blob, found.where))
            for role, blob in Published.parse(found.manifest, tag).blobs
        )
        stored = self._target.create_manifest(tag, found.manifest)
        content = Published.parse(found.manifest, tag).content_digest
        image = self._image(version, tag, stored, content, reused=stored != found.manifest, where=found.where)
        self._remember_listing(version, tag, stored)
        return replace(image, blobs=blobs)

    # -- made --------------------------------------------------------------------------------------------------------

    def _make(self, version: ModelVersion, tag: str, open_file: Open) -> Image:
        return self._put_on(self._runtime(version, open_file), version, tag, open_file)

    def _put_on(
        self, runtime: BaseImage | None, version: ModelVersion, tag: str, open_file: Open, model: PackedModel | None = None
    ) -> Image:
        if self._attempt is not None:
            self._attempt(runtime, version, open_file)
        base = read_base(runtime, self._platform)
        layers = copy_layers(self._target, base, runtime.repository) if runtime else []
        model = model or write_model(self._target, version, open_file, self._packing, base)
        return self._publish(version, tag, base, layers, model)

    def _publish(self, version: ModelVersion, tag: str, base: Base, layers: Sequence[Blob], model: PackedModel) -> Image:
        """Publishes layers that are already in the target as an image with this tag; only the config is missing there."""
        manifest, config = write_config(self._target, version, base, self._platform, model, self._packing.format)
        stored = self._target.create_manifest(tag, manifest)
        # Another process may have been first; then its image counts.
        image = self._image(version, tag, stored, model.content_digest, reused=stored != manifest)
        self._remember_listing(version, tag, stored)
        return replace(image, blobs=(config, *layers, *model.blobs))

    def _packed(self, version: ModelVersion, open_file: Open) -> PackedModel | None:
        """The model as the version's own image in the target has it, so that it is not packed again."""
        tag = image_tag(version)
        manifest = self._target.read_manifest(tag)
        if manifest is None:
            return None
        image, _ = self._proven(version, tag, _Found(self._target, manifest), open_file)
        if not self._packing.embeds(version):
            return PackedModel(image.content_digest, None)
        published = Published.parse(manifest, tag)
        if published.model_layer is None:
            return None
        config = decode(read_bytes(self._target, published.config), f"the config of {image.reference}")
        return PackedModel(image.content_digest, ModelLayer(published.model_layer, section(config, "rootfs")["diff_ids"][-1]))

    def _remember_listing(self, version: ModelVersion, tag: str, manifest: bytes) -> None:
        """Adds a second tag that identifies the listing the image was made from; in the manifest it would change the digest."""
        listing = listing_tag(version, tag)
        if listing is not None:
            self._target.create_manifest(listing, manifest)

    def _image(
        self,
        version: ModelVersion,
        tag: str,
        manifest: bytes,
        content: str | None = None,
        *,
        reused: bool = True,
        where: Repository | None = None,
    ) -> Image:
        """The image in `where` (the target) if it is this version's for our platform with this `content` (None: any).

        Raises:
            RefusedError: it is not, or does not.
        """
        elsewhere = where.name if where not in (None, self._target) else ""
        shown = f"{elsewhere or self._repository}:{tag}"
        published = Published.parse(manifest, shown)
        if (published.model, published.version) != (version.name, version.version):
            raise RefusedError(
                f"{shown} is the image of {published.model}:{published.version}, not of {version.reference}",
                hint="give each model an image repository of its own",
            )
        if not self._platform.runs(Platform.parse(published.platform)):
            raise RefusedError(
                f"{shown} was published for {published.platform}, not for {self._platform}",
                hint=f"go on with {published.platform}, or use another repository for {self._platform}",
            )
        if content not in (None, published.content_digest):
            raise RefusedError(
                f"{shown} holds {published.content_digest}, but the files of {version.reference} are {content} now",
                hint="somebody changed the files of a registered version: register a new version instead",
            )
        return Image(
            repository=self._repository,
            tag=tag,
            digest=published.digest,
            content_digest=published.content_digest,
            size=published.model_layer.size if published.model_layer else 0,
            reused=reused,
            blobs=tuple(Blob(role, blob.digest, blob.size) for role, blob in published.blobs),
            copied_from=elsewhere,
        )


def listing_tag(version: ModelVersion, tag: str) -> str | None:
    """The second tag of an image made from exactly this listing, or None if the ETags don't prove anything.

    An ETag identifies content under its own address only, and a weak one (`W/`) does not promise equal bytes (RFC 9110, 8.8.3).
    """
    if not all(file.etag and not file.etag.startswith("W/") for file in version.files):
        return None
    files = sorted((file.path, file.size, file.etag) for file in version.files)
    digest = sha256(canonical({"artifact_uri": version.artifact_uri, "files": files}))
    return f"{tag}.{digest.removeprefix('sha256:')[:32]}"


def runtime_key(runtime: BaseImage, platform: Platform) -> str:
    """Distinguishes a version's images on several runtimes: the first 8 hexadecimal digits of `runtime-<hex>` or of the digest.

    Raises:
        RefusedError, AuthError, UnreachableError: as `read_base`.
    """
    named = _RUNTIME_TAG.fullmatch(runtime.reference)
    return named[1] if named else (read_base(runtime, platform).digest or "").removeprefix("sha256:")[:8]
