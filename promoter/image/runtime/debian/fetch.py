"""Files of a package archive by HTTP. No credentials are sent: what comes counts by its signature or its hash alone."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError
from promoter.image.layer import CHUNK
from promoter.transport.boundary import odd_answers_are_errors
from promoter.transport.session import RETRIED, Http, Limits

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@odd_answers_are_errors
class Archive:
    """The archive at `address`; not for use by several threads at once."""

    def __init__(self, address: str, limits: Limits | None = None) -> None:
        self._http = Http(f"package archive {urlsplit(address).netloc}", address, limits=limits)

    def read(self, url: str) -> bytes | None:
        """A small file at once; None if there is none.

        Raises:
            AuthError, UnreachableError, RefusedError: as the archive answers.
        """
        response = self._get(url, stream=False)
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        self._require_success(response, url)
        return response.content

    def download(self, url: str, size: int, sha256: str, target: Path) -> bool:
        """Whether the file of this size and hash was there; it is at `target` then.

        Raises:
            AuthError, UnreachableError: as the archive answers, or the disk is full.
            RefusedError: another file is there.
        """
        with self._get(url, stream=True) as response:
            if response.status_code == HTTPStatus.NOT_FOUND:
                return False
            self._require_success(response, url)
            try:
                seen = _write(response, size, target)
            except requests.exceptions.RequestException:
                raise UnreachableError(f"the connection broke while {url} was read", hint="run again") from None
            except OSError as error:
                raise UnreachableError(
                    f"{target.parent} can't be written: {error.strerror}", hint="free some space, or point TMPDIR elsewhere"
                ) from None
        if seen != sha256:
            raise RefusedError(
                f"{url} is not the file that its signed index lists",
                hint="run again; if it stays so, a proxy or mirror changes it",
            )
        return True

    def _get(self, url: str, *, stream: bool) -> requests.Response:
        for _ in range(_MOST_REDIRECTS):
            response = self._http.request("GET", url, stream=stream, headers={"Accept-Encoding": "identity"})
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            target = urljoin(url, response.headers.get("Location", ""))
            if urlsplit(target).scheme not in ("https", urlsplit(url).scheme):
                raise RefusedError(f"{url} leads to {target}, which is not https", hint="name the archive's own address")
            url = target
        raise RefusedError(f"{url}: redirected more than {_MOST_REDIRECTS} times", hint="check image.packages-mirror")

    @staticmethod
    def _require_success(response: requests.Response, url: str) -> None:
        if not response.ok:
            raise _failure(response.status_code, response.reason or "", url)


def _failure(status: int, reason: str, url: str) -> PromoterError:
    message = f"can't read {url}: {status} {reason}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AuthError(message, hint="name an archive that needs no login in image.packages-mirror")
    if status in RETRIED:
        return UnreachableError(message, hint="run again later")
    return RefusedError(message, hint="check the package sources of image.base, or image.packages-mirror")


def _write(response: requests.Response, size: int, target: Path) -> str:
    """The hash of what came; no more than one chunk too many is written."""
    digest, seen = hashlib.sha256(), 0
    with target.open("wb") as file:
        for chunk in response.iter_content(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            seen += len(chunk)
            if seen > size:
                break
    return digest.hexdigest() if seen == size else ""
