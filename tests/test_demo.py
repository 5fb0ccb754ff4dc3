"""promoter demo as a person runs it: the whole story, twice, and what it leaves behind."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from promoter.demo import demo
from promoter.errors import UsageError


@dataclass(frozen=True)
class Told:
    """A finished demo: what it said, and the session its processes were in."""

    folder: Path
    home: Path
    returncode: int
    stdout: str
    stderr: str
    session: int

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder / "gitops.git"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    missing = [module for module in ("mlflow", "sklearn") if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"no demo on this machine: {', '.join(missing)} missing")
    return _run(tmp_path_factory.mktemp("story") / "demo", tmp_path_factory.mktemp("home"))


def _run(folder: Path, home: Path) -> Told:
    command = [sys.executable, "-m", "promoter", "demo", "--folder", str(folder)]
    environ = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    stdout, stderr = process.communicate()
    return Told(folder, home, process.returncode, stdout, stderr, process.pid)


def test_it_ends_well_and_leaves_no_process(told: Told) -> None:
    assert told.returncode == 0, told.stderr
    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc to look for processes in")
    sessions = [_session(stat) for stat in Path("/proc").glob("[0-9]*/stat")]
    assert told.session not in sessions


def _session(stat: Path) -> int:
    """Field 6 of /proc/PID/stat (proc(5)); the second one, in parentheses, may hold anything."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_the_second_commit_changes_tag_digest_version_and_model_digest_only(told: Told) -> None:
    assert told.git("log", "--format=%s", "main").splitlines() == [
        "Promote fraud-detector version 2 to staging (was 1)",
        "Promote fraud-detector version 1 to staging",
        "Start the GitOps repository",
    ]
    shown = told.git("show", "--format=", "--unified=0", "main").splitlines()
    changed = [line for line in shown if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    keys = [line[1:].strip().partition(":")[0] for line in changed]
    assert keys == ["newTag", "digest"] * 2 + ["modelVersion", "modelDigest"] * 2
    assert told.git("diff", "--name-only", "main^", "main").split() == [
        "overlays/staging/kustomization.yaml",
        "overlays/staging/release.yaml",
    ]


def test_it_shows_that_commit_and_where_to_look(told: Told) -> None:
    assert "Promote fraud-detector version 2 to staging (was 1)" in told.stdout
    for line in told.git("show", "--format=", "--unified=0", "main").splitlines():
        assert line in told.stdout
    assert (told.folder / "images" / "index.json").is_file()
    assert f"promoter history staging --config {told.folder}/gitops/promoter.yaml" in told.stderr


def test_what_it_tells_to_run_runs(told: Told) -> None:
    config = str(told.folder / "gitops" / "promoter.yaml")
    command = [sys.executable, "-m", "promoter", "history", "staging", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split("  ")[2] for line in done.stdout.splitlines()] == [
        "fraud-detector version 2",
        "fraud-detector version 1",
    ]


def test_again_it_replaces_the_folder(told: Told) -> None:
    """Of the first run only the Git cache is left, which knows another history of a remote at this address."""
    (told.folder / "left-behind").touch()
    commit = told.git("rev-parse", "main")
    again = _run(told.folder, told.home)
    assert again.returncode == 0, again.stderr
    assert not (told.folder / "left-behind").exists()
    assert again.git("rev-list", "--count", "main").strip() == "3"
    assert again.git("rev-parse", "main") != commit


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="exists and was not made by promoter demo") as caught:
        demo(tmp_path)
    assert "--folder" in caught.value.hint
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(UsageError, match="exists and was not made by promoter demo"):
        demo(tmp_path / "demo")
