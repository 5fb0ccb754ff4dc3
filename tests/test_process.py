"""Every process starts through one module: in an exact environment, a neutral folder, a group of its own, with a deadline."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from promoter.gitops import Proposal, Repository
from promoter.image.credentials import docker_credentials
from promoter.image.runtime import tools
from promoter.kustomize import render
from promoter.machine import process
from tests.support.git_server import bare_repository, isolated_environ
from tests.support.processes import has_ended

PACKAGE = Path(process.__file__).parents[1]
# The seam itself, and what runs by itself inside an image or its build.
MAY_START = {"machine/process.py", "serving/workers.py", "serving/trial.py", "serving/smoke.py", "image/runtime/install.py"}
STARTERS = {
    "system",
    "popen",
    "fork",
    "forkpty",
    "posix_spawn",
    "posix_spawnp",
    "create_subprocess_exec",
    "create_subprocess_shell",
}
SECRETS = dict.fromkeys(
    (
        "ARGOCD_AUTH_TOKEN",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "SYSTEM_ACCESSTOKEN",
        "PROMOTER_GIT_TOKEN",
        "GITHUB_APP_PRIVATE_KEY",
        "ACR_PASSWORD",
        "AZURE_CLIENT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "GIT_PASSWORD",
        "SLACK_BOT_TOKEN",
        "UNKNOWN",
    ),
    "made-up-secret",
)


def starts(file: Path) -> set[str]:
    """What this module has to start a process with."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & {"subprocess", "multiprocessing", "pty"}
        elif isinstance(node, ast.ImportFrom) and node.module in ("subprocess", "multiprocessing", "pty", "os"):
            found |= {alias.name for alias in node.names} & {"run", "call", "check_call", "check_output", *STARTERS}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Popen":
            found.add("Popen")
        elif isinstance(node, ast.Attribute) and (node.attr in STARTERS or node.attr.startswith(("exec", "spawn"))):
            found |= {node.attr} if isinstance(node.value, ast.Name) and node.value.id in ("os", "asyncio") else set()
    return found


def test_one_module_starts_processes() -> None:
    found = {str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if starts(file)}
    assert found == MAY_START


def test_a_list_names_variables_and_beginnings_of_names() -> None:
    environ = {
        "PATH": "/bin",
        "https_proxy": "p",
        "GIT_SSL_CERT": "mine.pem",
        "GIT_TOKEN": "t",
        "SSL_CERT_FILE": "/ca",
        "A": "a",
    }
    assert process.needed(environ, process.NETWORK | {"GIT_SSL_*"}) == {
        "PATH": "/bin",
        "https_proxy": "p",
        "GIT_SSL_CERT": str(Path("mine.pem").absolute()),
        "SSL_CERT_FILE": "/ca",
    }
    assert process.needed({"PROMOTER_PASS_ENV": "AWS_*, A", "AWS_X": "x", "A": "a"}, (), more=True) == {"AWS_X": "x", "A": "a"}


def test_the_environment_is_all_that_the_child_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNKNOWN", "x")
    done = process.run(["/usr/bin/env"], environ={"ONLY": "this"}, seconds=60)
    assert (done.status, done.output) == (0, "ONLY=this\n")


def test_a_child_has_no_terminal_to_ask_at() -> None:
    done = process.run(["/bin/sh", "-c", ": < /dev/tty"], environ={}, seconds=60)
    assert done.status != 0


@pytest.mark.parametrize("gives_up", [False, True])
def test_a_process_that_hangs_ends_with_its_children(tmp_path: Path, gives_up: bool) -> None:
    script = f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/child; wait; sleep 600"
    started = Popen(["/bin/sh", "-c", script], stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True)
    with pytest.raises(process.HungError):
        process.finish(started, None, 600 if gives_up else 1, lambda: gives_up and (tmp_path / "child").exists())
    assert has_ended(int((tmp_path / "child").read_text()))


def test_much_is_written_and_read_at_once() -> None:
    data = os.urandom(1 << 21)
    assert process.run(["/bin/cat"], environ={}, stdin=data, seconds=60) == process.Done(0, data, b"")


def test_input_is_not_lost_by_a_process_that_reads_it_late() -> None:
    data = os.urandom(1 << 20)
    command = ["/bin/sh", "-c", "sleep 2.5; exec cat"]
    assert process.run(command, environ={"PATH": os.environ["PATH"]}, stdin=data, seconds=60).out == data


def test_input_that_nobody_reads_is_let_go() -> None:
    assert process.run(["/bin/true"], environ={}, stdin=bytes(1 << 20), seconds=60) == process.Done(0, b"", b"")


# -- a checkout that holds a trap for each tool -----------------------------------------------------------------------


