"""model: what is known of a model version, for people, for programs and for pipelines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.cli.text import model_text
from promoter.commands.model import Facts, facts, notes
from promoter.errors import ExitCode, UsageError
from promoter.output import as_json, data
from tests.support.write_path import FILES, WritePath, path

__all__ = ["path"]


def describe(path: WritePath, *, digest: bool = False) -> Facts:
    return facts(path.clients(), f"{path.model}@challenger", path.environ, digest=digest)


def test_before_an_image_is_there_its_tag_is_known_and_the_digest_is_computed_when_asked_for(path: WritePath) -> None:
    path.register()
    known = describe(path)
    assert (known.image, known.content_digest) == (None, None)
    assert f"none found; its tag will be {known.tag}" in model_text(known)
    computed = describe(path, digest=True).content_digest
    outcome = path.promote(f"{path.model}:1")
    assert (computed, known.tag) == (outcome.release.model_digest, outcome.release.tag)


def test_the_table_holds_what_a_person_asks_for(path: WritePath) -> None:
    path.register(b"12345")
    path.promote(f"{path.model}:1")
    known = describe(path)
    rows = dict(line.split("  ", 1) for line in model_text(known).splitlines())
    told = {name: value.strip() for name, value in rows.items()}
    size = sum(map(len, FILES.values())) + 5
    assert told["version"] == "1"
    assert told["aliases"] == "challenger"
    assert told["files"] == f"3, {size} B in {known.version.artifact_uri}"
    assert told["flavors"] == "python_function"
    assert told["metrics"] == "accuracy 0.9"
    assert told["requirements"] == "numpy==2.4.0"
    assert known.image is not None
    assert told["image"] == known.image.reference
    assert told["content digest"] == known.image.content_digest


def test_as_json_and_for_pipelines(path: WritePath, tmp_path: Path) -> None:
    path.register()
    outcome = path.promote(f"{path.model}:1")
    file = tmp_path / "github-output"
    options = ("--digest", "--github-output", "-o", "json")
    done = path.run("model", f"{path.model}@challenger", *options, GITHUB_OUTPUT=str(file))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told) == ["version", "tag", "content_digest", "image", "notes", "checks"]
    assert [(one["name"], one["declared"]) for one in told["checks"]] == [
        ("as logged", False),
        ("golden examples", False),
        ("against stable", False),
    ]
    assert told["content_digest"] == told["image"]["content_digest"] == outcome.release.model_digest
    assert told["image"]["digest"] == outcome.image.digest
    outputs = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert outputs == {
        "model-name": path.model,
        "model-version": "1",
        "model-run-id": told["version"]["run_id"],
        "model-digest": outcome.release.model_digest,
        "image-tag": outcome.release.tag,
        "image": outcome.release.image,
    }


def test_as_variables_of_azure_pipelines(path: WritePath) -> None:
    path.register()
    done = path.run("model", f"{path.model}@challenger", "--azure-variables")
    commands = [line for line in done.stderr.splitlines() if line.startswith("##vso")]
    assert f"##vso[task.setvariable variable=model_name;isOutput=true]{path.model}" in commands
    assert "##vso[task.setvariable variable=model_version;isOutput=true]1" in commands
    assert len(commands) == 6


def test_without_promoter_yaml_the_environment_is_enough(path: WritePath) -> None:
    path.register()
    known = facts(None, f"{path.model}:1", path.environ, digest=False)
    assert (known.version.version, known.image) == ("1", None)
    with pytest.raises(UsageError, match="MLflow is not configured") as caught:
        facts(None, f"{path.model}:1", {}, digest=False)
    assert caught.value.exit_code == ExitCode.USAGE


def test_numbers_that_json_lacks_are_null_with_a_note_and_hidden_characters_are_shown(
    path: WritePath, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever may register a version writes its tags and description, and metrics are what training came to."""
    path.register()
    known = describe(path)
    metrics = {"auc": 0.5, "loss": float("nan"), "worst": float("-inf")}
    told = "\x1b]0;owned\x07\x1b[2Jhidden"
    version = replace(known.version, metrics=metrics, tags={"team": told}, description=told)
    odd = replace(known, version=version, notes=notes(metrics))
    as_json(odd)
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed["version"]["metrics"] == {"auc": 0.5, "loss": None, "worst": None}
    assert printed["notes"] == ["metric loss is NaN", "metric worst is -inf"]
    data(model_text(odd))
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "hidden" in text
