"""A blob on its way into a registry: read once, hashed on the way, in chunks that a broken connection does not send twice.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks. What registries make of it:
GHCR takes no chunk of more than 4 MiB (416), and gets the blob in one request then, as from `docker push`; ECR's answers name
the range of the first chunk for ever, so that a 2xx alone is what counts; Docker's registry 2 drops an upload that broke inside
a chunk, and gets everything once more. The digest that completes an upload proves that all bytes arrived.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from promoter.errors import AuthError, PromoterError, UnreachableError
from promoter.image.body import CHUNK_SIZE, Body, ChunkReader, Whole, Window, body
from promoter.image.connection import Connection, codes
from promoter.transport.boundary import whole_number

if TYPE_CHECKING:
    import requests

_MOST_STARTS = 3
_MOST_TRIES = 6
# A registry reads a whole layer again before it answers the request that completes it.
_COMMIT_SECONDS = 600.0
# The longest that a registry may leave a piece waiting while it writes what it has.
_SEND_SECONDS = 60.0
_OCTETS = {"Content-Type": "application/octet-stream"}
# How registries refuse a way of uploading before they have taken anything: the next one may do.
_REFUSALS = frozenset({400, 405, 411, 413, 416, 501})
_UPLOAD_GONE = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Session:
    """An upload that a registry has opened, and the least bytes that it wants of each chunk but the last."""

    location: str
    least: int = 0

    @classmethod
    def opened(cls, connection: Connection, response: requests.Response) -> Session:
        """From the answer to the request that opened it."""
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        return cls(connection.location(response), whole_number(least) or 0)


class _Setback(Exception):
    """What went wrong, should nothing else be left to try."""

    def __init__(self, error: PromoterError) -> None:
        self.error = error


class _StartOver(_Setback):
    """The registry does not have the upload any more."""


class _OtherWay(_Setback):
    """The registry does not take the blob like this."""


def upload(connection: Connection, chunks: Iterable[bytes], size: int | None, session: Session | None = None) -> str:
    """Sends a blob and returns its digest; `size` is its bytes if known, `session` an upload that is open already.

    A list is small and sent at once; chunks that can be read only once can't be sent again if a registry loses the upload.

    Raises:
        AuthError, UnreachableError: as the registry answers.
        RefusedError: it does not take the blob, or got other bytes than were sent; or there are more or less than `size`.
    """
    ways = [_at_once] if isinstance(chunks, Sequence) else [_in_chunks, _in_one_request, _at_once]
    most = 1 if iter(chunks) is chunks else _MOST_STARTS
    starts = 0
    while True:
        try:
            return ways[0](connection, session or open_upload(connection), chunks, size)
        except _OtherWay as setback:
            ways.pop(0)
            if not ways or most == 1:
                raise setback.error from None
        except _StartOver as setback:
            starts += 1
            if starts >= most or not connection.wait(starts):
                raise setback.error from None
        session = None


def open_upload(connection: Connection) -> Session:
    """Raises as `upload`."""
    opened = connection.require_success(connection.request("POST", "/blobs/uploads/", retry=True), "open an upload")
    return Session.opened(connection, opened)


def exists(connection: Connection, digest: str) -> bool:
    """Whether the registry has this blob in the repository; raises as `upload`."""
    response = connection.follow("HEAD", f"/blobs/{digest}")
    response.close()
    return response.status_code != HTTPStatus.NOT_FOUND and connection.require_success(response, f"look for {digest}").ok


# -- three ways -------------------------------------------------------------------------------------------------------


def _in_chunks(connection: Connection, session: Session, chunks: Iterable[bytes], size: int | None) -> str:
    """One PATCH with a Content-Range a chunk."""
    location, length = session.location, max(CHUNK_SIZE, session.least)
    source = ChunkReader(chunks, size)
    window = Window(source)
    while (end := window.next_end(length)) > window.start:
        location = _send(connection, location, window, end)
        window.move(end)
    return _complete(connection, location, source.finished())


def _in_one_request(connection: Connection, session: Session, chunks: Iterable[bytes], size: int | None) -> str:
    """One PATCH without Content-Range, as Docker does it."""
    whole = Whole(chunks, size)
    response = _patch(connection, session.location, body(whole.read, size), {})
    if isinstance(response, UnreachableError):
        if whole.source.at_fault:
            raise response
        raise _StartOver(response)
    if response.ok:
        return _complete(connection, connection.location(response), whole.source.finished())
    error = connection.failure(response, "upload a layer")
    if response.status_code in _REFUSALS:
        raise _OtherWay(error)
    if isinstance(error, UnreachableError) or _gone(response):
        raise _StartOver(error)
    raise error


def _at_once(connection: Connection, session: Session, chunks: Iterable[bytes], size: int | None) -> str:
    """One PUT of everything, for which the chunks are read twice."""
    source = ChunkReader(chunks, size)
    while source.read():
        pass
    return _complete(connection, session.location, source.finished(), data=body(Whole(chunks, None).read, source.seen))


def _complete(connection: Connection, location: str, digest: str, data: Body | None = None) -> str:
    """Completes the upload with the digest of what was sent."""
    options = {"read_timeout": _COMMIT_SECONDS, "send_timeout": _SEND_SECONDS, "headers": _OCTETS}
    response = connection.request("PUT", location, params={"digest": digest}, data=data, **options)
    # A PUT that was tried again finds its upload gone when the first one arrived: then the blob is there.
    if response.status_code == HTTPStatus.NOT_FOUND:
        if exists(connection, digest):
            return digest
        raise _StartOver(connection.failure(response, f"complete the upload of {digest}"))
    connection.confirmed(connection.require_success(response, f"complete the upload of {digest}"), digest)
    return digest


# -- one chunk --------------------------------------------------------------------------------------------------------


def _send(connection: Connection, location: str, window: Window, end: int) -> str:
    """The window up to `end`, resumed after each failure at the registry's offset; returns the address for the next chunk."""
    at, tries = window.start, 0
    while True:
        # How people and Docker write it, without the unit of RFC 9110: Azure's registry refuses that.
        headers = {"Content-Range": f"{at}-{end - 1}"}
        response = _patch(connection, location, body(partial(window.read, at, end), end - at), headers)
        if isinstance(response, UnreachableError):
            error: PromoterError = response
            answer = None
            if window.source.at_fault:
                raise error
        elif response.ok:
            return connection.location(response)
        else:
            error, answer = _trouble(connection, response, at), response
        tries += 1
        if tries > _MOST_TRIES or not connection.wait(tries, answer):
            raise error
        location, there = _status(connection, location)
        if not window.start <= there <= end:
            raise _StartOver(error)
        if there == end:
            return location
        at, tries = there, tries if there == at else 0


