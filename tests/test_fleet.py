"""A promoter.yaml of many environments: what a command asks for is read, and what is wrong with the rest is found by check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promoter import config
from promoter.config import text
from promoter.errors import ConfigError, UsageError
from promoter.machine.folders import are_private

COUNT = 130
MANIFEST = """apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: NAME}
spec:
  source: {repoURL: "https://git.example.com/gitops.git", path: overlays/NAME, targetRevision: main}
"""


def entry(number: int, *, name: str = "staging", more: str = "") -> str:
    return f"- {{name: {name}, model: m{number}, application: environments/m{number}.yaml{more}}}\n"


def fleet(folder: Path, *, environments: str = "", models: str = "") -> Path:
    """Of 130 models, with these lines in addition."""
    (folder / "environments").mkdir(exist_ok=True)
    for number in range(COUNT):
        (folder / f"environments/m{number}.yaml").write_text(MANIFEST.replace("NAME", f"m{number}"))
    text = "image: {registry: r.example.com}\nmodels:\n" + "".join(f"  m{number}: {{}}\n" for number in range(COUNT)) + models
    file = folder / config.FILE
    file.write_text(text + "environments:\n" + "".join(entry(number) for number in range(COUNT)) + environments)
    return file


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text.kept.cache_clear()


def complaint(file: Path) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        config.load(file).require_valid()
    return raised.value


def test_one_environment_is_read_without_the_manifests_of_others(tmp_path: Path) -> None:
    file = fleet(tmp_path)
    for number in range(1, COUNT):
        (tmp_path / f"environments/m{number}.yaml").unlink()
    found = config.load(file).environment("staging", "m0")
    assert (found.model.repository, found.application.path) == ("r.example.com/m0", "overlays/m0")
    with pytest.raises(ConfigError, match=r"no such file: 'environments/m1\.yaml'"):
        config.load(file).environment("staging", "m1")
    assert "environments/m1.yaml" in complaint(file).message


@pytest.mark.parametrize(
    ("environments", "models", "message"),
    [
        (entry(7), "", "'staging' of model 'm7' is there twice"),
        (entry(7, name="qa").replace("m7", "m700", 1), "", "unknown model 'm700'"),
        ('- {name: qa, models: ["x*"], application: a.yaml}\n', "", "'x*' means no model"),
        ("- {model: m7, application: environments/m7.yaml}\n", "", "is required"),
    ],
)
def test_names_are_checked_whatever_is_asked_for(tmp_path: Path, environments: str, models: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.load(fleet(tmp_path, environments=environments, models=models))
    assert message in raised.value.message
    assert f"promoter.yaml:{2 * COUNT + 4}:" in raised.value.message, "the line that it is about"


@pytest.mark.parametrize(
    ("environments", "models", "message"),
    [
        (entry(7, name="qa", more=", alais: champion"), "", "unknown key; did you mean 'alias'?"),
        (entry(7, name="qa", more=", wave: 2"), "", "is for environments of a group"),
        (entry(7, name="qa", more=", gates: {after: {environment: prod}}"), "", "can't come after 'prod'"),
        (entry(7, name="qa", more=", group: staging"), "", "'staging' is an environment"),
        ("", "  other: {image: 7}\n", "input should be a valid string"),
    ],
)
def test_the_rest_by_check_and_by_commands_about_it(tmp_path: Path, environments: str, models: str, message: str) -> None:
    file = fleet(tmp_path, environments=environments, models=models)
    assert config.load(file).environment("staging", "m6").name == "staging"
    found = complaint(file)
    assert message in found.message
    assert f"promoter.yaml:{2 * COUNT + 4 if environments else COUNT + 3}:" in found.message


def test_few_environments_are_read_at_once(tmp_path: Path) -> None:
    file = tmp_path / config.FILE
    file.write_text("models: {m: {image: r.example.com/m}}\nenvironments:\n- {name: staging, application: gone.yaml}\n")
    with pytest.raises(ConfigError, match=r"no such file: 'gone\.yaml'"):
        config.load(file)


def test_groups_are_those_of_one_model(tmp_path: Path) -> None:
    more = "".join(entry(7, name=f"prod-{wave}", more=f", group: production, wave: {wave}") for wave in (2, 1))
    found = config.load(fleet(tmp_path, environments=more))
    assert [one.name for one in found.group("production")] == ["prod-1", "prod-2"]
    assert [one.name for one in found.chosen(["production"])] == ["prod-2", "prod-1"]
    assert [one.name for one in found.environments.of("m7")] == ["staging", "prod-2", "prod-1"]
    with pytest.raises(UsageError, match=r"several models have an environment 'staging': m0, .* and 110 more"):
        found.environment("staging")


# -- what is kept of a large file -------------------------------------------------------------------------------------


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "cache/promoter/parsed").glob("*"))


def large(folder: Path, alias: str) -> Path:
    file = fleet(folder)
    padding = "".join(f"# {'x' * 100}\n" for _ in range(1000))
    file.write_text(padding + file.read_text().replace("m0.yaml}", f"m0.yaml, alias: {alias}}}"))
    return file


def test_a_large_file_is_parsed_once_and_again_when_it_changes(tmp_path: Path) -> None:
    first = config.load(large(tmp_path, "first")).environment("staging", "m0")
    (file,) = kept(tmp_path)
    assert are_private(file.parent)
    value = json.loads(file.read_text())
    assert value["environments"][0]["alias"] == first.alias == "first"
    assert config.load(large(tmp_path, "other")).environment("staging", "m0").alias == "other"
    assert len(kept(tmp_path)) == 2


def test_what_is_kept_is_used_and_not_where_it_is_broken(tmp_path: Path) -> None:
    source = large(tmp_path, "first")
    config.load(source)
    (file,) = kept(tmp_path)
    for content, alias in ((file.read_text().replace("first", "kept"), "kept"), ("{", "first")):
        file.write_text(content)
        text.kept.cache_clear()
        assert config.load(source).environment("staging", "m0").alias == alias


def test_a_folder_that_others_may_write_to_is_emptied(tmp_path: Path) -> None:
    source = large(tmp_path, "first")
    config.load(source)
    (file,) = kept(tmp_path)
    file.write_text(file.read_text().replace("first", "planted"))
    file.parent.chmod(0o777)
    text.kept.cache_clear()
    assert config.load(source).environment("staging", "m0").alias == "first"
    assert are_private(file.parent)
