"""What goes where: stdout, stderr, step outputs, variables; errors without credentials."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from promoter import output
from promoter.errors import AuthError, ConfigError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.models import Change, Status
from promoter.steps import Steps


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


def test_steps_are_told_in_plain_lines_in_ci(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_an_error_is_annotated_where_pipelines_show_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("TF_BUILD", "True")
    output.complain(RefusedError("100% no\nreally", hint="don't"), in_json=False)
    lines = capsys.readouterr().err.splitlines()
    assert "::error::100%25 no%0Areally" in lines
    assert "##vso[task.logissue type=error]100% no really" in lines


def test_github_outputs_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("before=1\n")
    output.github_output({"model_name": "a b", "image": ""}, {"GITHUB_OUTPUT": str(file)})
    assert file.read_text() == "before=1\nmodel-name=a b\nimage=\n"


def test_a_value_that_would_forge_an_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line break"):
        output.github_output({"model_name": "x\nadmin=true"}, {"GITHUB_OUTPUT": str(tmp_path / "out")})
    assert not (tmp_path / "out").exists()


def test_azure_variables_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    output.azure_variables({"model_name": "a;b]\n%"})
    assert capsys.readouterr().out == "##vso[task.setvariable variable=model_name;isOutput=true]a%3Bb%5D%0A%AZP25\n"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (7_300_000_000, "7.3 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert output.size(count) == text
