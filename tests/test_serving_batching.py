"""Requests answered together are answered as each would be alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promoter.serving.batching import answer_alone, answer_together
from promoter.serving.decode import Decoded
from promoter.serving.errors import RequestError
from promoter.serving.model import Request

pd = pytest.importorskip("pandas", reason="pandas is not installed")
np = pytest.importorskip("numpy", reason="numpy is not installed")

KINDS = ("frame", "mixed", "array", "arrays", "list", "series", "table", "alone", "number")


class Doubling:
    """A model whose rows do not know of each other; negative numbers are refused. The Content-Type names the data's form."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def decode(self, request: Request) -> Decoded:
        numbers, params = json.loads(request.body)
        if not numbers:
            raise RequestError(400, "nothing")
        column = np.array(numbers, dtype=float)
        forms: dict[str, Any] = {
            "frame": pd.DataFrame({"n": column, "m": column}),
            "mixed": pd.DataFrame({"n": column, "kind": "mixed"}),
            "array": column,
            "arrays": {"n": column, "m": column},
            "alone": pd.DataFrame({"n": column}, index=[f"row {n}" for n in range(len(column))]),
            "number": 7.0,
        }
        return Decoded(forms.get(request.content_type, pd.DataFrame({request.content_type: column})), params)

    def stream(self, decoded: Decoded) -> None:
        return None

    def predict(self, decoded: Decoded) -> Any:
        data, params = decoded.data, decoded.params
        self.calls.append(decoded.rows)
        if isinstance(data, float):
            return data
        if isinstance(data, dict):
            return {"doubled": data["n"] * 2, "sum": data["n"] + data["m"]}
        numbers = data if isinstance(data, np.ndarray) else data.iloc[:, 0].to_numpy()
        if (numbers < 0).any():
            raise RequestError(422, f"negative: {numbers.min()}")
        doubled = numbers * (params or 2)
        if isinstance(data, np.ndarray):
            return doubled
        return {"list": list(doubled), "series": pd.Series(doubled), "table": pd.DataFrame({"d": doubled})}.get(
            data.columns[0], doubled
        )

    def encode(self, prediction: Any, decoded: Decoded) -> bytes:
        plain = prediction.to_dict("records") if isinstance(prediction, pd.DataFrame) else prediction
        return json.dumps(plain, default=lambda value: value.tolist()).encode()


NUMBERS = st.lists(st.integers(-2, 20), max_size=5)
REQUESTS = st.tuples(NUMBERS, st.sampled_from([None, 3]), st.sampled_from(KINDS)).map(
    lambda told: Request(json.dumps(told[:2]).encode(), told[2])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUESTS, max_size=12), st.integers(5, 12))
def test_together_is_as_alone(requests: list[Request], most_rows: int) -> None:
    def shown(answer: Any) -> Any:
        return (answer.status, answer.message) if isinstance(answer, RequestError) else answer

    together = Doubling()
    answers = answer_together(together, requests, most_rows)
    assert list(map(shown, answers)) == [shown(answer_alone(Doubling(), request, print)) for request in requests]
    assert max(together.calls, default=0) <= most_rows


@pytest.mark.parametrize(
    ("kind", "calls"),
    [(kind, [3, 3]) for kind in KINDS[:7]] + [("alone", [1] * 6), ("number", [1] * 6)],
)
def test_what_is_alike_is_one_call_of_so_many_rows_at_most(kind: str, calls: list[int]) -> None:
    model = Doubling()
    answer_together(model, [Request(b"[[1], null]", kind)] * 6, 3)
    assert model.calls == calls


def test_a_prediction_that_has_not_one_element_a_row_is_asked_for_one_by_one() -> None:
    class Total(Doubling):
        def predict(self, decoded: Decoded) -> Any:
            return [float(decoded.data.to_numpy().sum())]

    assert answer_together(Total(), [Request(b"[[1, 2], null]", "x"), Request(b"[[3, 4], null]", "x")], 8) == [
        b"[3.0]",
        b"[7.0]",
    ]
