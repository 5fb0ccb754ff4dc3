"""Which lines of a pod's log are shown when its release failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter.argocd.state import PodState
from promoter.errors import AuthError
from promoter.models import Application
from promoter.promotion.pod_logs import explains, last_words

APPLICATION = Application("fraud-staging", "default", "argocd", "https://example.com/x.git", "overlays/staging", "main")
# As promoter's server, uvicorn, nginx and Go servers write them.
WENT_WELL = [
    '{"level": "INFO", "logger": "promoter.serving.access", "message": "POST /predict", "status": 200, "seconds": 0.003}',
    'INFO:     10.0.0.1:51234 - "POST /invocations HTTP/1.1" 200 OK',
    '10.0.0.1 - - [28/Nov/2026:19:21:51 +0000] "GET /health HTTP/1.1" 304 0 "-" "error-checker/1.0"',
    "GET /ready -> 200",
]
TROUBLE = [
    '{"level": "ERROR", "logger": "promoter.serving.app", "message": "KeyError in predict"}',
    '{"level": "INFO", "logger": "promoter.serving.access", "message": "POST /predict", "status": 500, "seconds": 0.003}',
    '{"severity": "WARNING", "message": "a value is missing"}',
    'ERROR:    10.0.0.1:51234 - "POST /invocations HTTP/1.1" 500 Internal Server Error',
    "ValueError: the weights can't be read",
    "panic: runtime error: index out of range",
]
OTHERWISE = ['{"level": "INFO", "message": "the model is loaded"}', "Application startup complete.", '["a list"]']


@pytest.mark.parametrize("line", WENT_WELL)
def test_requests_that_went_well_are_never_shown(line: str) -> None:
    assert not explains(line, failed=True)
    assert not explains(line, failed=False)


@pytest.mark.parametrize("line", TROUBLE)
def test_trouble_is_shown_of_every_pod(line: str) -> None:
    if '"INFO"' not in line:  # an answer of 500 has the error next to it, at its own level
        assert explains(line, failed=False)
    assert explains(line, failed=True)


@pytest.mark.parametrize("line", OTHERWISE)
def test_the_rest_is_shown_of_pods_that_failed(line: str) -> None:
    assert explains(line, failed=True)
    assert not explains(line, failed=False)


@given(st.text(), st.booleans())
def test_any_line_is_decided(line: str, failed: bool) -> None:
    assert explains(line, failed=failed) in (True, False)


def read(pods: Sequence[PodState], logs: dict[str, list[str]]) -> tuple[str, ...]:
    def of(_: Application, pod: str, **__: Any) -> tuple[str, ...]:
        if pod not in logs:
            raise AuthError("no", hint="no")
        return tuple(logs[pod])

    argocd: Any = SimpleNamespace(logs=of)
    return last_words(argocd, APPLICATION, pods)


def test_ten_lines_are_the_most_and_those_of_pods_that_failed_come_first() -> None:
    pods = [PodState("a"), PodState("b", health="Degraded"), PodState("c", restarts=2), PodState("d", restarts=1)]
    many = [*WENT_WELL, *(f"line {number}" for number in range(30)), *TROUBLE, *WENT_WELL]
    shown = read(pods, dict.fromkeys("abcd", many))
    assert len(shown) == 10
    assert shown == tuple(f"log of b: {line}" for line in many if line not in WENT_WELL)[-10:]
    assert read(pods, {"c": ["one", json.dumps({"status": 200})]}) == ("log of c: one",)
    assert read([PodState("a")], {"a": [*WENT_WELL, *OTHERWISE]}) == ()
    assert read([PodState("a")], {"a": [*OTHERWISE, TROUBLE[0]]}) == (f"log of a: {TROUBLE[0]}",)
