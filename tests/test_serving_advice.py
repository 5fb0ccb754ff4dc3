"""A model that waits more than it computes is seen when it is started, and what to set is in the log."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from promoter.serving.advice import busy_seconds, concurrency_for
from promoter.serving.model import load_pyfunc, warm
from tests.support.serving import pixels_model

pytest.importorskip("mlflow.pyfunc", reason="the full mlflow is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.parametrize(
    ("seconds", "busy", "calls"),
    [
        (0.5, 0.05, 10),
        (0.5, 0.0, 16),
        (0.5, 0.2, None),  # three calls would not keep a processor busy
        (0.5, 0.5, None),
        (0.001, 0.0, None),  # too short to know
        (0.5, math.nan, None),
    ],
)
def test_as_many_calls_as_keep_a_processor_busy(seconds: float, busy: float, calls: int | None) -> None:
    advice = concurrency_for(seconds, busy)
    assert (f"CONCURRENCY={calls}," in advice) if calls else advice == ""


def test_waiting_for_a_processor_counts_as_being_busy(tmp_path: Path) -> None:
    (tmp_path / "schedstat").write_text("5000000 3000000000 7\n")
    assert busy_seconds(tmp_path / "schedstat") > 3
    assert busy_seconds(tmp_path / "gone") == math.inf
    assert concurrency_for(1.0, busy_seconds(tmp_path / "gone") - busy_seconds(tmp_path / "gone")) == ""


def test_a_model_whose_example_waits_is_told_of_and_one_that_computes_is_not(tmp_path: Path) -> None:
    computes = pixels_model(tmp_path / "computes")
    waits = shutil.copytree(computes, tmp_path / "waits")
    (waits / "serving_input_example.json").write_text('{"inputs": [[904.0, 0.0]]}')
    told = {folder.name: warm(load_pyfunc(folder, 10, lambda _: None), folder) for folder in (computes, waits)}
    assert told["computes"] == ""
    assert "answers others meanwhile" in told["waits"]
