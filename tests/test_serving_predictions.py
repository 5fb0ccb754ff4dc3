"""Comparing predictions, and how a model comes to have some to compare with."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from promoter.serving.compare import difference, oddity
from tests.support.mlflow_server import MlflowServer

PAGE = Path(__file__).parent.parent / "docs" / "serving.md"


@pytest.mark.parametrize(
    ("given", "expected", "told"),
    [
        ([1, 2.0], [1.0, 2], ""),
        ([1000.05], [1000.0], ""),
        ([0.00005], [0.0], ""),
        ([0.2], [0.0], "predictions[0] is 0.2, expected 0.0 within 0.0001"),
        ([1, [2, 4]], [1, [2, 3]], "predictions[1][1] is 4.0, expected 3.0 within 0.0001"),
        ([math.nan], [None], ""),
        ([math.nan], [1.0], "predictions[0] is nan, expected 1.0 within 0.0001"),
        ([math.inf], [math.inf], ""),
        ([1], [1, 1], "predictions has 1 elements, expected 2"),
        ([{"a": 1}], [{"a": 1}], ""),
        ([{"a": 1}], [{"b": 1}], "predictions[0] has the keys ['a'], expected ['b']"),
        ([{"a": "x"}], [{"a": "y"}], "predictions[0].a is 'x', expected 'y'"),
        ([True], [1], "predictions[0] is True, expected 1"),
        (["1"], [1], "predictions[0] is '1', expected 1"),
    ],
)
def test_difference(given: Any, expected: Any, told: str) -> None:
    assert difference(given, expected, 1e-4, "predictions")[0] == told


def test_the_largest_difference_is_reported() -> None:
    assert difference([1.0, 2.25, 3.0], [1.0, 2.0, 3.125], 1.0, "predictions") == ("", 0.25)


LONG, SCORE = [{"type": "long", "required": True}], [{"type": "double", "name": "score"}]


@pytest.mark.parametrize(
    ("predictions", "outputs", "told"),
    [
        ([1, 2], LONG, ""),
        ([1.5], LONG, "predictions[0] is 1.5, the signature's output is long"),
        ([True], LONG, "predictions[0] is True, the signature's output is long"),
        ([[0.1, 0.9]], [], ""),
        ([math.inf], [], "predictions[0] is inf, expected a finite value"),
        ([None], [], "predictions[0] is None, expected a finite value"),
        ([], [], "predictions is [], expected at least one"),
        ([{"score": 1.0}], SCORE, ""),
        ([{"other": 1.0}], SCORE, "predictions[0] has the keys ['other'], the signature's outputs are ['score']"),
    ],
)
def test_oddity(predictions: Any, outputs: Any, told: str) -> None:
    assert oddity(predictions, outputs) == told


@pytest.mark.filterwarnings("ignore")
def test_the_documented_lines_put_the_expected_output_next_to_the_model(
    mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"amount": [1.0, 2.0, 4.0]})
    names: dict[str, Any] = {"example": frame, "model": LinearRegression().fit(frame, [2.0, 4.0, 8.0]), "mlflow": mlflow}
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(mlflow_server.url)
    [snippet] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(snippet, names)
    folder = Path(mlflow.artifacts.download_artifacts(names["logged"].model_uri, dst_path=str(tmp_path / "model")))
    assert (folder / "MLmodel").is_file()
    told = json.loads((folder / "serving_output_example.json").read_text())
    assert told["predictions"] == pytest.approx([2.0, 4.0, 8.0])
