"""Compares an answer with the expected one; without one, checks that it has the signature's form and is finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


def difference(given: Any, expected: Any, tolerance: float, place: str) -> tuple[str, float]:
    """The first difference with its place ("" if there are none), and the largest difference between two numbers.

    Numbers may differ by `tolerance` × max(1, |expected|). NaN and null are the same: JSON has no NaN.
    """
    if _is_number(given) and _is_number(expected):
        return _numbers(float(given), float(expected), tolerance, place)
    if _is_missing(given) and _is_missing(expected):
        return "", 0.0
    if isinstance(given, Mapping) and isinstance(expected, Mapping):
        if given.keys() != expected.keys():
            return f"{place} has the keys {sorted(given)}, expected {sorted(expected)}", 0.0
        return _worst(difference(given[key], expected[key], tolerance, f"{place}.{key}") for key in expected)
    if isinstance(given, list) and isinstance(expected, list):
        if len(given) != len(expected):
            return f"{place} has {len(given)} elements, expected {len(expected)}", 0.0
        pairs = enumerate(zip(given, expected, strict=True))
        return _worst(difference(one, other, tolerance, f"{place}[{number}]") for number, (one, other) in pairs)
    if type(given) is not type(expected) or given != expected:
        return f"{place} is {_short(given)}, expected {_short(expected)}", 0.0
    return "", 0.0


def oddity(predictions: Any, outputs: Sequence[Mapping[str, Any]]) -> str:
    """The first fault that no model's prediction may have; `outputs` is the signature's list, empty without a signature."""
    for place, value in _leaves(predictions, "predictions"):
        if _is_missing(value) or (_is_number(value) and not math.isfinite(value)):
            return f"{place} is {_short(value)}, expected a finite value"
    if not isinstance(predictions, (list, Mapping)) or not predictions:
        return f"predictions is {_short(predictions)}, expected at least one"
    names = [str(output["name"]) for output in outputs if output.get("name")]
    for number, record in enumerate(predictions if isinstance(predictions, list) else [predictions]):
        if names and isinstance(record, Mapping) and not record.keys() >= set(names):
            return f"predictions[{number}] has the keys {sorted(record)}, the signature's outputs are {names}"
    if len(outputs) == 1 and outputs[0].get("type") in _JSON_TYPES and not names:
        return _wrong_type(predictions, str(outputs[0]["type"]))
    return ""


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "long": (int,),
    "integer": (int,),
    "double": (int, float),
    "float": (int, float),
    "boolean": (bool,),
    "string": (str,),
}


def _wrong_type(predictions: Any, kind: str) -> str:
    for place, value in _leaves(predictions, "predictions"):
        if not isinstance(value, _JSON_TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            return f"{place} is {_short(value)}, the signature's output is {kind}"
    return ""


def _numbers(given: float, expected: float, tolerance: float, place: str) -> tuple[str, float]:
    if given == expected or (math.isnan(given) and math.isnan(expected)):
        return "", 0.0
    apart = abs(given - expected)
    if not apart <= tolerance * max(1.0, abs(expected)):  # NaN is never within it
        return f"{place} is {given!r}, expected {expected!r} within {tolerance:g}", apart
    return "", apart


def _worst(found: Iterable[tuple[str, float]]) -> tuple[str, float]:
    first, largest = "", 0.0
    for problem, apart in found:
        first = first or problem
        largest = max(largest, apart)
    return first, largest


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{number}]")
    else:
        yield place, value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
