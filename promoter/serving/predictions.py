"""`python -m promoter.serving.predictions --url URL`: check that the release at URL predicts what its model was logged with.

An analysis runs it in a Job of the release's own image. It posts the model's logged example several times, each over a new
connection, and compares the answers with serving_output_example.json, logged with it. It posts the golden examples and
counts the right answers, and asks the stable release the same. It prints one line of JSON, which is also the pod's termination
message, and exits with 0 (passed, or nothing to check) or 1 (failed).
"""

from __future__ import annotations

import argparse
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

from promoter.serving.client import Failure, Release, ask, check_health, predicted, predictions_of, unwrapped
from promoter.serving.compare import difference, oddity
from promoter.serving.download import model_folder, prepare
from promoter.serving.errors import SettingsError, StartError
from promoter.serving.examples import ANSWER, REQUEST, logged_request
from promoter.serving.golden import GOLDEN, Golden, GoldenError, logged_golden, share_apart
from promoter.serving.settings import Settings
from promoter.serving.termination import leave_message


@dataclass(frozen=True)
class Checks:
    """What is checked, and how: `times` requests, answers within `tolerance`, each within `timeout` seconds.

    `example`, `golden`: a model that was logged without it fails. `stable`: the address of the stable release, "" if it is not
    compared; `most_different`: the share of its answers that may be others.
    """

    times: int = 1
    tolerance: float = 1e-4
    timeout: float = 30.0
    example: bool = False
    golden: bool = False
    stable: str = ""
    most_different: float = 1.0


def check(url: str, folder: Path, release: Release, checks: Checks) -> dict[str, Any]:
    """The evidence of checks that passed, or were skipped because the model has nothing to check it with and none is required.

    Raises:
        Failure: the pod is another release's, does not answer 200, or predicts something else; or what is required is missing.
    """
    check_health(ask(url, "GET", "/health", checks.timeout), release)
    evidence: dict[str, Any] = {"model_version": release.version, "model_digest": release.digest}
    example, golden = logged_request(folder), _golden(folder)
    missing = [name for name, there in ((REQUEST, example), (GOLDEN, golden)) if there is None]
    if required := [name for name in missing if (checks.example if name == REQUEST else checks.golden)]:
        raise Failure(f"NOTHING WAS CHECKED but the pod's version: the model has no {' and no '.join(required)}")
    if example is None and golden is None:
        message = f"NOTHING WAS CHECKED but the pod's version: the model has no {REQUEST}; log it with input_example="
        return {"outcome": "skipped", "message": message, **evidence}
    body, answers, found = b"", None, dict[str, Any]()
    if example is not None:
        body = example.read_bytes()
        answers, found = _as_logged(url, folder, release, body, checks)
    sentences = [found["message"]] if found else []
    if golden is not None:
        body, (answers, sentence) = golden.request, _as_true(url, release, golden, checks)
        sentences.append(sentence)
    else:
        sentences.append(f"nothing judges the model itself: it has no {GOLDEN}")
    if checks.stable:
        sentences.append(_as_stable(body, answers, checks))
    return {"outcome": "passed", **found, "golden": golden is not None, "message": "; ".join(sentences), **evidence}


def _as_logged(url: str, folder: Path, release: Release, body: bytes, checks: Checks) -> tuple[Any, dict[str, Any]]:
    """The answers to the logged example, and how they were compared: is it served as it was logged?"""
    expected, outputs = _read(folder / ANSWER), _outputs(folder)
    times, tolerance, predictions = checks.times, checks.tolerance, None
    largest, seconds = 0.0, []
    for number in range(1, times + 1):
        started = time.monotonic()
        predictions = predictions_of(ask(url, "POST", "/predict", checks.timeout, body), release, number)
        seconds.append(round(time.monotonic() - started, 3))
        problem, apart = oddity(predictions, outputs), 0.0
        if expected is not None:
            problem, apart = difference(predictions, expected, tolerance, "predictions")
        if problem:
            raise Failure(f"prediction {number} of {times}: {problem}")
        largest = max(largest, apart)
    return predictions, {**_how(expected, times, tolerance, largest), "seconds": seconds}


def _golden(folder: Path) -> Golden | None:
    try:
        return logged_golden(folder)
    except GoldenError as error:
        raise Failure(f"golden examples: {error}") from None


def _as_true(url: str, release: Release, golden: Golden, checks: Checks) -> tuple[Any, str]:
    """The answers to the golden examples, and how many are right: is it a good model?"""
    answers = predictions_of(ask(url, "POST", "/predict", checks.timeout, golden.request), release, "the golden examples")
    try:
        return answers, golden.judge(answers)
    except GoldenError as error:
        raise Failure(f"golden examples: {error}") from None


def _as_stable(body: bytes, answers: Any, checks: Checks) -> str:
    """How many answers differ from those of the stable release to the same request."""
    limited = checks.most_different < 1
    try:
        stable = predicted(checks.stable, body, checks.timeout)
    except Failure as failure:
        if limited:
            raise Failure(f"the stable release can't be compared with: {failure}") from None
        return f"the stable release does not answer the same request: {failure}"
    apart, total = share_apart(answers, stable, checks.tolerance)
    sentence = f"{apart} of {total} answers differ from those of the stable release"
    if apart > checks.most_different * total:
        raise Failure(f"{sentence}, and at most {checks.most_different:.4g} of them may")
    return sentence


def _how(expected: Any, times: int, tolerance: float, largest: float) -> dict[str, Any]:
    if expected is None:
        message = f"{times} predictions are finite and match the signature; the model has no {ANSWER} to compare them with"
        return {"message": message, "compared": False}
    message = f"{times} predictions equal {ANSWER} within {tolerance:g}"
    return {"message": message, "compared": True, "largest_difference": largest}


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
    environ = os.environ
    parser.add_argument(
        "--without-golden",
        choices=("pass", "fail"),
        default=environ.get("WITHOUT_GOLDEN") or "pass",
        help="of a model without golden examples (WITHOUT_GOLDEN, pass)",
    )
    parser.add_argument(
        "--stable",
        default=environ.get("STABLE_SERVICE", ""),
        help="host of the stable release to compare with (STABLE_SERVICE)",
    )
    parser.add_argument(
        "--most-different",
        type=float,
        default=environ.get("MOST_DIFFERENT") or "1",
        help="share of answers that may be others than those of the stable release (MOST_DIFFERENT, 1)",
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
    if not 0 <= asked.most_different <= 1:
        parser.error("--most-different is a share from 0 to 1")
    release = Release(asked.model_version, asked.model_digest)
    try:
        with _model_folder(Path(asked.model_path)) as folder:
            evidence = check(asked.url, folder, release, _checks(asked))
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


def _checks(asked: argparse.Namespace) -> Checks:
    return Checks(
        times=asked.times,
        tolerance=asked.tolerance,
        timeout=asked.timeout,
        example=asked.without_example == "fail",
        golden=asked.without_golden == "fail",
        stable=f"http://{asked.stable}" if asked.stable else "",
        most_different=asked.most_different,
    )


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
