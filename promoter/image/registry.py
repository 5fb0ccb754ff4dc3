"""A repository in a container registry (https://github.com/opencontainers/distribution-spec/blob/main/spec.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError
from promoter.http import RETRIED, Http, Limits
from promoter.image.credentials import registry_login
from promoter.image.layer import CHUNK
from promoter.image.oci import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, Descriptor, decode, sha256, verified
from promoter.image.reference import DOCKER_HUB, ImageReference, is_digest
from promoter.image.token import authorization

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_MANIFESTS = ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
# A registry reads a whole layer again before it answers the request that completes it.
_COMMIT_SECONDS = 600.0
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


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
        self._reference, self._insecure, self._env = reference, frozenset(insecure), env
        host = "registry-1.docker.io" if reference.registry == DOCKER_HUB else reference.registry
        scheme = "http" if self._plain_http_allowed(host) else "https"
        base_url = f"{scheme}://{host}/v2/{reference.repository}"
        self._http = Http(f"container registry {reference.registry}", base_url, limits=limits)
        self._authorization: str | None = None

    @property
    def name(self) -> str:
        return self._reference.name

    def has_blob(self, digest: str) -> bool:
        """See `Repository`.

        Raises:
            AuthError, UnreachableError, RefusedError: as the registry answers.
        """
        response = self._follow("HEAD", f"/blobs/{digest}")
        response.close()
        return response.status_code != HTTPStatus.NOT_FOUND and self._checked(response, f"look for {digest}").ok

    def read_blob(self, blob: Descriptor) -> Iterator[bytes]:
        """See `Repository`.

        Raises:
            AuthError, UnreachableError: as the registry answers.
            RefusedError: the blob is missing or damaged.
        """
        return verified(self._chunks(blob.digest), blob, self.name)

    def write_blob(self, chunks: Iterable[bytes], size: int) -> str:
        """See `Repository`: POST opens an upload, one PATCH streams, PUT completes it under the digest known by then.

        Raises:
            AuthError, UnreachableError: as the registry answers.
            RefusedError: it does not take the blob, or got other bytes than were sent.
        """
        opened = self._checked(self._request("POST", "/blobs/uploads/", retry=True), "open an upload")
        body = _Body(chunks, size)
        headers = {"Content-Type": "application/octet-stream"}
        sent = self._send("PATCH", self._location(opened), data=body, headers=headers, read_timeout=_COMMIT_SECONDS)
        location = self._location(self._checked(sent, "upload a layer"))
        response = self._request("PUT", location, params={"digest": body.digest}, read_timeout=_COMMIT_SECONDS)
        # A PUT that was tried again finds its upload gone when the first one arrived: then the blob is there.
        if response.status_code != HTTPStatus.NOT_FOUND or not self.has_blob(body.digest):
            self._confirmed(self._checked(response, f"complete the upload of {body.digest}"), body.digest)
        return body.digest

    def read_manifest(self, reference: str) -> bytes | None:
        """See `Repository`.

        Raises:
            AuthError, UnreachableError: as the registry answers.
            RefusedError: the bytes do not have the digest that was asked for, or that the registry says they have.
        """
        response = self._request("GET", f"/manifests/{reference}", headers={"Accept": _MANIFESTS})
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        manifest = self._checked(response, f"read the manifest of {reference}").content
        self._confirmed(response, sha256(manifest))
        if is_digest(reference) and sha256(manifest) != reference:
            raise self._mismatch(reference, sha256(manifest))
        return manifest

    def create_manifest(self, tag: str, manifest: bytes) -> bytes:
        """See `Repository`; the API has no condition on a write, so two first writers in the same instant are not told apart.

        Raises:
            AuthError, UnreachableError: as the registry answers.
            RefusedError: it does not take the manifest.
        """
        existing = self.read_manifest(tag)
        if existing is not None:
            return existing
        media_type = str(decode(manifest, tag).get("mediaType", MANIFEST))
        response = self._request("PUT", f"/manifests/{tag}", data=manifest, headers={"Content-Type": media_type})
        self._confirmed(self._checked(response, f"write the manifest of {tag}"), sha256(manifest))
        return manifest

    # -- requests ----------------------------------------------------------------------------------------------------

    def _send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> requests.Response:
        """One request; credentials go to the registry itself, and to no other host that it points to."""
        headers = {"Accept-Encoding": "identity", **(headers or {})}
        if self._authorization is not None and self._is_own(path):
            headers["Authorization"] = self._authorization
        return self._http.request(method, path, headers=headers, **options)

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request, done again once with a new authorization when the registry asks for one."""
        response = self._send(method, path, **options)
        if response.status_code != HTTPStatus.UNAUTHORIZED or not self._is_own(path):
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        response.close()
        login = registry_login(self._reference.registry, self._env)
        self._authorization = authorization(challenge, login, self.name, self._plain_http_allowed)
        return self._send(method, path, **options)

    def _follow(self, method: str, path: str) -> requests.Response:
        """A read that the registry may hand over to its storage."""
        for _ in range(_MOST_REDIRECTS):
            response = self._request(method, path, stream=True)
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            path = self._location(response)
        raise RefusedError(
            f"{self.name}: redirected more than {_MOST_REDIRECTS} times", hint="check the registry's storage settings"
        )

    def _location(self, response: requests.Response) -> str:
        """Where the answer points to, which may be relative."""
        location = urljoin(response.url, response.headers.get("Location", ""))
        parts = urlsplit(location)
        if parts.scheme == "https" or (parts.scheme == "http" and self._plain_http_allowed(parts.netloc)):
            return location
        raise RefusedError(
            f"{self.name} points to {parts.scheme}://{parts.netloc}, which is not https",
            hint="name that host as insecure, or fix it",
        )

    def _is_own(self, path: str) -> bool:
        return "://" not in path or _origin(path) == _origin(self._http.base_url)

    def _plain_http_allowed(self, host: str) -> bool:
        return urlsplit(f"//{host}").hostname in _LOCAL or host in self._insecure

    def _chunks(self, digest: str) -> Iterator[bytes]:
        with self._follow("GET", f"/blobs/{digest}") as response:
            self._checked(response, f"read {digest}")
            try:
                yield from response.iter_content(CHUNK)
            except requests.exceptions.RequestException as error:
                raise UnreachableError(
                    f"{self.name}: the connection broke while {digest} was read", hint="run again"
                ) from error

    # -- answers -----------------------------------------------------------------------------------------------------

    def _confirmed(self, response: requests.Response, digest: str) -> None:
        """The registry stored or sent the bytes that we know, if it says anything about it."""
        theirs = response.headers.get("Docker-Content-Digest", digest)
        if theirs != digest:
            raise self._mismatch(digest, theirs)

    def _mismatch(self, ours: str, theirs: str) -> RefusedError:
        return RefusedError(
            f"{self.name}: {ours} was expected, the registry has {theirs}", hint="a proxy or the registry changes content"
        )

    def _checked(self, response: requests.Response, doing: str) -> requests.Response:
        """The answer if it is a success."""
        if response.ok:
            return response
        raise self._failure(response, doing)

    def _failure(self, response: requests.Response, doing: str) -> PromoterError:
        status, registry = response.status_code, self._reference.registry
        message = f"{self.name}: can't {doing}: {status} {_reason(response)}"
        if status == HTTPStatus.UNAUTHORIZED:
            return AuthError(message, hint=f"run `docker login {registry}`")
        if status == HTTPStatus.FORBIDDEN:
            return AuthError(message, hint=f"ask for the right to push to or pull from {self.name}")
        if status in RETRIED:
            return UnreachableError(message, hint="run again later")
        if status == HTTPStatus.NOT_FOUND:
            return RefusedError(message, hint=f"check that {self.name} exists")
        return RefusedError(message, hint="the registry's own log says more")


class _Body:
    """A request body of known length, hashed while it is sent."""

    def __init__(self, chunks: Iterable[bytes], size: int) -> None:
        self._chunks, self._size, self._sha256 = chunks, size, hashlib.sha256()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._sha256.update(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        return "sha256:" + self._sha256.hexdigest()


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454, 4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _reason(response: requests.Response) -> str:
    """`CODE: message` of each error in the answer, as the specification has it; else the status's own words."""
    try:
        errors = response.json()["errors"]
        told = [f"{error['code']}: {error.get('message', '')}".rstrip(": ") for error in errors]
    except (requests.exceptions.RequestException, ValueError, KeyError, TypeError, AttributeError):
        told = []
    return ", ".join(told) or response.reason or ""
