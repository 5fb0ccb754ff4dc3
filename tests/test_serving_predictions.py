"""Comparing predictions, and how a model comes to have some to compare with."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter.serving.compare import difference, oddity
from promoter.serving.golden import GOLDEN, Golden, GoldenError, logged_golden, share_apart
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


GOLD = {"request": {"inputs": [[1.0], [2.0], [3.0], [4.0]]}, "answers": [0, 1, 1, 0]}


@pytest.mark.parametrize(
    ("more", "predictions", "told"),
    [
        ({}, [0, 1, 1, 0], "4 of 4 golden examples are right"),
        ({"minimum": 0.75}, [0, 1, 1, 1], "3 of 4 golden examples are right"),
        ({"tolerance": 0.5}, [0.4, 0.6, 1.5, 0.0], "4 of 4 golden examples are right"),
        (
            {},
            [0, 1, 1, 1],
            "refused: 3 of 4 golden examples are right, and at least 1 of them must be: predictions[3] is 1.0, expected 0.0",
        ),
        (
            {"minimum": 0.8},
            [1, 1, 1, 1],
            "refused: 2 of 4 golden examples are right, and at least 0.8 of them must be: predictions[0] is",
        ),
        ({}, [0, 1], "refused: 2 answers to golden_examples.json, which has 4"),
    ],
)
def test_golden_examples(tmp_path: Path, more: dict[str, Any], predictions: Any, told: str) -> None:
    (tmp_path / GOLDEN).write_text(json.dumps({**GOLD, **more}))
    known = logged_golden(tmp_path)
    assert known is not None
    assert json.loads(known.request) == GOLD["request"]
    try:
        found = known.judge(predictions)
    except GoldenError as error:
        found = f"refused: {error}"
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "golden_examples.json is not JSON: "),
        ("[]", "golden_examples.json has the keys request (an object), answers, and if wanted tolerance and minimum"),
        (json.dumps({**GOLD, "minimun": 1}), "golden_examples.json has the keys"),
        (json.dumps({**GOLD, "answers": []}), "golden_examples.json: answers is a list with an answer for each row"),
        (json.dumps({**GOLD, "minimum": 0}), "golden_examples.json: tolerance is a number from 0 on, minimum a share"),
        (json.dumps({**GOLD, "tolerance": "1"}), "golden_examples.json: tolerance is a number from 0 on, minimum a share"),
    ],
)
def test_golden_examples_that_can_not_be_used_are_no_reason_to_pass(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / GOLDEN).write_text(text)
    with pytest.raises(GoldenError) as caught:
        logged_golden(tmp_path)
    assert str(caught.value).startswith(told)


def test_without_golden_examples_there_is_nothing_to_judge_by(tmp_path: Path) -> None:
    assert logged_golden(tmp_path) is None


@pytest.mark.parametrize(
    ("these", "those", "found"),
    [([1, 2, 3], [1, 2, 4], (1, 3)), ([1.0], [1.00001], (0, 1)), ([1, 2], [1], (2, 2)), ({"a": 1}, {"a": 2}, (1, 1))],
)
def test_how_many_answers_are_others(these: Any, those: Any, found: tuple[int, int]) -> None:
    assert share_apart(these, those, 1e-4) == found


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.data(), st.floats(0.01, 1))
def test_one_more_right_answer_never_fails_where_fewer_pass(truth: list[int], data: st.DataObject, minimum: float) -> None:
    given_answers = data.draw(st.lists(st.integers(0, 2), min_size=len(truth), max_size=len(truth)))
    better = data.draw(st.sampled_from(range(len(truth))))
    known = Golden(b"{}", truth, minimum=minimum)
    with suppress(GoldenError):
        known.judge(given_answers)
        known.judge([*given_answers[:better], truth[better], *given_answers[better + 1 :]])
        return
    with pytest.raises(GoldenError):
        known.judge(given_answers)


@pytest.mark.filterwarnings("ignore")
def test_the_documented_lines_put_the_expected_output_next_to_the_model(
    mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"amount": [1.0, 2.0, 4.0]})
    truth = pd.Series([2.0, 4.0, 8.0])
    names: dict[str, Any] = {"example": frame, "model": LinearRegression().fit(frame, truth), "mlflow": mlflow}
    names |= {"golden": frame, "labels": truth}
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(mlflow_server.url)
    [snippet] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(snippet, names)
    folder = Path(mlflow.artifacts.download_artifacts(names["logged"].model_uri, dst_path=str(tmp_path / "model")))
    assert (folder / "MLmodel").is_file()
    told = json.loads((folder / "serving_output_example.json").read_text())
    assert told["predictions"] == pytest.approx([2.0, 4.0, 8.0])
    golden = logged_golden(folder)
    assert golden is not None
    assert (golden.answers, golden.minimum) == ([2.0, 4.0, 8.0], 0.9)
    assert json.loads(golden.request)["dataframe_split"]["data"] == [[1.0], [2.0], [4.0]]
