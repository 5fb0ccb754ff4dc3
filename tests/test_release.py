"""A release, made by the script that the workflow runs, and used where there is nothing but the wheel."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from promoter import __version__
from promoter.demo.sandbox import Application, Behaviour, Sandbox, ScriptedRuntime
from promoter.demo.sandbox.sandbox import fast_clock
from promoter.errors import UsageError
from promoter.image.runtime import tools
from promoter.machine import extras
from tests.support.mlflow_server import MlflowServer, mlflow_server
from tests.support.write_path import WritePath, unique_name

__all__ = ["mlflow_server"]

ROOT = Path(__file__).parent.parent
_MACHINE = tuple(os.environ.items())
"""Before a test gets an environment of its own: where packages come from is the machine's affair."""
WHEEL = f"model_promoter-{__version__}-py3-none-any.whl"
SDIST = f"model_promoter-{__version__}.tar.gz"
LARGEST = 60_000_000  # bytes that a pipeline has to install


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def release(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run([str(checkout / ".ci/release"), *arguments], env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository as it would be tagged: committed, and with a section of its version in the changelog."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file() and not source.is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    changes = folder / "CHANGELOG.md"
    changes.write_text(changes.read_text().replace("## Unreleased", f"## {__version__} - 2026-11-28", 1))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "Release")
    return folder


@pytest.fixture(scope="module")
def made(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a release."""
    folder = tmp_path_factory.mktemp("release")
    done = release(checkout, f"v{__version__}", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_release_is_made_of_what_the_workflow_publishes(made: Path) -> None:
    assert {one.name for one in made.iterdir()} == {"SHA256SUMS", SDIST, WHEEL, "sbom.cdx.json"}
    sums = {hashlib.sha256((made / name).read_bytes()).hexdigest() + "  " + name for name in (WHEEL, SDIST, "sbom.cdx.json")}
    assert set((made / "SHA256SUMS").read_text().splitlines()) == sums


def test_the_same_commit_gives_the_same_bytes(checkout: Path, made: Path, tmp_path: Path) -> None:
    assert release(checkout, f"v{__version__}", str(tmp_path)).returncode == 0
    assert (tmp_path / "SHA256SUMS").read_text() == (made / "SHA256SUMS").read_text()


def test_the_wheel_has_what_a_new_repository_starts_from_and_the_sdist_its_sources(made: Path) -> None:
    template = "promoter/commands/scaffold/template_files/"
    with zipfile.ZipFile(made / WHEEL) as wheel:
        names = set(wheel.namelist())
        assert wheel.read(f"{template}promoter.yaml") == (ROOT / "promoter.yaml").read_bytes()
    assert f"{template}base/kustomization.yaml" in names
    assert f"{template}azure-pipelines.yml" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]
    with tarfile.open(made / SDIST) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"promoter/__init__.py", "tests/test_release.py", "README.md", "hatch_build.py"} <= inside


def test_the_list_of_packages_is_what_pipelines_install(made: Path) -> None:
    bill = json.loads((made / "sbom.cdx.json").read_text())
    locked = re.findall(r"(?m)^([\w.-]+)==([^ ;\\]+)", (ROOT / "requirements.install.lock").read_text())
    assert [(one["name"], one["version"]) for one in bill["components"]] == locked
    hashes = [one["content"] for part in bill["components"] for one in part["externalReferences"][0]["hashes"]]
    assert hashes == re.findall(r"--hash=sha256:(\w{64})", (ROOT / "requirements.install.lock").read_text())
    assert all(one["externalReferences"][0]["hashes"] for one in bill["components"])
    assert bill["metadata"]["component"]["version"] == __version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("v0.0.0", "x"), "the tag is v0.0.0, and promoter is version"),
        ((f"v{__version__}",), "which tag, and where to?"),
        ((), "which tag, and where to?"),
    ],
)
def test_another_tag_is_refused(checkout: Path, arguments: tuple[str, ...], message: str) -> None:
    done = release(checkout, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize(
    ("file", "message"),
    [("CHANGELOG.md", f"CHANGELOG.md has no section {__version__}"), ("README.md", "changes that are not committed")],
)
def test_a_checkout_that_is_not_what_was_tagged_is_refused(checkout: Path, tmp_path: Path, file: str, message: str) -> None:
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder, symlinks=True)
    text = (folder / file).read_text()
    (folder / file).write_text(text.replace(f"## {__version__} - ", "## Later ") + "\n")
    done = release(folder, f"v{__version__}", str(tmp_path / "out"))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_committed_does_not_get_into_the_wheel(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder, symlinks=True)
    (folder / "promoter/notes.py").write_text("")
    done = release(folder, f"v{__version__}", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "changes that are not committed" in done.stderr


# -- where there is nothing but the wheel -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of an environment that has the wheel and what it needs, no extra."""
    folder = tmp_path_factory.mktemp("clean")
    environ = dict(_MACHINE) | {"VIRTUAL_ENV": str(folder)}
    uv = tools._uv(dict(_MACHINE))
    subprocess.run(
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)], env=environ, check=True
    )
    python = str(folder / "bin/python")
    command = [uv, "pip", "install", "--quiet", "--python", python, str(made / WHEEL)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode and re.search(r"(?i)connect|resolve|retr|timed out|index", done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin/promoter"


def run(program: Path, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more
    return subprocess.run([str(program), *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False)


def test_from_the_wheel_alone_to_a_repository_that_is_checked(installed: Path, tmp_path: Path) -> None:
    repo = "https://github.com/team/gitops.git"
    made = run(installed, tmp_path, "init", "--model", "churn", "--registry", "contoso.azurecr.io/models", "--repo", repo)
    assert made.returncode == 0, made.stderr
    checked = run(installed, tmp_path, "check", "--offline")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "error" not in checked.stdout
    assert run(installed, tmp_path, "version").stdout.startswith(f"promoter   {__version__}\n")
    assert run(installed, tmp_path, "help", "promote").returncode == 0


def test_from_the_wheel_alone_to_a_release_that_is_live(installed: Path, tmp_path: Path, mlflow_server: MlflowServer) -> None:
    """The commands that init ends with; the sandbox is the cluster and its Argo CD."""
    remote, checkout, model = tmp_path / "gitops.git", tmp_path / "gitops", unique_name()
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    git(tmp_path, "clone", "--quiet", str(remote), str(checkout))
    options = ("--registry", "contoso.azurecr.io/models", "--mlflow", mlflow_server.url, "--environments", "staging")
    assert run(installed, checkout, "init", "--model", model, *options).returncode == 0
    file = checkout / "promoter.yaml"
    file.write_text(file.read_text().replace("  base: python:{python}-slim", "  runtime: scratch\n  layout: oci:../images"))
    git(checkout, "add", "--all")
    git(checkout, "-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "Start")
    git(checkout, "push", "--quiet", "origin", "HEAD:main")
    version = WritePath(checkout, mlflow_server, model).register()

    [manifest] = (checkout / "environments").glob("*-staging.yaml")
    spec = YAML(typ="safe", pure=True).load(manifest)
    source, clock = spec["spec"]["source"], fast_clock(30)
    application = Application(
        spec["metadata"]["name"],
        spec["spec"]["project"],
        source["repoURL"],
        source["path"],
        spec["spec"]["destination"]["namespace"],
    )
    runtime = ScriptedRuntime(lambda _: Behaviour(), clock)
    with Sandbox([application], folder=tmp_path / "sandbox", runtime=runtime, clock=clock) as sandbox:
        argocd = {"ARGOCD_SERVER": sandbox.url, "ARGOCD_AUTH_TOKEN": sandbox.token}
        checked = run(installed, checkout, "check", **argocd)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "no Rollout or Deployment" not in checked.stdout
        promoted = run(installed, checkout, "promote", f"{model}@challenger", "--to", "staging", "-o", "json", **argocd)
        assert promoted.returncode == 0, promoted.stderr
        assert json.loads(promoted.stdout.splitlines()[-1])["verdict"]["kind"] == "live"
        status = run(installed, checkout, "status", "-o", "json", **argocd)
        assert status.returncode == 0, status.stdout + status.stderr
        assert f'"version": "{version}"' in status.stdout


def test_little_is_installed_without_an_extra(installed: Path) -> None:
    folder = installed.parent.parent
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    assert size <= LARGEST
    packages = {one.name for one in (folder / "lib").glob("python*/site-packages/*")}
    assert not packages & {"mlflow", "uv", "azure", "jwt", "isal", "sklearn"}
    assert not (folder / "bin/uv").exists()


def test_what_lacks_an_extra_names_it(installed: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "MLFLOW_TRACKING_URI": "databricks"}
    environ.pop("PYTHONPATH", None)
    command = [str(installed), "model", "churn@champion"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "needs MLflow's client" in done.stderr
    assert "its extra mlflow" in done.stderr


# -- what is optional -------------------------------------------------------------------------------------------------


def test_uv_is_found_on_path_where_it_was_not_installed_with_promoter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    (tmp_path / "uv").write_text("#!/bin/sh\necho on the path: $1\n")
    (tmp_path / "uv").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "UV_INDEX": "https://index.example.com"}
    assert tools.uv(["version"], "", environ).output == "on the path: version\n"
    with pytest.raises(UsageError, match="uv locks a model's requirements") as error:
        tools.uv(["version"], "", {"PATH": str(tmp_path / "nowhere")})
    assert "its extra runtime" in error.value.hint
    assert "put uv on PATH" in error.value.hint


def test_every_extra_that_is_named_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    code = "".join(file.read_text() for file in (ROOT / "promoter").rglob("*.py"))
    named = set(re.findall(r"""\binstall\(["']([\w-]+)["']\)""", code))
    assert named == set(project["optional-dependencies"])


def test_pages_claim_what_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PUBLISHED` and README's section Install are the two places that change at the first release."""
    pages = [
        file for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if file.name not in ("README.md", "CHANGELOG.md")
    ]
    assert len(pages) > 10
    assert [page.name for page in pages if re.search(r"pip install \W?model-promoter", page.read_text())] == []
    readme = (ROOT / "README.md").read_text().partition("## Install")[2].partition("\n## ")[0]
    assert ("pip install model-promoter" in readme) is extras.PUBLISHED
    assert "pip install" in readme
    monkeypatch.setattr(extras, "PUBLISHED", True)
    assert extras.install("azure") == "pip install 'model-promoter[azure]'"


def test_the_workflow_publishes_what_the_script_has_made() -> None:
    workflow = YAML(typ="safe", pure=True).load(ROOT / ".github/workflows/release.yml")
    jobs = workflow["jobs"]
    runs = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    assert '.ci/release "$TAG" dist' in runs["packages"]
    assert "sha256sum --check SHA256SUMS" in runs["pypi"]
    assert "--trusted-publishing always" in runs["pypi"]
    assert jobs["pypi"]["permissions"]["id-token"] == "write"
    assert "--sbom=true --provenance=mode=max" in runs["image"]
    assert [name for name, job in jobs.items() if "id-token" in job["permissions"]] == ["pypi", "github"]
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()