class Trapped:
    """A folder whose files would run, or decide, if a tool looked at the folder that promoter was started in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sprung, self.records = folder / "checkout", folder / "sprung", folder / "records"
        self.bin = folder / "bin"
        for made in (self.folder, self.records, self.bin):
            made.mkdir()
        python = f"open({str(self.sprung)!r}, 'w').close()\n"
        for name in ("pip/__main__.py", "pip/__init__.py", "uv/__init__.py", "sitecustomize.py", "usercustomize.py", "git.py"):
            self._write(name, python)
        shell = f"touch {self.sprung}"
        self._write("uv.toml", '[[index]]\nurl = "http://127.0.0.1:9/simple"\ndefault = true\n')
        self._write("pyproject.toml", '[tool.uv]\nindex-url = "http://127.0.0.1:9/simple"\n')
        self._write("pip.conf", "[global]\nindex-url = http://127.0.0.1:9/simple\n")
        settings = f"[core]\nsshCommand = {shell}\nfsmonitor = {shell}\nhooksPath = {self.folder}/hooks\n"
        settings += f"[alias]\nfetch = !{shell}\n[commit]\ngpgSign = true\n[gpg]\nprogram = {self.folder}/gpg\n"
        settings += f'[credential]\nhelper = "!{shell}"\n'
        self._write(".git/config", settings)
        self._write(".gitconfig", settings)
        self._write(".git/HEAD", "ref: refs/heads/main\n")
        (self.folder / ".git/objects").mkdir()
        (self.folder / ".git/refs").mkdir()
        for name in ("git", "gpg", "kustomize", "docker-credential-test", "hooks/reference-transaction", "hooks/pre-push"):
            self._write(name, f"#!/bin/sh\n{shell}\n")
            (self.folder / name).chmod(0o755)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def recorded(self, name: str, then: str) -> None:
        """A program on PATH that writes down what it was started with, and goes on as the real one."""
        file = self.bin / name
        record = f'{{ pwd; /usr/bin/env; }} > "$(mktemp {self.records}/{name}.XXXXXX)"'
        # GitPython asks for the version while it is imported.
        file.write_text(f'#!/bin/sh\n[ "$1" = version ] || {record}\n{then}\n')
        file.chmod(0o755)

    def seen(self, name: str) -> list[str]:
        return [file.read_text() for file in self.records.glob(f"{name}.*")]


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trapped:
    there = Trapped(tmp_path)
    real = {name: shutil.which(name) for name in ("git", "kustomize")}
    for name, path in real.items():
        if path:
            there.recorded(name, f'exec {path} "$@"')
    for name in list(os.environ):
        if name.startswith(("UV_", "GIT_")):
            monkeypatch.delenv(name)
    for name, value in {**isolated_environ(tmp_path / "home"), **SECRETS, "PYTHONPATH": str(there.folder)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{there.bin}:{os.environ['PATH']}")
    monkeypatch.chdir(there.folder)
    return there


def safe(trapped: Trapped, name: str) -> None:
    """It was started, not in the checkout, with none of the secrets; and no trap was sprung."""
    seen = trapped.seen(name)
    assert seen
    for record in seen:
        assert record.startswith("/\n")
        assert "made-up-secret" not in record
        assert "PATH=" in record
        assert "PYTHONPATH" not in record
    assert not trapped.sprung.exists()


def test_git_in_a_trapped_checkout(tmp_path: Path, trapped: Trapped) -> None:
    origin = bare_repository(tmp_path)
    origin.commit({"a": b"1"})
    for record in trapped.records.iterdir():
        record.unlink()
    repository = Repository(origin.url, "main", cache=tmp_path / "cache", environ=os.environ)
    pushed = repository.apply(lambda _: Proposal({"a": b"2"}, "Change"))
    safe(trapped, "git")
    assert pushed.tip == origin.tip()


def test_a_repository_named_by_a_relative_path_is_still_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = bare_repository(tmp_path)
    tip = origin.commit({"a": b"1"})
    monkeypatch.chdir(tmp_path)
    environ = isolated_environ(tmp_path / "home")
    assert Repository("origin.git", "main", cache=tmp_path / "cache", environ=environ).fetch().commit == tip


def test_kustomize_in_a_trapped_checkout(trapped: Trapped) -> None:
    if not trapped.bin.joinpath("kustomize").exists():
        pytest.skip("kustomize is not installed")
    config = b"resources: [a.yaml]\n"
    manifest = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    assert "name: a" in str(render.build({"o/kustomization.yaml": config, "o/a.yaml": manifest}, "o"))
    safe(trapped, "kustomize")


def test_a_credential_helper_in_a_trapped_checkout(tmp_path: Path, trapped: Trapped) -> None:
    trapped.recorded("docker-credential-test", """echo '{"Username": "ada", "Secret": "s"}'""")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"credHelpers": {"registry.example.org": "test"}}')
    found = docker_credentials("registry.example.org", {**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker")})
    assert found is not None
    assert found.username == "ada"
    safe(trapped, "docker-credential-test")


def test_the_login_program_of_a_cloud_gets_what_that_cloud_needs(tmp_path: Path, trapped: Trapped) -> None:
    trapped.recorded("docker-credential-ecr-login", """echo '{"Username": "ada", "Secret": "s"}'""")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"credHelpers": {"registry.example.org": "ecr-login"}}')
    docker_credentials("registry.example.org", {**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker")})
    (record,) = trapped.seen("docker-credential-ecr-login")
    assert record.count("made-up-secret") == 1
    assert "AWS_SECRET_ACCESS_KEY=made-up-secret" in record


def test_uv_and_pip_in_a_trapped_checkout(trapped: Trapped) -> None:
    assert tools.pip(["--version"], os.environ).output.startswith("pip ")
    found = tools.uv(["pip", "compile", "--no-index", "--python", sys.executable, "-"], "", os.environ)
    assert found.status == 0, found.errors
    assert tools._pip_indexes(os.environ).get("UV_DEFAULT_INDEX") != "http://127.0.0.1:9/simple"
    assert not trapped.sprung.exists()
