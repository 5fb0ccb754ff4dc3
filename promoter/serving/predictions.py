"""`python -m promoter.serving.predictions --url URL`: check that the release at URL predicts what its model was logged with.

An analysis runs it in a Job of the release's own image. It posts the model's logged example several times, each over a new
connection, and compares the answers with serving_output_example.json, which was logged with it. It prints one line of JSON,
which is also the pod's termination message, and exits with 0 (passed, or nothing to check) or 1 (failed).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from promoter.serving.compare import difference, oddity
from promoter.serving.download import model_folder, prepare
from promoter.serving.errors import SettingsError, StartError
from promoter.serving.examples import ANSWER, REQUEST, logged_request
from promoter.serving.settings import Settings
from promoter.serving.termination import leave_message

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


def check(
    url: str, folder: Path, release: Release, *, times: int, tolerance: float, timeout: float, required: bool
) -> dict[str, Any]:
    """The evidence of a check that passed, or was skipped because the model has no example and none is `required`.

    Raises:
        Failure: the pod is another release's, does not answer 200, or predicts something else; no example, and one is required.
    """
    _check_health(_ask(url, "GET", "/health", timeout), release)
    evidence: dict[str, Any] = {"model_version": release.version, "model_digest": release.digest}
    example = logged_request(folder)
    if example is None:
        message = f"NOTHING WAS CHECKED but the pod's version: the model has no {REQUEST}; log it with input_example="
        if required:
            raise Failure(message)
        return {"outcome": "skipped", "message": message, **evidence}
    body = example.read_bytes()
    expected = _read(folder / ANSWER)
    outputs = _outputs(folder)
    largest, seconds = 0.0, []
    for number in range(1, times + 1):
        started = time.monotonic()
        predictions = _predictions(_ask(url, "POST", "/predict", timeout, body), release, number)
        seconds.append(round(time.monotonic() - started, 3))
        problem, apart = oddity(predictions, outputs), 0.0
        if expected is not None:
            problem, apart = difference(predictions, expected, tolerance, "predictions")
        if problem:
            raise Failure(f"prediction {number} of {times}: {problem}")
        largest = max(largest, apart)
    return {"outcome": "passed", **_how(expected, times, tolerance, largest), "seconds": seconds, **evidence}


def _how(expected: Any, times: int, tolerance: float, largest: float) -> dict[str, Any]:
    if expected is None:
        message = f"{times} predictions are finite and match the signature; the model has no {ANSWER} to compare them with"
        return {"message": message, "compared": False}
    message = f"{times} predictions equal {ANSWER} within {tolerance:g}"
    return {"message": message, "compared": True, "largest_difference": largest}


def _check_health(answer: Reply, release: Release) -> None:
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


def _predictions(answer: Reply, release: Release, number: int) -> Any:
    if answer.status != 200:
        raise Failure(f"prediction {number}: /predict answers {answer.status}: {answer.body[:300].decode(errors='replace')}")
    _check_release(Release(answer.headers["x-model-version"], answer.headers["x-model-digest"]), release, "/predict")
    return _parsed(answer, f"prediction {number}: ")


def predicted(url: str, body: bytes, timeout: float) -> Any:
    """What the server answers to this request.

    Raises:
        Failure: anything but a prediction.
    """
    answer = _ask(url, "POST", "/predict", timeout, body)
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


def _read(path: Path) -> Any:
    """The expected predictions; None when nothing was logged."""
    if not path.is_file():
        return None
    try:
        return unwrapped(json.loads(path.read_bytes()))
    except ValueError as error:
        raise Failure(f"the model's {path.name} is not JSON: {error}") from None


def _outputs(folder: Path) -> Sequence[Mapping[str, Any]]:
    """The signature's outputs, which MLmodel contains as JSON in YAML."""
    import yaml

    if not (folder / "MLmodel").is_file():
        raise Failure(f"no model at {folder}: MLmodel is missing")
    signature = yaml.safe_load((folder / "MLmodel").read_bytes()).get("signature") or {}
    outputs: list[Mapping[str, Any]] = json.loads(signature.get("outputs") or "[]") or []
    return outputs


def _ask(url: str, method: str, path: str, timeout: float, body: bytes | None = None) -> Reply:
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m promoter.serving.predictions", description=__doc__.split("\n")[0])
    parser.add_argument("--url", required=True, help="the release's address, such as http://inference-service-canary")
    parser.add_argument("--times", type=int, default=5, help="predictions to ask for (5)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, help="of a number, relative above 1 and absolute below (0.0001)"
    )
    parser.add_argument(
        "--without-example", choices=("pass", "fail"), default="pass", help="of a model that was logged without one (pass)"
    )
    parser.add_argument("--timeout", type=float, default=30, help="seconds for one answer (30)")
    parser.add_argument("--model-path", default=os.environ.get("MODEL_PATH") or "/opt/model", help="the model's folder")
    parser.add_argument(
        "--model-version", default=os.environ.get("MODEL_VERSION", ""), help="expected of the pod (MODEL_VERSION)"
    )
    parser.add_argument("--model-digest", default=os.environ.get("MODEL_DIGEST", ""), help="expected of the pod (MODEL_DIGEST)")
    asked = parser.parse_args(arguments)
    if urlsplit(asked.url).scheme not in ("http", "https") or asked.times < 1 or not asked.tolerance >= 0:
        parser.error("--url is http:// or https://, --times at least 1, --tolerance at least 0")
    release = Release(asked.model_version, asked.model_digest)
    try:
        with _model_folder(Path(asked.model_path)) as folder:
            evidence = check(
                asked.url,
                folder,
                release,
                times=asked.times,
                tolerance=asked.tolerance,
                timeout=asked.timeout,
                required=asked.without_example == "fail",
            )
    except Failure as failure:
        evidence = {
            "outcome": "failed",
            "message": str(failure),
            "model_version": release.version,
            "model_digest": release.digest,
        }
    print(line := json.dumps(evidence))
    leave_message(line)
    return int(evidence["outcome"] == "failed")


@contextmanager
def _model_folder(embedded: Path) -> Iterator[Path]:
    """The folder of the server's model; the model that MODEL_URI names is downloaded and checked against MODEL_DIGEST."""
    if not os.environ.get("MODEL_URI"):
        yield embedded
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            settings = Settings.from_environment(os.environ)
            prepare(settings, Path(scratch))
        except (SettingsError, StartError) as error:
            raise Failure(str(error)) from None
        yield model_folder(settings, Path(scratch))


if __name__ == "__main__":
    sys.exit(main())
