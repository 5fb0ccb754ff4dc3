"""aliases, age, size, flavors, pickle and requirements: what a version is, and in which words it is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promoter.config.gates import AgeSection, GatesSection, OnPickle, SizeSection
from promoter.model_registry.pickles import pickled
from promoter.models import ModelFile, Result
from promoter.promotion.gates.pickles import pickle
from promoter.promotion.gates.requirements import requirements
from promoter.promotion.gates.version import age, aliases, flavors, size
from tests.support.models import model_version
from tests.test_gate_rules import shown

VERSION = model_version()


def test_every_alias_must_point_to_the_version() -> None:
    assert shown(list(aliases(("champion", "approved"), replace(VERSION, aliases=("approved", "newest"))))) == [
        "refused aliases champion: does not point to version 7, whose aliases are: approved, newest",
        "passed aliases approved: points to version 7",
    ]


@pytest.mark.parametrize(
    ("rule", "old", "lines"),
    [
        ({"at-least": "1h"}, 3599, ["refused age at-least: was created 59 min 59 s ago, and must be at least 1 h old"]),
        ({"at-least": "1h"}, 3600, ["passed age at-least: was created 1 h ago, and has to be at least 1 h old"]),
        ({"at-most": "30d"}, 30 * 86400, ["passed age at-most: was created 30 d ago, and has to be at most 30 d old"]),
        (
            {"at-most": "30d"},
            30 * 86400 + 60,
            ["refused age at-most: was created 30 d 1 min ago, and must be at most 30 d old"],
        ),
        ({"at-least": 10}, -300, ["refused age at-least: was created 0 s ago, and must be at least 10 s old"]),
        (
            {"at-least": "1m", "at-most": "2m"},
            90,
            [
                "passed age at-least: was created 1 min 30 s ago, and has to be at least 1 min old",
                "passed age at-most: was created 1 min 30 s ago, and has to be at most 2 min old",
            ],
        ),
    ],
)
def test_age(rule: dict[str, Any], old: float, lines: list[str]) -> None:
    found = age(AgeSection.model_validate(rule), VERSION, VERSION.created + timedelta(seconds=old))
    assert shown(list(found)) == lines


@settings(deadline=None)
@given(st.floats(0, 1e7), st.floats(0, 1e7), st.floats(1, 1e7))
def test_an_older_version_is_never_too_young_and_a_younger_one_never_too_old(old: float, more: float, limit: float) -> None:
    young, late = VERSION.created + timedelta(seconds=old), VERSION.created + timedelta(seconds=old + more)
    least, most = AgeSection.model_validate({"at-least": limit}), AgeSection.model_validate({"at-most": limit})

    def passes(rule: AgeSection, now: Any) -> bool:
        return all(one.result is Result.PASSED for one in age(rule, VERSION, now))

    assert passes(least, late) or not passes(least, young)
    assert passes(most, young) or not passes(most, late)


def test_size() -> None:
    version = replace(VERSION, files=(ModelFile("MLmodel", 1024), ModelFile("model.bin", 2 << 30)))
    allowed, refused = (SizeSection.model_validate({"at-most": text}) for text in ("3 GiB", "2 GiB"))
    assert shown(list(size(allowed, version))) == ["passed size: 2.1 GB in 2 files"]
    assert shown(list(size(refused, version))) == ["refused size: 2.1 GB in 2 files, and at most 2.1 GB are allowed"]


@pytest.mark.parametrize(
    ("has", "line"),
    [
        (("python_function", "sklearn"), "passed flavors: python_function, sklearn"),
        (("python_function",), "refused flavors: has python_function, and must have one of: sklearn, xgboost"),
        ((), "refused flavors: has none, and must have one of: sklearn, xgboost"),
    ],
)
def test_flavors(has: tuple[str, ...], line: str) -> None:
    assert shown(list(flavors(("sklearn", "xgboost"), replace(VERSION, flavors=has)))) == [line]


# -- pickle -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavors", "files", "found"),
    [
        (
            {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}},
            ["MLmodel", "model.pkl"],
            ["model.pkl"],
        ),
        ({"sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"}}, ["MLmodel", "model.skops"], []),
        ({"sklearn": {"pickled_model": "model.bin"}}, ["model.bin"], ["model.bin"]),
        ({"python_function": {"python_model": "python_model.pkl"}}, ["python_model.pkl", "data/x.csv"], ["python_model.pkl"]),
        ({"python_function": {"model_code_path": "model.py", "python_model": "model.py"}}, ["model.py"], []),
        (
            {"pytorch": {"model_data": "data"}},
            ["data/model.pth", "data/info.txt", "MLmodel"],
            ["data/info.txt", "data/model.pth"],
        ),
        ({"pytorch": {"model_data": "data", "serialization_format": "pt2"}}, ["data/model.pt2"], []),
        ({"lightgbm": {"data": "model.lgb", "model_class": "lightgbm.basic.Booster"}}, ["model.lgb"], []),
        ({"lightgbm": {"data": "model.lgb", "model_class": "lightgbm.sklearn.LGBMClassifier"}}, ["model.lgb"], ["model.lgb"]),
        ({"xgboost": {"data": "model.ubj"}}, ["model.ubj"], []),
        ({"onnx": {"data": "model.onnx"}}, ["model.onnx"], []),
        ({"tensorflow": {"data": "data"}}, ["data/model/a.pb", "data/custom.cloudpickle"], ["data/custom.cloudpickle"]),
        ({"python_function": {"artifacts": {}}}, ["artifacts/encoder.joblib"], ["artifacts/encoder.joblib"]),
        ({"odd": None, "odder": {"data": 7}}, ["MLmodel"], []),
    ],
)
def test_the_files_that_are_unpickled(flavors: dict[str, Any], files: list[str], found: list[str]) -> None:
    assert list(pickled(flavors, files)) == found


def test_pickle() -> None:
    one, many = (replace(VERSION, pickled=tuple(f"{number}.pkl" for number in range(count))) for count in (1, 7))
    assert shown([pickle(OnPickle.REFUSE, VERSION)]) == ["passed pickle: no file is unpickled"]
    assert shown([pickle(OnPickle.REFUSE, one)]) == ["refused pickle: loading it unpickles 0.pkl"]
    assert shown([pickle(OnPickle.WARN, many)]) == [
        "warned pickle: loading it unpickles 0.pkl, 1.pkl, 2.pkl, 3.pkl, 4.pkl and 2 more"
    ]


# -- requirements -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusing", "needed", "line"),
    [
        ("torch", ("numpy==2.4.0",), "passed requirements torch: in none of 1 requirements"),
        ("torch", ("Torch[cuda]==2.9.0",), "refused requirements torch: needs Torch[cuda]==2.9.0"),
        ("ruamel_yaml", ("ruamel.yaml>=0.18",), "refused requirements ruamel_yaml: needs ruamel.yaml>=0.18"),
        ("pyyaml<6", ("pyyaml==5.4",), "refused requirements pyyaml<6: needs pyyaml==5.4"),
        ("pyyaml<6", ("pyyaml==6.0.2",), "passed requirements pyyaml<6: in none of 1 requirements"),
        ("pyyaml<6", ("pyyaml==5.4rc1",), "refused requirements pyyaml<6: needs pyyaml==5.4rc1"),
        ("pyyaml<6", ("pyyaml",), "refused requirements pyyaml<6: 'pyyaml' names no version, which may be one of these"),
        ("pyyaml<6", ("pyyaml>=6",), "refused requirements pyyaml<6: 'pyyaml>=6' names no version, which may be one of these"),
        (
            "pyyaml<6",
            ("pyyaml==5.*",),
            "refused requirements pyyaml<6: 'pyyaml==5.*' names no version, which may be one of these",
        ),
        ("torch", ("./wheels/own.whl",), "refused requirements torch: './wheels/own.whl' can't be read, and may be it"),
        (
            "own",
            ("own @ https://example.com/own-1.0.whl",),
            "refused requirements own: needs own @ https://example.com/own-1.0.whl",
        ),
        ("torch", ("numpy==2.4.0  # for torch",), "passed requirements torch: in none of 1 requirements"),
    ],
)
def test_requirements(refusing: str, needed: tuple[str, ...], line: str) -> None:
    assert shown(list(requirements((refusing,), replace(VERSION, requirements=needed)))) == [line]


def test_a_limit_that_is_none_or_a_requirement_that_is_none_is_a_mistake() -> None:
    mistakes: tuple[dict[str, object], ...] = (
        {"age": {}},
        {"size": {"at-most": "many"}},
        {"requirements": {"refuse": ["a b"]}},
        {"pickle": "allow"},
    )
    for wrong in mistakes:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GatesSection.model_validate(wrong)
