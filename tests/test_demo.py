"""promoter demo as a person runs it: the whole story, what it leaves behind, and that nothing is left running."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from promoter.cli.text import ending_text
from promoter.commands.scaffold import template
from promoter.config import load
from promoter.demo import demo
from promoter.demo.cluster import ClusterOptions, edits
from promoter.demo.images import unpack_model
from promoter.demo.place import Place, git, prepare
from promoter.demo.repository import seed
from promoter.demo.sandbox.render import render
from promoter.errors import UsageError

EXAMPLES = "https://github.com/your-org"


@dataclass(frozen=True)
class Told:
    """A finished demo: what it printed, and the session its processes were in."""

    folder: Path
    returncode: int
    stdout: str
    stderr: str
    session: int

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder / "gitops.git"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def require_packages() -> None:
    missing = [module for module in ("mlflow.pyfunc", "sklearn", "uvicorn") if not _is_there(module)]
    if missing:
        pytest.skip(f"no demo on this machine: {', '.join(missing)} missing")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    require_packages()
    folder = tmp_path_factory.mktemp("story") / "demo"
    process = start(folder, tmp_path_factory.mktemp("home"))
    try:
        stdout, stderr = process.communicate()
    finally:
        process.kill()
    return Told(folder, process.returncode, stdout, stderr, process.pid)


def start(folder: Path, home: Path) -> subprocess.Popen[str]:
    """The demo of somebody who never used git here, in a session of its own."""
    command = [sys.executable, "-m", "promoter", "demo", "--folder", str(folder)]
    unwanted = ("GIT_", "ARGOCD_", "MLFLOW_", "CI")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    environ |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "ARGOCD_OPTS": "--grpc-web-root-path /elsewhere"}
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def processes_of(session: int) -> list[str]:
    """The command lines of the session's processes, zombies left out."""
    return [line for stat in Path("/proc").glob("[0-9]*/stat") if (line := _command_line(stat, session))]


