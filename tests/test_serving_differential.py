"""The same requests to MLflow's scoring server and to promoter's, in one process: 10,000 of them, other ones each time."""

from __future__ import annotations

import os
import secrets
from itertools import islice
from pathlib import Path

import pytest

from tests.support import differential
from tests.support.differential import Case, cases, differences, ours

COUNTS = {"table": 1000, "tensor": 4500, "bare": 4500}


@pytest.mark.parametrize("model", COUNTS)
def test_answers_differ_from_mlflow_s_only_where_a_reason_is_given(tmp_path: Path, model: str) -> None:
    """A seed of an earlier run: SEED=... pytest tests/test_serving_differential.py."""
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**9))
    print(f"seed {seed}")
    assert list(islice(differences(model, tmp_path / model, seed, COUNTS[model]), 3)) == []


def test_a_seed_makes_the_same_requests_and_of_every_kind() -> None:
    made = list(cases(1, 2000, "table"))
    assert made == list(cases(1, 2000, "table"))
    assert made != list(cases(2, 2000, "table"))
    assert {one.content_type for one in made} > {"application/json", "text/csv", "text/plain", "APPLICATION/JSON"}
    for form in ("dataframe_split", "dataframe_records", "instances", "inputs", "params"):
        assert sum(f'"{form}"'.encode() in one.body for one in made) > 100


def test_a_server_that_reads_a_request_differently_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that rounds is: the models tell every number that they were given."""
    rounding = lambda model, case: ours(model, Case(case.body.replace(b"1.5", b"2.0"), case.content_type))  # noqa: E731
    monkeypatch.setattr(differential, "ours", rounding)
    assert len(list(differences("tensor", tmp_path / "model", 1, 200))) > 10
