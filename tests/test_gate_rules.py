"""The rules of gates, from values alone: what passes, and in which words something is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promoter import config
from promoter.config import bounds
from promoter.config.gates import GatesSection, TagRule
from promoter.errors import ConfigError, GatesError
from promoter.models import Application, Environment, Model, Result, Ruling
from promoter.promotion.gates import table
from promoter.promotion.gates.live import Live
from promoter.promotion.gates.metrics import metrics
from promoter.promotion.gates.tags import tags
from tests.support.models import model_version

VERSION = model_version()
BEFORE = replace(model_version(version="6"), created=VERSION.created - timedelta(days=1))
ENVIRONMENT = Environment(
    "production",
    Model("fraud-detector", "registry.example.com/fraud-detector", "fraud-detector", "release.yaml"),
    Application("fraud-detector", "default", "argocd", "https://git.example.com/fleet.git", "overlays/production", "main"),
)


def shown(rulings: Sequence[Ruling]) -> list[str]:
    return [f"{one.result} {one.name}: {one.detail}" for one in rulings]


# -- tags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "tagged", "line"),
    [
        ("approved", {"status": "approved"}, "passed tags status: is 'approved'"),
        ("approved", {"status": "Approved"}, "refused tags status: is 'Approved', and must be 'approved'"),
        ("approved", {}, "refused tags status: is not set, and must be 'approved'"),
        (["low", "medium"], {"status": "medium"}, "passed tags status: is 'medium'"),
        (["low", "medium"], {"status": "high"}, "refused tags status: is 'high', and must be 'low' or 'medium'"),
        ({"present": True}, {"status": ""}, "passed tags status: is ''"),
        ({"present": True}, {"other": "x"}, "refused tags status: is not set, and must be set"),
        ({"present": False}, {}, "passed tags status: is not set"),
        ({"present": False}, {"status": "x"}, "refused tags status: is 'x', and must not be set"),
    ],
)
def test_tags(rule: object, tagged: dict[str, str], line: str) -> None:
    declared = GatesSection.model_validate({"tags": {"status": rule}}).tags
    assert shown(list(tags(declared or {}, replace(VERSION, tags=tagged)))) == [line]


# -- metrics ----------------------------------------------------------------------------------------------------------

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("bound", "value", "live", "line"),
    [
        (">= 0.8", 0.8, None, "passed metrics val/f1 macro: is 0.8, >= 0.8"),
        (">= 0.8", 0.7999, None, "refused metrics val/f1 macro: is 0.7999, and must be >= 0.8"),
        ("> 0.8", 0.8, None, "refused metrics val/f1 macro: is 0.8, and must be > 0.8"),
        ("< 1e-3", 0.0009, None, "passed metrics val/f1 macro: is 0.0009, < 1e-3"),
        (">=0.8", INFINITE, None, "passed metrics val/f1 macro: is inf, >=0.8"),
        (">= 0.8", NAN, None, "refused metrics val/f1 macro: is NaN, which is within no bound"),
        (">= live", 0.81, 0.81, "passed metrics val/f1 macro: is 0.81, >= live = 0.81 (version 6 has 0.81)"),
        (">= live - 0.01", 0.8, 0.81, "passed metrics val/f1 macro: is 0.8, >= live - 0.01 = 0.80 (version 6 has 0.81)"),
        (
            ">= live - 0.01",
            0.79,
            0.81,
            "refused metrics val/f1 macro: is 0.79, and must be >= live - 0.01 = 0.80 (version 6 has 0.81)",
        ),
        ("<= live * 1.1", 11.0, 10.0, "passed metrics val/f1 macro: is 11, <= live * 1.1 = 11.00 (version 6 has 10)"),
        (
            "<= live * 1.1",
            11.5,
            10.0,
            "refused metrics val/f1 macro: is 11.5, and must be <= live * 1.1 = 11.00 (version 6 has 10)",
        ),
        (
            ">= live",
            0.9,
            NAN,
            "refused metrics val/f1 macro: must be >= live, and version 6, which is live, has nan",
        ),
        (
            ">= live",
            0.9,
            None,
            "refused metrics val/f1 macro: must be >= live, and version 6, which is live, has no such metric",
        ),
    ],
)
def test_metrics(bound: str, value: float, live: float | None, line: str) -> None:
    version = replace(VERSION, metrics={"val/f1 macro": value})
    before = Live("6", replace(BEFORE, metrics={} if live is None else {"val/f1 macro": live}))
    assert shown(list(metrics({"val/f1 macro": (bound,)}, version, lambda: before))) == [line]


def test_a_metric_that_is_missing_is_named_with_what_it_may_be_called() -> None:
    version = replace(VERSION, metrics={"val/accuracy": 0.9, "loss": 0.1})
    found = list(metrics({"val_accuracy": (">= 0.8",), "recall": (">= 0.8",)}, version, lambda: None))
    assert shown(found) == [
        "refused metrics val_accuracy: MLflow has no such metric of fraud-detector:7; it has 'val/accuracy'",
        "refused metrics recall: MLflow has no such metric of fraud-detector:7",
    ]


@pytest.mark.parametrize(
    ("live", "line"),
    [
        (None, "passed metrics auc: is 0.1; no version is live to compare it with (> live)"),
        (Live("7", VERSION), "passed metrics auc: is 0.1, and version 7 is live itself"),
        (Live("6", None), "refused metrics auc: must be > live, and MLflow has no version 6 any more, which is live"),
    ],
)
def test_a_bound_relative_to_what_cannot_be_compared_with(live: Live | None, line: str) -> None:
    assert shown(list(metrics({"auc": ("> live",)}, replace(VERSION, metrics={"auc": 0.1}), lambda: live))) == [line]


def test_what_is_live_is_read_only_for_a_bound_that_is_relative_to_it() -> None:
    reads: list[str] = []

    def live() -> Live | None:
        reads.append("live")
        return Live("6", replace(BEFORE, metrics={"auc": 0.5}))

    version = replace(VERSION, metrics={"auc": 0.9})
    assert [one.result for one in metrics({"auc": (">= 0.8", "<= 1")}, version, live)] == [Result.PASSED, Result.PASSED]
    assert reads == []
    assert [one.result for one in metrics({"auc": (">= live",)}, version, live)] == [Result.PASSED]
    assert reads == ["live"]


NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(deadline=None)
@given(NUMBER, NUMBER, NUMBER, st.sampled_from((">=", ">")), st.sampled_from(("live - 0.5", "live * 1.1", "live + 2", "0.8")))
def test_a_higher_value_is_never_refused_where_a_lower_one_passes(
    low: float, more: float, live: float, comparison: str, limit: str
) -> None:
    bound = bounds.parse(f"{comparison} {limit}")
    high = max(low, low + abs(more))
    assert bound.holds(high, live) or not bound.holds(low, live)


@settings(deadline=None)
@given(NUMBER, NUMBER)
def test_the_same_value_as_live_is_never_worse(value: float, live: float) -> None:
    assert bounds.parse(">= live").holds(live, live)
    assert bounds.parse(">= live").holds(value, live) == (value >= live)
    assert bounds.parse("< live").holds(value, live) == (value < live)


# -- what promoter.yaml may say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ("{metrics: {auc: '0.8'}}", "gates.metrics.auc[0]: is a comparison like '>= 0.8', '>= live - 0.01' or '<= live * 1.1'"),
        ("{metrics: {auc: '>= champion'}}", "not '>= champion'"),
        ("{metrics: {auc: []}}", "gates.metrics.auc: needs a bound like '>= 0.8', not []"),
        ("{tags: {approved: true}}", "gates.tags.approved: is a text: write it in quotes, or {present: true} for any value"),
        ("{tags: {approved: {present: true, one-of: [a]}}}", "is a value, a list of values, or {present: true}"),
        ("{tags: {approved: []}}", "is a value, a list of values, or {present: true}"),
        ("{metric: {}}", "gates.metric: unknown key; did you mean 'metrics'?"),
    ],
)
def test_what_can_not_be_meant_is_named_with_its_line(tmp_path: Path, gates: str, words: str) -> None:
    file = tmp_path / "promoter.yaml"
    lines = ["models: {m: {image: r.example.com/m}}", "environments: [{name: e, application: {name: a}}]", f"gates: {gates}"]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert caught.value.message.startswith("promoter.yaml:3: gates")
    assert words in caught.value.message


def test_an_environment_sets_gates_of_its_own_in_place_of_those_for_all(tmp_path: Path) -> None:
    file = tmp_path / "promoter.yaml"
    file.write_text("""
