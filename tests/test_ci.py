"""What GitHub Actions and Azure Pipelines are given, and what a log can't make them do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from promoter import output
from promoter.errors import RefusedError, UsageError
from promoter.output import ci


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step of GitHub Actions: the folder of its files."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        (tmp_path / name).write_text("before=1\n")
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step of Azure Pipelines: its temporary folder."""
    monkeypatch.setenv("TF_BUILD", "True")
    monkeypatch.setenv("AGENT_TEMPDIRECTORY", str(tmp_path))
    return tmp_path


ERROR = RefusedError("100% no\nreally; [no]", hint="ask *nicely*")


def test_an_error_on_github(github: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(ERROR.message, [ERROR.hint], ERROR.exit_code)
    assert "::error::100%25 no%0Areally; [no]" in capsys.readouterr().err.splitlines()
    assert (github / "GITHUB_OUTPUT").read_text() == "before=1\nexit-code=20\n"
    page = (github / "GITHUB_STEP_SUMMARY").read_text()
    assert page == "before=1\n### ❌ 100% no really; \\[no\\]\n\nask \\*nicely\\*\n\n"


def test_an_error_on_azure(azure: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(ERROR.message, [ERROR.hint], ERROR.exit_code)
    lines = capsys.readouterr().err.splitlines()
    assert "##vso[task.logissue type=error]100%AZP25 no really%3B [no%5D" in lines
    assert "##vso[task.setvariable variable=exit_code;isOutput=true]20" in lines
    [uploaded] = [line.partition("]")[2] for line in lines if line.startswith("##vso[task.uploadsummary]")]
    assert Path(uploaded).parent == azure
    assert Path(uploaded).read_text().startswith("### ❌ 100% no really")


def test_elsewhere_only_people_are_notified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(ERROR.message, [ERROR.hint], ERROR.exit_code)
    ci.annotate(ci.Level.WARNING, "careful")
    read = capsys.readouterr()
    assert (read.out, read.err) == ("", "error: 100% no\nreally; [no]\nhint: ask *nicely*\n")
    assert list(tmp_path.iterdir()) == []


def test_azure_has_no_notices(azure: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ci.annotate(ci.Level.NOTICE, "it is live")
    ci.annotate(ci.Level.WARNING, "superseded")
    assert capsys.readouterr().err == "##vso[task.logissue type=warning]superseded\n"


@pytest.mark.parametrize(
    "line",
    [
        "::set-output name=commit::x",
        " \t::add-mask::x",
        "log of pod: \r::stop-commands::x",
        "pod says ##vso[task.setvariable variable=x]y",
        "pod says ##[error]no",
        "####vso[task.setvariable variable=x]y",
        '{"message": "##vso[task.complete result=Succeeded;]"}',
    ],
)
def test_what_is_written_commands_nothing(
    line: str, github: Path, azure: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the runners read lines: GitHub's src/Runner.Common/ActionCommand.cs, and `##vso[` wherever it stands."""
    output.say(f"first\n{line}")
    output.data(line)
    output.event("said", {"text": line})
    output.as_json({"text": [line]})
    read = capsys.readouterr()
    lines = re.split(r"[\r\n]+", read.out + read.err)
    assert [one for one in lines if one.strip().startswith("::") or "##" in one] == []
    assert json.loads(read.out[read.out.rindex("\n{\n") :]) == {"text": [line]}


def test_credentials_are_in_none_of_it(github: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ci.annotate(ci.Level.ERROR, "https://robot:s3cret@host/x")
    ci.summarize("https://robot:s3cret@host/x")
    assert "s3cret" not in capsys.readouterr().err + (github / "GITHUB_STEP_SUMMARY").read_text()


def test_github_outputs_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("before=1\n")
    ci.github_output({"model_name": "a b", "image": ""}, {"GITHUB_OUTPUT": str(file)})
    assert file.read_text() == "before=1\nmodel-name=a b\nimage=\n"


def test_a_value_that_would_forge_an_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line break"):
        ci.github_output({"model_name": "x\nadmin=true"}, {"GITHUB_OUTPUT": str(tmp_path / "out")})
    assert not (tmp_path / "out").exists()


def test_azure_variables_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    ci.azure_variables({"model_name": "a;b]\n%"})
    assert capsys.readouterr().err == "##vso[task.setvariable variable=model_name;isOutput=true]a%3Bb%5D%0A%AZP25\n"


def test_markdown_takes_text_as_text() -> None:
    assert ci.markdown("a|b\n<img src=x> `c` [d](e)") == r"a\|b \<img src=x\> \`c\` \[d\](e)"
