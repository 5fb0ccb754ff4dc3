"""Asks an inference server as its clients do, each time over a new connection: every answer may come from another pod."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_CONNECT_ATTEMPTS, _SECONDS_BETWEEN = 10, 1.0  # nodes get a Service's new endpoints a moment after the controller


class Failure(Exception):
    """The message is shown to people in the dashboard."""


@dataclass(frozen=True)
class Release:
    """The release that the answering pod must report; "" for a value that is unknown."""

    version: str
    digest: str


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


def check_health(answer: Reply, release: Release) -> None:
    try:
        health = json.loads(answer.body)
        found = Release(str(health["model_version"]), str(health["model_digest"]))
    except (ValueError, KeyError, TypeError):
        raise Failure(f"/health answers {answer.status} and does not name its model") from None
    if answer.status != 200 or health.get("status") != "ok":
        raise Failure(f"/health answers {answer.status} with status {health.get('status')!r}, expected 'ok'")
    _check_release(found, release, "/health")


def _check_release(found: Release, release: Release, where: str) -> None:
    for what, given, wanted in (("version", found.version, release.version), ("digest", found.digest, release.digest)):
        if wanted and given != wanted:
            raise Failure(f"{where} is answered by a pod with model {what} {given!r}, expected {wanted!r}")


def predictions_of(answer: Reply, release: Release, of: int | str) -> Any:
    place = f"prediction {of}" if isinstance(of, int) else of
    if answer.status != 200:
        raise Failure(f"{place}: /predict answers {answer.status}: {answer.body[:300].decode(errors='replace')}")
    _check_release(Release(answer.headers["x-model-version"], answer.headers["x-model-digest"]), release, "/predict")
    return _parsed(answer, f"{place}: ")


def predicted(url: str, body: bytes, timeout: float) -> Any:
    """What the server answers to this request.

    Raises:
        Failure: anything but a prediction.
    """
    answer = ask(url, "POST", "/predict", timeout, body)
    if answer.status != 200:
        raise Failure(f"/predict answers {answer.status}: {answer.body[:300].decode(errors='replace')}")
    return _parsed(answer)


def _parsed(answer: Reply, place: str = "") -> Any:
    try:
        return unwrapped(json.loads(answer.body))
    except ValueError:
        raise Failure(f"{place}/predict does not answer JSON") from None


def unwrapped(value: Any) -> Any:
    """Predictions, with or without "predictions" around them."""
    return value["predictions"] if isinstance(value, dict) and "predictions" in value else value


def is_ready(url: str) -> bool:
    """Whether /ready answers 200 now."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def ask(url: str, method: str, path: str, timeout: float, body: bytes | None = None) -> Reply:
    """One request over a new connection, so that every answer may come from another pod."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    for attempt in range(1, _CONNECT_ATTEMPTS + 1):
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        try:
            connection.connect()
            break
        except OSError as error:
            if attempt == _CONNECT_ATTEMPTS:
                raise Failure(f"{url} can't be reached: {error}") from None
            time.sleep(_SECONDS_BETWEEN)
    try:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        connection.request(method, parts.path.rstrip("/") + path, body, headers)
        response = connection.getresponse()
        reported = {name: response.headers.get(name, "") for name in ("x-model-version", "x-model-digest")}
        return Reply(response.status, reported, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"{method} {path} is not answered within {timeout:g} s: {type(error).__name__}: {error}") from None
    finally:
        connection.close()
