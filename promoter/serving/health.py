"""`python -m promoter.serving.health`: check repeatedly that a server is healthy and serves the expected model.

The health analysis runs it alongside the canary, from the canary's image. Each attempt is a GET over a new connection, so
that every pod behind a Service gets its turn. An attempt is healthy if the answer is 200 with JSON whose status is ok and
whose version and digest equal MODEL_VERSION and MODEL_DIGEST; the first that is not ends the check with exit code 1. Every
attempt is a line of JSON on stdout; the last is also the container's termination message, which Kubernetes shows with the pod.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any

from promoter.serving.termination import leave_message


def attempt(url: str, timeout: float, expected: Mapping[str, str]) -> dict[str, Any]:
    """One GET: the status, the seconds it took, and in `problem` the reason if it was not healthy."""
    started = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - the URL is the manifest's own
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except (OSError, HTTPException) as error:
        return {"problem": f"no answer: {error}", "seconds": round(time.monotonic() - started, 3)}
    seconds = round(time.monotonic() - started, 3)
    problem = _problem(status, body, expected)
    return {"status": status, "seconds": seconds, **({"problem": problem} if problem else {})}


def _problem(status: int, body: bytes, expected: Mapping[str, str]) -> str:
    if status != 200:
        return f"status {status}, not 200"
    try:
        health = json.loads(body)
    except ValueError:
        return "the answer is not JSON"
    if not isinstance(health, dict) or health.get("status") != "ok":
        return "the answer's status is not ok"
    wrong = {key: health.get(key) for key, value in expected.items() if health.get(key) != value}
    return "".join(f"{key} is {found!r}, not {expected[key]!r}; " for key, found in wrong.items()).rstrip("; ")


def check(url: str, *, attempts: int, interval: float, timeout: float, expected: Mapping[str, str]) -> bool:
    """Whether every attempt was healthy; stops at the first that is not. `interval` and `timeout` are in seconds."""
    for number in range(1, attempts + 1):
        made = attempt(url, timeout, expected)
        healthy = "problem" not in made
        report = {"attempt": number, "of": attempts, "healthy": healthy, **made}
        print(json.dumps(report), flush=True)
        if not healthy or number == attempts:
            leave_message(json.dumps({"url": url, **report}))
            return healthy
        time.sleep(interval)
    return False


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """The exit code: 0 healthy throughout, 1 not."""
    parser = argparse.ArgumentParser(prog="python -m promoter.serving.health", description=__doc__)
    parser.add_argument("--url", required=True, help="of GET /health")
    parser.add_argument("--attempts", type=int, default=30)
    parser.add_argument("--interval", type=float, default=3.0, help="seconds between two attempts")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for one answer")
    given = parser.parse_args(arguments)
    named = {key: environ.get(key.upper()) for key in ("model_version", "model_digest")}
    expected = {key: value for key, value in named.items() if value}
    healthy = check(given.url, attempts=given.attempts, interval=given.interval, timeout=given.timeout, expected=expected)
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
