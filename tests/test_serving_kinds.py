"""Every kind of model with MLflow's newest line: the server answers what MLflow itself predicts, or promoter refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import models
from tests.support.kind_matrix import KINDS, LINES, TORCH_KINDS, Cell, cells, torch_cells

NEWEST = list(LINES)[-1]


@pytest.mark.full
def test_each_kind_answers_as_its_own_predict_does(tmp_path: Path) -> None:
    found = list(cells(NEWEST, tmp_path))
    assert [cell.kind for cell in found] == list(KINDS)
    assert [cell for cell in found if not cell.same] == []


@pytest.mark.full
def test_pytorch_and_transformers_answer_as_their_own_predict_does(tmp_path: Path) -> None:
    found = list(torch_cells(tmp_path))
    assert [cell.kind for cell in found] == list(TORCH_KINDS)
    assert [cell for cell in found if not cell.same] == []


def test_a_line_that_no_server_can_serve_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    [cell] = cells("1.30.1", tmp_path, ["scikit-learn"])
    assert (cell.same, "needs mlflow-skinny==1.30.1, and the inference server MLflow 2.0 or newer" in cell.why) == (False, True)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_answers_otherwise_is_seen() -> None:
    lines = {"2.0.1": [Cell("scikit-learn", "2.0.1", True), Cell("ONNX", "2.0.1", False, "it broke")], "1.30.1": []}
    assert models.table(lines, ["scikit-learn", "ONNX", "ChatModel", "PyTorch"]).splitlines()[2:] == [
        "| scikit-learn | same | – |",
        "| ONNX | differs | – |",
        "| ChatModel | – | – |",
        "| PyTorch | not tried | not tried |",
    ]


@pytest.mark.parametrize("kind", [*KINDS, *TORCH_KINDS])
def test_the_page_has_the_table(kind: str) -> None:
    text = models.PAGE.read_text()
    shown = text[text.index(models.BEGIN) : text.index(models.END)]
    assert f"| {kind} | " in shown
    assert " | ".join(LINES) in shown
