"""Image names from model names: always valid, never shared."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter.config.names import image_name

COMPONENT = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*$")


@pytest.mark.parametrize("name", ["fraud-detector", "m", "a1-b2"])
def test_a_name_that_fits_stays(name: str) -> None:
    assert image_name(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("Fraud Detector", "fraud-detector-"),
        ("é", "e-"),
        ("..", "model-"),
        ("$(rm -rf)", "rm-rf-"),
        ("日本", "model-"),
        ("-lead", "lead-"),
    ],
)
def test_any_other_is_mapped_and_distinguished(name: str, start: str) -> None:
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{8}", image_name(name))


@given(st.text(min_size=1), st.text(min_size=1))
def test_every_name_is_valid_and_its_own(one: str, other: str) -> None:
    assert COMPONENT.fullmatch(image_name(one))
    assert len(image_name(one)) <= 63
    assert one == other or image_name(one) != image_name(other)
