"""A model version's files behind an MLflow server that serves them (`mlflow-artifacts:` URIs)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import urllib3.exceptions

from promoter.errors import RefusedError, UnreachableError
from promoter.model_registry.artifacts import Folders, Reader, listing
from promoter.model_registry.store import NotFound
from promoter.models import MOST_FILES, ModelFile
from promoter.transport.boundary import ODD
from promoter.transport.typed import require_typed

if TYPE_CHECKING:
    import requests

    from promoter.model_registry.server import TrackingServer
    from promoter.transport.session import Http

API = "/api/2.0/mlflow-artifacts/artifacts"
"""Where an MLflow server has them."""

_THREADS = 16
# For all ETags of a version together. Thousands of small files are read again, rather than waited for at every command.
_ETAG_SECONDS = 3.0
# Unzipped, so that the bytes are the file's and the ETag is that of the file, not of a packed copy.
_AS_IT_IS = {"Accept-Encoding": "identity"}


class ProxiedArtifacts:
    """The files below `path` of an MLflow server's artifact store."""

    def __init__(
        self, server: TrackingServer, path: str, most: int = MOST_FILES, *, etag_seconds: float = _ETAG_SECONDS
    ) -> None:
        self._server, self._path, self._most, self._etag_seconds = server, path.strip("/"), most, etag_seconds

    def list(self, created: datetime, /) -> tuple[ModelFile, ...]:
        """See Artifacts. Small requests for a first byte give the ETags, and only where the server has the files itself.

        A server with a cloud store behind it would fetch each file whole to answer, and gives no lasting ETag; it is known
        by its answer for MLmodel. HEAD does not help: MLflow answers it from another place, with another ETag than GET.

        If they take longer than `etag_seconds`, no file has one.
        """
        files = listing(self._files(), self._most)
        described = next((file for file in files if file.path == "MLmodel"), None)
        etag = self._etag(None, described, created) if described else None
        if described is None or etag is None:
            return files
        others = [file for file in files if file is not described]
        lanes = [others[start::_THREADS] for start in range(min(_THREADS, len(others)))]
        deadline = time.monotonic() + self._etag_seconds
        with ThreadPoolExecutor(_THREADS) as pool:
            tagged = [file for lane in pool.map(lambda lane: self._tagged(lane, created, deadline), lanes) for file in lane]
        if len(tagged) < len(others):
            return files
        return tuple(sorted((replace(described, etag=etag), *tagged), key=lambda file: file.path))

    def _files(self) -> Iterator[ModelFile]:
        for folder in (folders := Folders(self._most)):
            where = f"{self._path}/{folder}".strip("/")
            entries = self._server.get("mlflow-artifacts/artifacts", _entries, path=where)
            for name, is_folder, size in entries:
                path = f"{folder}/{name}" if folder else name
                if is_folder:
                    folders.add(path)
                else:
                    yield ModelFile(path, size)

    def _tagged(self, files: Sequence[ModelFile], created: datetime, deadline: float) -> Sequence[ModelFile]:
        """As many of them as are answered for in time."""
        http = self._server.http()
        in_time = takewhile(lambda _: time.monotonic() < deadline, files)
        return [replace(file, etag=self._etag(http, file, created)) for file in in_time]

    def _etag(self, http: Http | None, file: ModelFile, created: datetime) -> str | None:
        first_byte = {"Range": "bytes=0-0"} if file.size else {}
        try:
            with self._server.stream(self._address(file), headers={**_AS_IT_IS, **first_byte}, http=http) as response:
                return lasting_etag(response, created)
        except NotFound:
            return None

    @contextmanager
    def open(self, file: ModelFile) -> Iterator[Reader]:
        """See Artifacts.

        Raises:
            RefusedError: the file was changed since it was listed.
        """
        with self._server.stream(self._address(file), headers=_AS_IT_IS) as response:
            if file.etag is not None and response.headers.get("ETag") != file.etag:
                raise RefusedError(
                    f"{file.path} was changed in MLflow while it was read",
                    hint="run again; register a new version, rather than changing one",
                )
            yield _Body(response)

    def _address(self, file: ModelFile) -> str:
        return f"{API}/{quote(f'{self._path}/{file.path}')}"  # a path of `listing`, which checks it


def _entries(answer: Any) -> list[tuple[str, bool, int]]:
    entries = [(one["path"], bool(one.get("is_dir")), int(one.get("file_size") or 0)) for one in answer.get("files") or ()]
    if any(size < 0 for _, _, size in require_typed(entries, list[tuple[str, bool, int]])):
        raise ValueError("a file has less than no bytes")
    return entries


def lasting_etag(response: requests.Response, created: datetime) -> str | None:
    """The ETag, when it will be the same next time as long as the file is.

    A server that fetches from a cloud store answers with a temporary copy's time and ETag. That time is after the version
    was created, while the file's own is before, both by the server's clock.
    """
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    if not etag or etag.startswith("W/") or not modified:
        return None
    try:
        return etag if parsedate_to_datetime(modified) <= created else None
    except ODD:
        return None


class _Body:
    """A streamed body whose broken connections become our errors."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response

    def read(self, size: int = -1, /) -> bytes:
        try:
            content: bytes = self._response.raw.read(size if size >= 0 else None, decode_content=True)
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(
                f"{self._response.url} broke off: {type(error).__name__}",
                hint="run again; what was done already is not done twice",
            ) from None
        return content
