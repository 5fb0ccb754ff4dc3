"""What goes where: stdout and stderr; errors without credentials."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from promoter import output
from promoter.errors import AuthError, ConfigError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.models import Change, Status
from promoter.promotion.steps import Steps


def test_credentials_never_stand_in_an_error() -> None:
    error = PromoterError("https://user:s3cret@host/x and git+ssh://t0ken@h/y failed", hint="see https://a:b@h/")
    assert "s3cret" not in str(error)
    assert error.message == "https://host/x and git+ssh://h/y failed"
    assert error.hint == "see https://h/"


def test_a_config_error_opens_with_its_place() -> None:
    assert str(ConfigError("is required", file="a.yaml", line=3, key="spec.x")) == "a.yaml:3: spec.x: is required"
    assert str(ConfigError("is empty", file="a.yaml")) == "a.yaml: is empty"


def test_every_error_has_its_documented_exit_code() -> None:
    codes = {PromoterError: 1, UsageError: 2, AuthError: 3, UnreachableError: 4, RefusedError: 20}
    assert {kind: int(kind.exit_code) for kind in codes} == codes


def test_json_has_the_fields_names(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True)
    class Value:
        when: datetime
        status: Status
        change: Change
        paths: tuple[Path, ...]

    output.as_json(Value(datetime(2026, 1, 2, tzinfo=UTC), Status.SKIPPED, Change("f", "k", None, "é"), (Path("a/b"),)))
    read = capsys.readouterr()
    assert read.err == ""
    assert json.loads(read.out) == {
        "when": "2026-01-02T00:00:00+00:00",
        "status": "skipped",
        "change": {"file": "f", "key": "k", "old": None, "new": "é"},
        "paths": ["a/b"],
    }


def test_steps_are_reported_in_plain_lines_in_ci(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps(output.report)
    assert steps.run("image", lambda: 3, lambda n: f"{n} layers") == 3
    steps.run("commit", lambda: None, lambda _: "already there", lambda _: True)
    with pytest.raises(RefusedError):
        steps.run("push", _refuse)
    read = capsys.readouterr()
    assert read.out == ""
    assert read.err == "✓ image    3 layers\n= commit   already there\n✗ push     protected\n"
    assert [step.status for step in steps.done] == [Status.SUCCEEDED, Status.SKIPPED, Status.FAILED]


def _refuse() -> None:
    raise RefusedError("protected")


def test_an_outage_is_an_error_and_a_refusal_a_failure() -> None:
    def break_down() -> None:
        raise UnreachableError("no answer")

    steps = Steps()
    with pytest.raises(UnreachableError):
        steps.run("fetch", break_down)
    assert steps.done[0].status is Status.ERRORED


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (7_300_000_000, "7.3 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert output.size(count) == text