models: {m: {image: r.example.com/m}}
gates:
  tags: {status: approved}
  metrics: {auc: '>= 0.8'}
environments:
- {name: staging, application: {name: a}, gates: {tags: null}}
- {name: production, application: {name: b}, gates: {metrics: {auc: ['>= 0.8', '>= live']}}}
""")
    gates = config.load(file).gates
    assert gates["staging", "m"].tags is None
    assert gates["staging", "m"].metrics == {"auc": (">= 0.8",)}
    assert gates["production", "m"].tags == {"status": TagRule.model_validate({"one-of": ["approved"]})}
    assert gates["production", "m"].metrics == {"auc": (">= 0.8", ">= live")}


# -- the table --------------------------------------------------------------------------------------------------------


def test_every_refusal_is_in_the_error_and_every_ruling_with_it() -> None:
    rulings = (
        table.passed("quarantine", "", "not quarantined in production"),
        table.refused("tags", "status", "is not set, and must be 'approved'", "set it on fraud-detector:7 in MLflow"),
        table.refused("metrics", "auc", "is 0.1, and must be >= 0.8"),
    )
    with pytest.raises(GatesError) as caught:
        table.require(rulings, VERSION, ENVIRONMENT)
    assert caught.value.message == (
        "fraud-detector:7 is refused in 'production': tags status: is not set, and must be 'approved'; "
        "metrics auc: is 0.1, and must be >= 0.8"
    )
    assert caught.value.hint == "set it on fraud-detector:7 in MLflow"
    assert caught.value.rulings == rulings
    table.require(rulings[:1], VERSION, ENVIRONMENT)
