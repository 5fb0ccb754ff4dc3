"""promotion.yaml: what is written is read back, nothing else changes, and what can't be read is an error with its line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from promoter.errors import ConfigError
from promoter.kustomize import promotion_file
from promoter.kustomize.promotion_file import Decision, Key, State, read, write
from promoter.models import Application, Environment, Model

PATH = "overlays/staging/promotion.yaml"
STAGING = Environment(
    name="staging",
    model=Model("fraud-detector", "registry.example.com/fraud", "fraud", "release.yaml"),
    application=Application("fraud", "default", "argocd", "https://git.example.com/x.git", "overlays/staging", "main"),
)
PRODUCTION = replace(STAGING, name="production")
FAILED = Decision(
    "7",
    State.QUARANTINED,
    reason="analysis failed: accuracy 0.4 < 0.8",
    since=datetime(2026, 11, 26, 8, 0, tzinfo=UTC),
    commit="c" * 40,
    failures=1,
    restored="sha256:" + "a" * 64,
)

words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
decisions = st.builds(
    Decision,
    version=st.integers(1, 5).map(str),
    state=st.sampled_from(State),
    reason=words | st.just(""),
    since=st.none()
    | st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC)),
    by=words | st.just(""),
    commit=st.just("") | st.just("c" * 40),
    failures=st.integers(0, 99),
    restored=st.just("") | st.just("sha256:" + "b" * 64),
    created=st.none() | st.sampled_from([datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2)]),
)


def test_a_new_file_explains_itself_and_is_read_back() -> None:
    content = write(PATH, None, STAGING, [FAILED])
    assert content.decode().splitlines()[2:] == [
        "versions:",
        "- environment: staging",
        "  model: fraud-detector",
        '  version: "7"',
        "  state: quarantined",
        '  reason: "analysis failed: accuracy 0.4 < 0.8"',
        '  since: "2026-11-26T08:00:00Z"',
        f"  commit: {'c' * 40}",
        '  failures: "1"',
        f"  restored: sha256:{'a' * 64}",
    ]
    assert read(PATH, content, STAGING) == {FAILED.key: FAILED}


@given(st.lists(st.tuples(st.sampled_from([STAGING, PRODUCTION]), decisions), max_size=8))
def test_each_environment_reads_its_own_newest_entries(written: list[tuple[Environment, Decision]]) -> None:
    content: bytes | None = None
    expected: dict[str, dict[Key, Decision]] = {"staging": {}, "production": {}}
    for environment, decision in written:
        content = write(PATH, content, environment, [decision])
        expected[environment.name][decision.key] = decision
    for environment in (STAGING, PRODUCTION):
        assert read(PATH, content or b"", environment) == expected[environment.name]
        if content is not None:
            assert write(PATH, content, environment, expected[environment.name].values()) == content, "nothing to write"


def test_what_people_wrote_stays_as_it_is() -> None:
    ours = """\
# why we rejected it: JIRA-123
versions:
  - {environment: production, model: churn, version: "3", state: rejected}   # theirs
  - environment: staging
    model: fraud-detector
    version: 7
    state: rejected   # by hand
"""
    assert read(PATH, ours.encode(), STAGING) == {("7", None): Decision("7", State.REJECTED)}
    after = write(PATH, ours.encode(), STAGING, [Decision("7", State.REJECTED, failures=1), Decision("8", State.FAILED)])
    lines = iter(after.decode().splitlines())
    assert all(line in lines for line in ours.splitlines()), "in this order"
    assert [one["version"] for one in YAML(typ="safe", pure=True).load(after)["versions"]] == ["3", 7, "8"]


@pytest.mark.parametrize("content", [b"", b"# nothing yet\n", b"versions:\n", b"versions: []\n", b"versions: null\n", b"---\n"])
def test_a_file_without_entries(content: bytes) -> None:
    assert read(PATH, content, STAGING) == {}
    assert read(PATH, write(PATH, content, STAGING, [FAILED]), STAGING) == {FAILED.key: FAILED}


ENTRY = "versions:\n- environment: staging\n  model: fraud-detector\n  version: '7'\n  state: rejected\n"


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        ("versions: {}\n", "not a list", 1),
        ("- a\n", "not a mapping", 1),
        ("versions:\n- a\n", "not a mapping", 2),
        ("freezes:\n- a\n", "unknown key 'freezes'", 1),
        (f"{ENTRY}  until: tomorrow\n", "unknown key 'until'", 6),
        (ENTRY.replace("rejected", "bad"), "unknown state 'bad'", 2),
        (ENTRY.replace("  state: rejected\n", ""), "the entry has no state", 2),
        (f"{ENTRY}  since: yesterday\n", "'yesterday' is not a time", 2),
        (f"{ENTRY}  failures: many\n", "'many' is not a number", 2),
        (ENTRY + ENTRY.partition("\n")[2], "a second entry for version 7", 6),
        ("versions: [\n", "not YAML", None),
        (f"{ENTRY}---\n{ENTRY}", "a second document", 7),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_place(content: str, message: str, line: int | None) -> None:
    with pytest.raises(ConfigError) as caught:
        read(PATH, content.encode(), STAGING)
    assert message in caught.value.message
    assert caught.value.file == PATH
    assert caught.value.hint
    assert line is None or caught.value.line == line


def test_entries_of_a_copied_folder_do_not_count() -> None:
    content = write(PATH, None, STAGING, [FAILED])
    assert read(PATH, content, PRODUCTION) == {}
    assert read(PATH, content, replace(STAGING, model=replace(STAGING.model, name="churn"))) == {}


def test_every_state_either_blocks_or_has_a_reason_not_to() -> None:
    assert promotion_file.BLOCKING | {State.ROLLED_BACK, State.FAILED, State.ALLOWED} == set(State)