def _command_line(stat: Path, session: int) -> str:
    """State and session are the fields 3 and 6 of /proc/PID/stat (proc(5)); the second one, in parentheses, may hold anything."""
    try:
        state, _, _, found, *_ = stat.read_text().rpartition(")")[2].split()
        command = (stat.parent / "cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return command if int(found) == session and state != "Z" else ""


def test_it_ends_well_and_leaves_no_process(told: Told) -> None:
    assert told.returncode == 0, told.stderr
    assert processes_of(os.getsid(0)), "/proc has no process at all"
    assert processes_of(told.session) == []


def test_its_first_line_reports_what_is_not_real(told: Told) -> None:
    assert "Kubernetes, Argo CD and Argo Rollouts are a sandbox" in told.stderr.splitlines()[0]


def test_two_versions_go_live_and_the_third_is_aborted_and_git_restored(told: Told) -> None:
    assert told.git("log", "--format=%s", "main").splitlines() == [
        "Restore fraud-detector version 2 in staging: version 3, analysis failed",
        "Promote fraud-detector version 3 to staging (was 2)",
        "Promote fraud-detector version 2 to staging (was 1)",
        "Promote fraud-detector version 1 to staging",
        "Start the GitOps repository",
    ]
    assert told.git("diff", "--name-only", "main~2", "main").split() == ["overlays/staging/promotion.yaml"]
    assert told.git("log", "-1", "--format=%(trailers:key=Quarantined,valueonly)", "main").strip() == "fraud-detector:3"
    rows = [line.split()[:3] for line in told.stderr.splitlines() if re.match(r"\d +(live|aborted)", line)]
    assert rows == [["1", "live", "0"], ["2", "live", "0"], ["3", "aborted", "10"]]


def test_it_is_shown_as_it_happens(told: Told) -> None:
    said = [
        "$ promoter promote fraud-detector@challenger --to staging",
        "Promote fraud-detector version 3 to staging (was 2)",
        "fraud-detector-staging rolling step 0 of 4, 34 %",
        "fraud-detector-staging aborted (analysis failed)",
        "metric predictions Failed, measured 0.0",
        "restored version 2 with commit",
        "fraud-detector-staging live",
        "(exit code 10)",
    ]
    rest = told.stderr[told.stderr.rindex(said[0]) :]
    for text in said:
        assert text in rest
        rest = rest[rest.index(text) :]


def test_no_request_of_the_client_failed(told: Told) -> None:
    asked = re.search(r"The client asked (\d+) times: (\d+) requests failed", told.stderr)
    assert asked is not None
    assert int(asked[1]) > 20
    assert int(asked[2]) == 0


def test_the_second_promotion_changes_tag_digest_version_and_model_digest_only(told: Told) -> None:
    shown = told.git("show", "--format=", "--unified=0", "main~2").splitlines()
    changed = [line for line in shown if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    keys = [line[1:].strip().partition(":")[0] for line in changed]
    assert keys == ["newTag", "digest"] * 2 + ["modelVersion", "modelDigest"] * 2
    assert told.git("diff", "--name-only", "main~3", "main~2").split() == [
        "overlays/staging/kustomization.yaml",
        "overlays/staging/release.yaml",
    ]
    for line in shown:
        assert line in told.stdout


def test_the_pods_ran_the_models_that_are_in_the_images(told: Told, tmp_path: Path) -> None:
    images = told.git("log", "--format=%(trailers:key=Image,valueonly)", "main").split()
    assert len(images) == 4
    for image in images:
        digest = image.rpartition(":")[2]
        again = unpack_model(told.folder / "images", image, tmp_path)
        assert again is not None
        run = told.folder / "sandbox" / "models" / digest / "opt" / "model"
        assert {file.name for file in run.iterdir()} >= {"MLmodel", "requirements.txt"}
        assert (run / "MLmodel").read_bytes() == (again / "MLmodel").read_bytes()
    assert unpack_model(told.folder / "images", "inference-service", tmp_path) is None
    assert unpack_model(told.folder / "images", f"{images[0][:-64]}{'0' * 64}", tmp_path) is None


def test_the_commands_it_shows_run(told: Told) -> None:
    config = str(told.folder / "gitops" / "promoter.yaml")
    assert f"promoter history staging --config {config}" in told.stderr
    command = [sys.executable, "-m", "promoter", "history", "staging", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, *rows = done.stdout.splitlines()
    assert [re.findall(r"fraud-detector (\d+)", row)[:1] for row in rows] == [["2"], ["3"], ["2"], ["1"]]


def test_ctrl_c_ends_what_runs_even_when_pressed_twice(tmp_path: Path) -> None:
    require_packages()
    folder = prepare(tmp_path / "demo")
    (folder / "left-behind").touch()
    process = start(folder, tmp_path)
    try:
        while not any("promoter.serving" in line for line in processes_of(process.pid)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert processes_of(process.pid) == []
    assert not (folder / "left-behind").exists()


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="exists and was not made by promoter demo") as caught:
        demo(tmp_path, ending_text)
    assert "--folder" in caught.value.hint
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(UsageError, match="exists and was not made by promoter demo"):
        demo(tmp_path / "demo", ending_text)


def test_no_address_of_the_examples_is_left_in_what_is_used(told: Told) -> None:
    shipped = [path for path, content in template.files() if EXAMPLES in content.decode()]
    assert shipped
    assert EXAMPLES not in "".join((told.folder / "gitops" / path).read_text() for path in shipped)


def test_on_a_cluster_it_has_names_of_its_own(tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git("init", "--quiet", "--bare", str(remote))
    place = Place(prepare(tmp_path / "demo"), remote.as_uri(), "promoter-demo-1")
    chosen = ClusterOptions(place.git_url, "registry.example.org/demo", "registry.example.org/serving:1")
    seed(place, edits(place, chosen))
    config = load(place.checkout / "promoter.yaml")
    environment = config.environment("staging")
    application = environment.application
    assert (application.name, application.repo_url, application.target_revision) == (place.branch, place.git_url, place.branch)
    assert environment.model.repository == "registry.example.org/demo/fraud-detector"
    assert config.image.runtime == "registry.example.org/serving:1"
    files = {file.relative_to(place.checkout).as_posix(): file.read_bytes() for file in place.checkout.rglob("*.yaml")}
    manifests = render(files, "overlays/staging", "unused")
    assert {item["metadata"]["namespace"] for item in manifests} == {place.branch}
    assert application.project == "default", "a demo makes no AppProject"
    assert not [item for item in manifests if item["kind"] == "NetworkPolicy"]
    assert git("-C", str(remote), "log", "--format=%s", place.branch) == "Start the GitOps repository"


def test_on_a_cluster_it_reports_at_once_what_is_missing(tmp_path: Path) -> None:
    options = ["--cluster", "--registry", "localhost:5000/demo", "--folder", str(tmp_path / "demo")]
    command = [sys.executable, "-m", "promoter", "demo", *options]
    done = subprocess.run(command, env={**os.environ, "PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 2
    missing = "--git-url, kubectl on PATH, ARGOCD_SERVER, ARGOCD_AUTH_TOKEN"
    assert f"error: the demo on a cluster can't start: missing are {missing}\n" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_options_of_a_cluster_without_one_are_refused() -> None:
    command = [sys.executable, "-m", "promoter", "demo", "--keep"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "hint: add --cluster" in done.stderr
