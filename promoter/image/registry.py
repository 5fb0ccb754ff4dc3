"""A repository in a container registry (https://github.com/opencontainers/distribution-spec/blob/main/spec.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from http import HTTPStatus

import requests

from promoter.errors import AuthError, UnreachableError
from promoter.image.connection import Connection
from promoter.image.layer import CHUNK
from promoter.image.oci import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Descriptor,
    Repository,
    Restartable,
    decode,
    is_digest,
    sha256,
    verified,
)
from promoter.image.reference import ImageReference
from promoter.image.referrers import Referrers
from promoter.image.upload import Session, exists, open_upload, upload
from promoter.models import Origin
from promoter.transport.boundary import Server, odd_answers_are_errors
from promoter.transport.session import Limits

_MANIFESTS = ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX))


@odd_answers_are_errors
class RegistryRepository:
    """The image repository that `reference` names; `insecure` are hosts (`host[:port]`) that may be spoken to in plain http.

    Not for use by several threads at once.
    """

    def __init__(
        self,
        reference: ImageReference,
        *,
        insecure: Collection[str] = (),
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._reference = reference
        self._connection = Connection(reference, insecure, env, limits)

    @property
    def _http(self) -> Server:
        return self._connection.server

    @property
    def name(self) -> str:
        return self._reference.name

    @property
    def referrers(self) -> Referrers:
        """What is attached to the images here."""
        return Referrers(self, self._connection)

    def has_blob(self, digest: str) -> bool:
        """See `Repository`.

        Raises:
            AuthError, UnreachableError, RefusedError: as the registry answers.
        """
        return exists(self._connection, digest)

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        """See `Repository`.

        Raises:
            AuthError, UnreachableError: as the registry answers.
            RefusedError: the blob is missing or damaged.
        """
        return verified(self._chunks(blob.digest), blob, self.name)

    def write_blob(self, chunks: Iterable[bytes], size: int | None) -> str:
        """See `Repository`, and `upload`.

        Raises:
            AuthError, UnreachableError: as the registry answers.
            RefusedError: it does not take the blob, or got other bytes than were sent.
        """
        return upload(self._connection, chunks, size)

    def copy_blob(self, blob: Descriptor, source: Repository) -> Origin:
        """See `Repository`: from another repository of this registry without its bytes, if the registry plays along.

        Raises:
            AuthError, UnreachableError, RefusedError: as either of them answers.
        """
        if self.has_blob(blob.digest):
            return Origin.THERE
        session = None
        if isinstance(source, RegistryRepository) and source._reference.registry == self._reference.registry:
            answer = self._mount(blob.digest, source._reference.repository)
            if answer is not None and answer.status_code == HTTPStatus.CREATED:
                self._connection.confirmed(answer, blob.digest)
                return Origin.MOUNTED
            if answer is not None and answer.status_code == HTTPStatus.ACCEPTED:
                session = Session.opened(self._connection, answer)
        upload(self._connection, Restartable(lambda: source.read_blob(blob)), blob.size, session)
        return Origin.SENT

    def read_manifest(self, reference: str) -> bytes | None:
        """See `Repository`.

        Raises:
            AuthError, UnreachableError: as the registry answers.
            RefusedError: the bytes do not have the digest that was asked for, or that the registry reports.
        """
        response = self._connection.request("GET", f"/manifests/{reference}", headers={"Accept": _MANIFESTS})
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        manifest = self._connection.require_success(response, f"read the manifest of {reference}").content
        self._connection.confirmed(response, sha256(manifest))
        if is_digest(reference) and sha256(manifest) != reference:
            raise self._connection.mismatch(reference, sha256(manifest))
        return manifest

    def create_manifest(self, tag: str, manifest: bytes) -> bytes:
        """See `Repository`; the API has no conditional write, so two first writers at the same instant are not detected.

        Raises:
            AuthError, UnreachableError: as the registry answers.
            RefusedError: it does not take the manifest.
        """
        existing = self.read_manifest(tag)
        if existing is not None:
            return existing
        headers = {"Content-Type": str(decode(manifest, tag).get("mediaType", MANIFEST))}
        response = self._connection.request("PUT", f"/manifests/{tag}", data=manifest, headers=headers)
        self._connection.confirmed(self._connection.require_success(response, f"write the manifest of {tag}"), sha256(manifest))
        return manifest

    def require_push(self) -> None:
        """See `Repository`: opens an upload and cancels it.

        Raises:
            AuthError, UnreachableError, RefusedError: as the registry answers.
        """
        session = open_upload(self._connection)
        self._connection.request("DELETE", session.location)  # one that is left open ends by itself: no answer matters

    def _mount(self, digest: str, repository: str) -> requests.Response | None:
        """The answer to an upload that may take the blob from there; None if our login may not read there."""
        asked = {"mount": digest, "from": repository}
        try:
            return self._connection.request("POST", "/blobs/uploads/", params=asked, retry=True)
        except AuthError:
            return None

    def _chunks(self, digest: str) -> Iterator[bytes]:
        with self._connection.follow("GET", f"/blobs/{digest}") as response:
            self._connection.require_success(response, f"read {digest}")
            try:
                yield from response.iter_content(CHUNK)
            except requests.exceptions.RequestException as error:
                raise UnreachableError(
                    f"{self.name}: the connection broke while {digest} was read", hint="run again"
                ) from error
