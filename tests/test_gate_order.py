"""earlier and override: what became of a version in other environments, and who may let a refusal pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from promoter import config
from promoter.cli.text import rulings_text
from promoter.config.gates import GatesSection
from promoter.errors import ConfigError, RefusedError, UsageError
from promoter.promotion.gates import override, table
from promoter.promotion.gates.asking import passed_before
from promoter.promotion.gates.order import Before, earlier
from tests.test_gate_rules import ENVIRONMENT, shown


def test_earlier() -> None:
    known = (Before("dev"), Before("staging", against="m:7 is quarantined in 'staging'"), Before("eu", unknown="no access"))
    assert shown(list(earlier(known, force=False))) == [
        "passed earlier dev: nothing stands against it there",
        "refused earlier staging: m:7 is quarantined in 'staging'",
        "warned earlier eu: not known: no access",
    ]
    assert shown(list(earlier(known[1:2], force=True))) == [
        "warned earlier staging: m:7 is quarantined in 'staging'; --force lets it pass"
    ]


def test_the_environments_that_a_version_passes_before() -> None:
    names = ("dev", "staging", "production", "canada")
    environments = [replace(ENVIRONMENT, name=name) for name in names]
    environments.insert(1, replace(environments[0], model=replace(ENVIRONMENT.model, name="other")))
    found = {one.name: [other.name for other in passed_before(environments, one)] for one in environments[2:]}
    assert found == {"staging": ["dev"], "production": ["dev", "staging"], "canada": ["dev", "staging", "production"]}


# -- override ---------------------------------------------------------------------------------------------------------

RULINGS = (
    table.refused("metrics", "auc", "is 0.1, and must be >= 0.8"),
    table.refused("tags", "status", "is not set, and must be 'approved'"),
)


def declared(**who: object) -> GatesSection:
    return GatesSection.model_validate({"override": who})


def test_a_refusal_that_is_overridden_says_by_whom_and_why() -> None:
    chosen = override.of(["metrics"], " the test set\nis broken ", "ada")
    found = chosen.applied(RULINGS)
    assert shown(found) == [
        "overridden metrics auc: is 0.1, and must be >= 0.8; overridden by ada: the test set\nis broken",
        "refused tags status: is not set, and must be 'approved'",
    ]
    metrics, tags = rulings_text(override.of(["metrics"], "no", "ada").applied(RULINGS)).splitlines()
    assert metrics.index("metrics") == tags.index("tags")
    assert chosen.recorded(found) == "metrics auc, by ada: the test set is broken"
    assert chosen.recorded(RULINGS) == ""
    assert override.of(["metrics"], "x", "").recorded(found) == "metrics auc: x"


@pytest.mark.parametrize(
    ("who", "gate", "by", "words"),
    [
        ({"metrics": "anyone"}, "metrics", "", ""),
        ({"metrics": ["ada"]}, "metrics", "ada", ""),
        ({"default": ["ada"]}, "tags", "ada", ""),
        ({"metrics": ["ada", "grace"]}, "metrics", "bob", "bob may not override metrics in 'production': only ada, grace may"),
        ({"metrics": ["ada"]}, "metrics", "", "a person whom no pipeline names may not override metrics"),
        (
            {"default": "anyone", "metrics": "never"},
            "metrics",
            "ada",
            "ada may not override metrics in 'production': nobody may",
        ),
        ({}, "metrics", "ada", "nobody may"),
        ({"default": "anyone"}, "signature", "ada", "ada may not override signature in 'production': nobody may"),
        ({"signature": ["ada"]}, "signature", "ada", ""),
    ],
)
def test_who_may_override_which_gate(who: dict[str, object], gate: str, by: str, words: str) -> None:
    refusal = ""
    try:
        override.of([gate], "because", by).require_allowed(declared(**who), ENVIRONMENT)
    except RefusedError as error:
        refusal = error.message
    assert words in refusal
    assert bool(words) == bool(refusal)


@pytest.mark.parametrize(
    ("gate", "reason", "words"), [("quarantine", "x", "no gate 'quarantine'"), ("metrics", " ", "needs --reason")]
)
def test_what_can_not_be_overridden(gate: str, reason: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        override.of([gate], reason, "ada").require_allowed(declared(metrics="anyone"), ENVIRONMENT)


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ("{override: {metric: anyone}}", "promoter.yaml:3: gates.override: has no gate 'metric'; available: "),
        ("{override: {metrics: nobody}}", "promoter.yaml:3: gates.override.metrics"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, gates: str, words: str) -> None:
    file = tmp_path / "promoter.yaml"
    lines = ["models: {m: {image: r.example.com/m}}", "environments: [{name: e, application: {name: a}}]", f"gates: {gates}"]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert words in caught.value.message
