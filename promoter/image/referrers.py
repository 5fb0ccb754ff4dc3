"""What is attached to an image: artifacts whose `subject` it is, and that the registry lists by its digest.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers. A registry without that part of the API
(Docker's registry 2, GHCR) does not answer a push with OCI-Subject; then the list is an index with the tag `sha256-<hex>` that
clients write ("Referrers Tag Schema").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from promoter.errors import RefusedError, UnreachableError
from promoter.image.oci import INDEX, MANIFEST, Descriptor, canonical, decode, objects, read_bytes, section, sha256
from promoter.transport.boundary import Server, odd_answers_are_errors

if TYPE_CHECKING:
    from promoter.image.connection import Connection
    from promoter.image.registry import RegistryRepository

EMPTY = "application/vnd.oci.empty.v1+json"
_EMPTY_CONFIG = b"{}"
_MOST_PAGES = 100
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Referrer:
    """One artifact that is attached to an image, as the list has it: `digest` is that of its manifest."""

    digest: str
    artifact_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@odd_answers_are_errors
class Referrers:
    """The artifacts that are attached to images of one repository. Not for use by several threads at once."""

    def __init__(self, repository: RegistryRepository, connection: Connection) -> None:
        self._repository, self._connection = repository, connection

    @property
    def _http(self) -> Server:
        return self._connection.server

    def of(self, image: str) -> tuple[Referrer, ...]:
        """Those of the image with this digest, in the order of the list.

        Raises:
            AuthError, UnreachableError, RefusedError: as the registry answers.
        """
        found = self._listed(image)
        return tuple(_referrer(entry) for entry in (self._tagged(image) if found is None else found))

    def read(self, referrer: Referrer) -> tuple[str, bytes]:
        """Media type and content of its only layer.

        Raises:
            RefusedError: it is missing, damaged, or has several.
            AuthError, UnreachableError: as the registry answers.
        """
        where = f"{self._repository.name}@{referrer.digest}"
        manifest = self._repository.read_manifest(referrer.digest)
        if manifest is None:
            raise RefusedError(f"{where} is listed, and does not exist", hint="somebody deleted it: attach it again")
        layers = objects(decode(manifest, where), "layers", where)
        if len(layers) != 1:
            raise RefusedError(f"{where} has {len(layers)} layers, not one", hint="another program made it")
        layer = Descriptor.parse(layers[0], where)
        return layer.media_type, read_bytes(self._repository, layer)

    def attach(
        self, image: Descriptor, artifact_type: str, content: bytes, annotations: Mapping[str, str], on_layer: Mapping[str, str]
    ) -> str:
        """Attaches an artifact with this content, of this type; the same one again changes nothing. Returns its digest.

        Raises:
            AuthError, UnreachableError, RefusedError: as the registry answers.
        """
        layer = self._blob(artifact_type, content).as_json() | ({"annotations": dict(on_layer)} if on_layer else {})
        manifest = canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": artifact_type,
                "config": self._blob(EMPTY, _EMPTY_CONFIG).as_json(),
                "layers": [layer],
                "subject": image.as_json(),
                "annotations": dict(annotations),
            }
        )
        digest = sha256(manifest)
        if not self._put(digest, manifest, MANIFEST):
            listed = Descriptor(MANIFEST, digest, len(manifest)).as_json()
            self._tag(image.digest, listed | {"artifactType": artifact_type, "annotations": dict(annotations)})
        return digest

    def _blob(self, media_type: str, content: bytes) -> Descriptor:
        blob = Descriptor(media_type, sha256(content), len(content))
        if not self._repository.has_blob(blob.digest):
            self._repository.write_blob([content], len(content))
        return blob

    def _put(self, reference: str, manifest: bytes, media_type: str) -> bool:
        """Whether the registry has seen the subject, and lists the artifact itself."""
        headers = {"Content-Type": media_type}
        response = self._connection.request("PUT", f"/manifests/{reference}", data=manifest, headers=headers)
        self._connection.require_success(response, f"write the manifest of {reference}")
        self._connection.confirmed(response, sha256(manifest))
        return "OCI-Subject" in response.headers

    # -- the registry's list ------------------------------------------------------------------------------------------

    def _listed(self, image: str) -> list[dict[str, Any]] | None:
        """None: the registry keeps no list."""
        path, found, where = f"/referrers/{image}", list[dict[str, Any]](), f"the referrers of {image}"
        for _ in range(_MOST_PAGES):
            response = self._connection.request("GET", path, headers={"Accept": INDEX})
            # Before this part of the API existed a registry could answer anything that is not a list
            if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.BAD_REQUEST):
                return None
            answer = decode(self._connection.require_success(response, f"list {where}").content, where)
            found += objects(answer, "manifests", where)
            if not (after := response.links.get("next", {}).get("url")):
                return found
            path = self._connection.own(urljoin(response.url, after))
        raise RefusedError(f"{self._repository.name}: {where} have more than {_MOST_PAGES} pages", hint="delete some")

    # -- the list that clients write ----------------------------------------------------------------------------------

    def _tagged(self, image: str) -> list[dict[str, Any]]:
        index = self._repository.read_manifest(_tag_of(image))
        return [] if index is None else objects(decode(index, _tag_of(image)), "manifests", _tag_of(image))

    def _tag(self, image: str, entry: dict[str, Any]) -> None:
        """The specification has no conditional write: whoever loses a race sees it in what is there then, and adds again."""
        for _ in range(_TRIES):
            entries = self._tagged(image)
            if any(one.get("digest") == entry["digest"] for one in entries):
                return
            index = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*entries, entry]})
            self._put(_tag_of(image), index, INDEX)
        if not any(one.get("digest") == entry["digest"] for one in self._tagged(image)):
            raise UnreachableError(
                f"{self._repository.name}: {_tag_of(image)} is written by others all the time", hint="run again"
            )


def _tag_of(image: str) -> str:
    return image.replace(":", "-")


def _referrer(entry: Mapping[str, Any]) -> Referrer:
    annotations = section(entry, "annotations")
    return Referrer(
        Descriptor.parse(entry, "a list of referrers").digest,
        str(entry.get("artifactType") or ""),
        {str(key): str(value) for key, value in annotations.items()},
    )
