"""signature: which changes of a model's inputs, outputs and params a client of the live version would trip over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promoter.models import Result, Signature
from promoter.promotion.gates.live import Live
from promoter.promotion.gates.signature import incompatible, signature
from tests.support.models import model_version

VERSION = model_version()
BEFORE = replace(model_version(version="6"), created=VERSION.created - timedelta(days=1))
Spec = Mapping[str, Any]


def column(name: str, kind: str = "double", *, required: bool = True) -> Spec:
    return {"type": kind, "name": name, "required": required}


def tensor(name: str | None, dtype: str, *shape: int) -> Spec:
    spec: dict[str, Any] = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}
    return spec if name is None else {**spec, "name": name}


def array(name: str, items: Spec) -> Spec:
    return {"type": "array", "name": name, "items": items, "required": True}


def thing(name: str, **properties: Spec) -> Spec:
    return {"type": "object", "name": name, "properties": properties, "required": True}


def param(name: str, kind: str = "double", default: object = 0.5, shape: object = None) -> Spec:
    return {"type": kind, "name": name, "default": default, "shape": shape}


AMOUNT, COUNTRY, AGE = column("amount"), column("country", "string"), column("age", "long")
INNER = {"type": "double", "required": True}
LOOSE = {"type": "double", "required": False}
TEXT = {"type": "string", "required": True}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ((AMOUNT, COUNTRY), (AMOUNT, COUNTRY), []),
        ((AMOUNT, COUNTRY), (COUNTRY, AMOUNT), []),
        ((AMOUNT,), (AMOUNT, column("note", "string", required=False)), []),
        ((AMOUNT,), (AMOUNT, {"type": "string", "name": "note", "optional": True}), []),
        ((AMOUNT,), (column("amount", required=False),), []),
        ((AMOUNT, COUNTRY), (AMOUNT,), ["input country: is removed"]),
        ((AMOUNT, COUNTRY), (AMOUNT, column("land", "string", required=False)), ["input country: is renamed to 'land'"]),
        (
            (AMOUNT, COUNTRY),
            (AMOUNT, column("land", "string")),
            ["input country: is renamed to 'land'", "input land: is added and required"],
        ),
        ((AMOUNT,), (column("amount", "float"),), ["input amount: is retyped from double to float"]),
        ((AMOUNT,), (AMOUNT, AGE), ["input age: is added and required"]),
        ((column("amount", required=False),), (AMOUNT,), ["input amount: was optional and is required"]),
        ((AMOUNT,), ({"type": "any", "name": "amount"},), []),
        ((tensor(None, "float32", -1, 3, 224, 224),), (tensor(None, "float32", -1, 3, 224, 224),), []),
        (
            (tensor(None, "float32", -1, 3, 224, 200),),
            (tensor(None, "float32", -1, 224, 200, 3),),
            ["input #1: its dimensions are reordered from [-1, 3, 224, 200] to [-1, 224, 200, 3]"],
        ),
        (
            (tensor("image", "float32", -1, 784),),
            (tensor("image", "float64", -1, 785),),
            [
                "input image: is retyped from float32 to float64",
                "input image: its dimensions are changed from [-1, 784] to [-1, 785]",
            ],
        ),
        ((tensor("image", "float32", 1, 784),), (tensor("image", "float32", -1, 784),), []),
        (
            (tensor("image", "float32", -1, 784),),
            (tensor("image", "float32", 1, 784),),
            ["input image: its dimensions are changed from [-1, 784] to [1, 784]"],
        ),
        ((AMOUNT,), (tensor("amount", "float64", -1),), ["input amount: is retyped from double to tensor"]),
        ((array("history", INNER),), (array("history", TEXT),), ["input history items: is retyped from double to string"]),
        (
            (thing("customer", income=INNER, city=TEXT),),
            (thing("customer", income=INNER, score=INNER),),
            ["input customer city: is removed", "input customer score: is added and required"],
        ),
        ((thing("customer", income=INNER),), (thing("customer", income=LOOSE, score=LOOSE),), []),
        (
            (thing("customer", income=LOOSE),),
            (thing("customer", income=INNER),),
            ["input customer income: was optional and is required"],
        ),
        (
            ({"type": "map", "name": "by", "values": INNER},),
            ({"type": "map", "name": "by", "values": TEXT},),
            ["input by values: is retyped from double to string"],
        ),
    ],
)
def test_inputs(old: tuple[Spec, ...], new: tuple[Spec, ...], found: list[str]) -> None:
    assert [": ".join(one) for one in incompatible(Signature(inputs=old), Signature(inputs=new))] == found


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ((AMOUNT,), (AMOUNT,), []),
        ((AMOUNT,), (AMOUNT, COUNTRY), ["output country: is added"]),
        ((AMOUNT, COUNTRY), (AMOUNT,), ["output country: is removed"]),
        ((AMOUNT,), (column("amount", "long"),), ["output amount: is retyped from double to long"]),
        ((AMOUNT, COUNTRY), (COUNTRY, AMOUNT), ["outputs: are reordered from amount, country to country, amount"]),
        (
            (tensor(None, "float32", -1, 10),),
            (tensor(None, "float32", -1, -1),),
            ["output #1: its dimensions are changed from [-1, 10] to [-1, -1]"],
        ),
        ((array("scores", INNER),), (array("scores", TEXT),), ["output scores: has another form"]),
        ((AMOUNT,), (column("amount", required=False),), ["output amount: has another form"]),
    ],
)
def test_outputs(old: tuple[Spec, ...], new: tuple[Spec, ...], found: list[str]) -> None:
    assert [": ".join(one) for one in incompatible(Signature(outputs=old), Signature(outputs=new))] == found


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ((), (param("limit"),), []),
        ((), (param("limit", default=None),), ["param limit: is added without a default"]),
        ((param("limit"),), (), ["param limit: is removed"]),
        ((param("limit"),), (param("limit", default=0.7),), []),
        ((param("limit"),), (param("limit", default=None),), ["param limit: has lost its default"]),
        ((param("limit"),), (param("limit", "long", 1),), ["param limit: is retyped from double to long"]),
        (
            (param("stop", "string", "x"),),
            (param("stop", "string", ["x"], [-1]),),
            ["param stop: is retyped from string to string [-1]"],
        ),
    ],
)
def test_params(old: tuple[Spec, ...], new: tuple[Spec, ...], found: list[str]) -> None:
    assert [": ".join(one) for one in incompatible(Signature(params=old), Signature(params=new))] == found


SIGNED = replace(VERSION, signature=Signature(inputs=(AMOUNT,)))


@pytest.mark.parametrize(
    ("signed", "live", "line"),
    [
        (True, None, "passed: no version is live to compare it with"),
        (True, Live("7", SIGNED), "passed: version 7 is live itself"),
        (True, Live("6", None), "refused: MLflow has no version 6 any more, which is live, to compare it with"),
        (True, Live("6", BEFORE), "warned: version 6, which is live, has no signature to compare it with"),
        (
            False,
            Live("6", replace(BEFORE, signature=Signature())),
            "refused: version 7 has none, and version 6, which is live, has",
        ),
        (
            True,
            Live("6", replace(BEFORE, signature=Signature(inputs=(AMOUNT,)))),
            "passed: takes what version 6 takes, and answers in the same form",
        ),
    ],
)
def test_what_there_is_to_compare_with(signed: bool, live: Live | None, line: str) -> None:
    found = list(signature(SIGNED if signed else VERSION, lambda: live))
    assert [f"{one.result}: {one.detail}" for one in found] == [line]


def test_every_change_is_a_refusal_of_its_own() -> None:
    live = Live("6", replace(BEFORE, signature=Signature(inputs=(AMOUNT, COUNTRY), outputs=(AGE,))))
    found = list(signature(SIGNED, lambda: live))
    assert [(one.result, one.about, one.detail) for one in found] == [
        (Result.REFUSED, "input country", "is removed, compared with version 6, which is live"),
        (Result.REFUSED, "output age", "is removed, compared with version 6, which is live"),
    ]


NAMES = st.sampled_from(["amount", "country", "age", "note", "city"])
KINDS = st.sampled_from(["double", "long", "string"])
COLUMNS = st.lists(st.builds(column, NAMES, KINDS, required=st.booleans()), unique_by=lambda one: one["name"])
SIGNATURES = st.builds(lambda inputs, outputs: Signature(tuple(inputs), tuple(outputs)), COLUMNS, COLUMNS)


@settings(deadline=None)
@given(SIGNATURES)
def test_what_stays_the_same_is_compatible(one: Signature) -> None:
    assert list(incompatible(one, one)) == []


@settings(deadline=None)
@given(SIGNATURES, SIGNATURES)
def test_one_that_asks_for_less_is_never_refused_where_one_that_asks_for_more_passes(old: Signature, new: Signature) -> None:
    """Each input made optional, one by one: a refusal may go, none may come."""
    refused = {about for about, _ in incompatible(old, new)}
    more = set()
    for place in range(len(new.inputs)):
        looser = [{**one, "required": False} if at == place else one for at, one in enumerate(new.inputs)]
        more |= {about for about, _ in incompatible(old, replace(new, inputs=tuple(looser)))} - refused
    assert more == set()


@settings(deadline=None)
@given(SIGNATURES, SIGNATURES, SIGNATURES)
def test_two_steps_that_pass_are_one_step_that_passes(first: Signature, second: Signature, third: Signature) -> None:
    steps = [*incompatible(first, second), *incompatible(second, third)]
    assert steps or not list(incompatible(first, third))
