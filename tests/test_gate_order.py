"""earlier, after and override: what became of a version in other environments, and who may let a refusal pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promoter import config
from promoter.argocd.state import ApplicationState, Condition, OperationState, PodTemplate, ResourceRef, Workload
from promoter.cli.text import rulings_text
from promoter.config.gates import AfterSection, GatesSection
from promoter.errors import ConfigError, RefusedError, UsageError
from promoter.models import Release, Result
from promoter.promotion.gates import override, table
from promoter.promotion.gates.asking import passed_before
from promoter.promotion.gates.order import Before, Standing, after, earlier
from promoter.promotion.gates.places import live_since
from tests.test_gate_rules import ENVIRONMENT, shown

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
SOAK = AfterSection.model_validate({"environment": "staging", "soak": "1h"})


def release(digest: str = DIGEST) -> Release:
    return Release("fraud-detector", "7", OTHER, "registry.example.com/fraud-detector", "v7", digest)


@pytest.mark.parametrize(
    ("digest", "standing", "line"),
    [
        ("", Standing(None), "refused after staging: its image is not built yet, so it was never live there"),
        (DIGEST, Standing(None), "refused after staging: no version is deployed there"),
        (
            DIGEST,
            Standing(replace(release(OTHER), version="6")),
            "refused after staging: version 6 (sha256:bbbbbbbbbbbb) is deployed there, not this image (sha256:aaaaaaaaaaaa)",
        ),
        (
            DIGEST,
            Standing(release(), "rolling: step 1 of 4"),
            "refused after staging: it is deployed there, and not known to be live: rolling: step 1 of 4",
        ),
        (
            DIGEST,
            Standing(release(), "", NOW - timedelta(minutes=59)),
            "refused after staging: live there for 59 min, since 2026-11-28 11:01:00 UTC, and must be for 1 h",
        ),
        (
            DIGEST,
            Standing(release(), "", NOW - timedelta(hours=1)),
            "passed after staging: live there for 1 h, since 2026-11-28 11:00:00 UTC",
        ),
        (
            DIGEST,
            Standing(release(), "", NOW + timedelta(minutes=5)),
            "refused after staging: live there for 0 s, since 2026-11-28 12:05:00 UTC, and must be for 1 h",
        ),
    ],
)
def test_after(digest: str, standing: Standing, line: str) -> None:
    found = after(SOAK, digest, standing, NOW)
    assert shown([found]) == [line]
    assert bool(found.hint) == (found.result is Result.REFUSED)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_one_that_was_live_for_longer_is_never_refused_where_a_shorter_time_passes(seconds: int, more: int) -> None:
    short, long = (
        after(SOAK, DIGEST, Standing(release(), "", NOW - timedelta(seconds=one)), NOW) for one in (seconds, seconds + more)
    )
    assert long.result is Result.PASSED or short.result is Result.REFUSED


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
    assert [one.name for one in passed_before(environments, environments[2], "canada")] == ["dev", "canada"]


def workload(*conditions: Condition) -> Workload:
    ref = ResourceRef("argoproj.io", "Rollout", "staging", "fraud-detector")
    return Workload(ref, 1, 1, PodTemplate(()), conditions=conditions)


def test_it_is_live_since_the_last_change_of_any_of_what_makes_it_live() -> None:
    commit, sync, health, rollout = (NOW + timedelta(minutes=minute) for minute in (0, 1, 2, 3))
    application = ApplicationState("a", "p", "n", health_since=health, operation=OperationState("Succeeded", finished_at=sync))
    done = workload(Condition("Completed", "", status="True", since=rollout))
    assert live_since(commit, application, [done]) == rollout
    assert live_since(commit, application, []) == health
    assert live_since(NOW + timedelta(hours=1), application, [done]) == NOW + timedelta(hours=1)
    off = workload(Condition("Paused", "", status="False", since=NOW + timedelta(hours=2)), Condition("Other", ""))
    assert live_since(commit, application, [done, off]) == rollout
    assert live_since(commit, replace(application, health_since=None), [off]) is None


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
        ({"default": ["Ada-L"]}, "tags", "ada-l", ""),
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
        ("{after: {environment: stagin}}", "promoter.yaml:3: gates.after: 'e' can't come after 'stagin'"),
        ("{after: {environment: e}}", "promoter.yaml:3: gates.after: 'e' can't come after 'e'"),
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