def _patch(
    connection: Connection, location: str, body: Body, headers: Mapping[str, str]
) -> requests.Response | UnreachableError:
    """The answer to a part of the upload, or why there is none."""
    headers = {**_OCTETS, **headers}
    try:
        return connection.request(
            "PATCH", location, data=body, headers=headers, read_timeout=_COMMIT_SECONDS, send_timeout=_SEND_SECONDS
        )
    except UnreachableError as error:
        return error


def _trouble(connection: Connection, response: requests.Response, at: int) -> PromoterError:
    """The error in the answer to a chunk, if another attempt may succeed.

    Raises:
        PromoterError: it will not.
    """
    error = connection.failure(response, "upload a layer")
    if at == 0 and response.status_code in _REFUSALS:
        raise _OtherWay(error)
    if _gone(response):
        raise _StartOver(error)
    if not isinstance(error, UnreachableError) and response.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise error
    return error


def _status(connection: Connection, location: str) -> tuple[str, int]:
    """The address of the next chunk, and the number of bytes that the registry has."""
    response = connection.request("GET", location)
    match = _RANGE.fullmatch(response.headers.get("Range", ""))
    if response.ok and match:
        # Docker's registry reports 0-0 when it has nothing.
        return connection.location(response), int(match[1]) + 1 if int(match[1]) else 0
    error = connection.failure(response, "go on with an upload")
    if isinstance(error, AuthError):
        raise error
    raise _StartOver(error)


def _gone(response: requests.Response) -> bool:
    return response.status_code == HTTPStatus.NOT_FOUND or not codes(response).isdisjoint(_UPLOAD_GONE)
