"""golden_examples.json: a request whose true answers are known, logged with a model, and how many of them it has to get right.

It judges the model itself. What was logged of the model's own answers shows only that it is served as it was logged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promoter.serving.compare import difference

GOLDEN = "golden_examples.json"
_KEYS = {"request", "answers", "tolerance", "minimum"}
_TOLERANCE = 1e-4


class GoldenError(Exception):
    """The file can't be used, or the model does not pass it; the message is shown to people."""


@dataclass(frozen=True)
class Golden:
    """`request` is the body of POST /predict, `answers` the truth, one for each element of the predictions.

    `tolerance`: how far a number may be from the truth to be right, relative above 1 and absolute below. `minimum`: the share
    of answers that have to be right, above 0 and up to 1.
    """

    request: bytes
    answers: Sequence[Any]
    tolerance: float = _TOLERANCE
    minimum: float = 1.0

    def judge(self, predictions: Any) -> str:
        """How many are right, in a sentence.

        Raises:
            GoldenError: fewer than have to be.
        """
        given, total = elements(predictions), len(self.answers)
        if len(given) != total:
            raise GoldenError(f"{len(given)} answers to {GOLDEN}, which has {total}")
        wrong = [
            problem
            for place, (one, truth) in enumerate(zip(given, self.answers))  # noqa: B905 - of one length
            if (problem := difference(one, truth, self.tolerance, f"predictions[{place}]")[0])
        ]
        right = total - len(wrong)
        if right < self.minimum * total:
            raise GoldenError(
                f"{right} of {total} golden examples are right, and at least {self.minimum:.4g} of them must be: {wrong[0]}"
            )
        return f"{right} of {total} golden examples are right"


def logged_golden(folder: Path) -> Golden | None:
    """What was logged with the model in that folder; None if nothing was.

    Raises:
        GoldenError: it can't be used.
    """
    file = folder / GOLDEN
    if not file.is_file():
        return None
    try:
        known = json.loads(file.read_bytes())
    except ValueError as error:
        raise GoldenError(f"{GOLDEN} is not JSON: {error}") from None
    if not isinstance(known, dict) or not known.keys() <= _KEYS or not isinstance(known.get("request"), dict):
        raise GoldenError(f"{GOLDEN} has the keys request (an object), answers, and if wanted tolerance and minimum")
    answers, tolerance, minimum = known.get("answers"), known.get("tolerance", _TOLERANCE), known.get("minimum", 1.0)
    if not isinstance(answers, list) or not answers:
        raise GoldenError(f"{GOLDEN}: answers is a list with an answer for each row of the request")
    if not _is_number(tolerance) or tolerance < 0 or not _is_number(minimum) or not 0 < minimum <= 1:
        raise GoldenError(f"{GOLDEN}: tolerance is a number from 0 on, minimum a share above 0 and up to 1")
    return Golden(json.dumps(known["request"]).encode(), answers, float(tolerance), float(minimum))


def share_apart(these: Any, those: Any, tolerance: float) -> tuple[int, int]:
    """How many elements of two answers to the same request differ, and of how many."""
    left, right = elements(these), elements(those)
    total = max(len(left), len(right))
    if len(left) != len(right):
        return total, total
    return sum(1 for one, other in zip(left, right) if difference(one, other, tolerance, "")[0]), total  # noqa: B905


def elements(predictions: Any) -> list[Any]:
    """The answers in a body: one for each row, or the only one."""
    return predictions if isinstance(predictions, list) else [predictions]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
