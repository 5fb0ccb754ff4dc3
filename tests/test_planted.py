"""A marker in every variable and setting that holds a secret: every command, with every answer, and all that leaves the process.

The servers quote each request back, headers and body, in the form that the real ones give their errors. What a server receives is
searched as well: each may see its own secrets only.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import typer.main
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from promoter.cli import app
from tests.support.argo_world import world
from tests.support.full import few
from tests.support.mlflow_server import MlflowServer, mlflow_server
from tests.support.write_path import WritePath, path

__all__ = ["mlflow_server", "path"]

ROOT = Path(__file__).parent.parent
SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|_PAT|_KEY)$")
NOTICES = ("SLACK_BOT_TOKEN", "SLACK_WEBHOOK_URL", "TEAMS_WEBHOOK_URL", "NOTICES_URL", "NOTICES_SECRET")
SYSTEMS = ("mlflow", "argocd", "git", "forge", "slack", "teams", "hook", "registry")
APP = "GITHUB_APP_PRIVATE_KEY"  # an App's key comes before the tokens: it has a test of its own


def marker(name: str) -> str:
    return f"planted-{name.lower().replace('_', '-')}-7f3a"


def documented() -> list[str]:
    """The variables of docs/configuration.md that are secrets by their names: a new one is planted as soon as it is documented."""
    section = (ROOT / "docs/configuration.md").read_text().partition("## Environment variables")[2]
    names = set(re.findall(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b", section)) | {"MLFLOW_TRACKING_PASSWORD", "NOTICES_SECRET"}
    return sorted(name for name in {*names, "SLACK_BOT_TOKEN"} if SECRET_NAME.search(name) and name != APP)


def forms(secret: str) -> Iterator[bytes]:
    """As it stands, quoted, and inside base64 of anything at each of its three alignments."""
    yield from (secret.encode(), quote(secret, safe="").encode())
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        yield encoded[(before * 8 + 5) // 6 : -1].encode()


def found(data: bytes, names: list[str]) -> list[str]:
    """Which of the planted secrets are in it."""
    return [name for name in names if any(form in data for form in forms(marker(name)))]


# -- servers that say everything back ---------------------------------------------------------------------------------


@dataclass
class Quoting:
    """`received` is all that came; `reads` is the status of a GET, if that is another."""

    url: str = ""
    status: int = 400
    reads: int = 0
    received: bytearray = field(default_factory=bytearray)

    @property
    def netloc(self) -> str:
        return self.url.partition("//")[2]


@contextmanager
def quoting(status: int) -> Iterator[Quoting]:
    made = Quoting(status=status)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            came = f"{self.requestline}\n{self.headers}".encode() + body
            made.received += came
            said = " ".join(came.decode("latin-1").split())
            errors = [{"code": "DENIED", "message": said, "type": said}]
            answer = {"error_code": "X", "message": said, "error": said, "errors": errors, "code": 3, "details": said}
            if "info/refs" in self.path:
                answer = {"x": f"remote: {said}"}
            content = json.dumps(answer).encode()
            self.send_response((self.command == "GET" and made.reads) or made.status, said[:200])
            if made.status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Type", "text/plain" if "info/refs" in self.path else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# -- the environment and the files ------------------------------------------------------------------------------------


def planted(there: dict[str, str], folder: Path) -> dict[str, str]:
    """Every variable that holds a secret; `there` has the address of each system."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "DOCKER_CONFIG": str(folder / ".docker"),
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(folder / "github-output"),
        "GITHUB_STEP_SUMMARY": str(folder / "github-summary"),
        **{name: marker(name) for name in documented()},
        "MLFLOW_TRACKING_URI": there["mlflow"],
        "MLFLOW_TRACKING_USERNAME": "somebody",
        "ARGOCD_SERVER": there["argocd"],
        "PROMOTER_GIT_HOSTS": f"{there['git']} {there['forge']}".replace("http://", ""),
        "SLACK_API_URL": f"{there['slack']}/api",
        "SLACK_WEBHOOK_URL": f"{there['slack']}/services/{marker('SLACK_WEBHOOK_URL')}",
        "TEAMS_WEBHOOK_URL": f"{there['teams']}/{marker('TEAMS_WEBHOOK_URL')}?sig=x",
        "NOTICES_URL": f"{there['hook']}/{marker('NOTICES_URL')}",
    }


def notices(there: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"slack": {"channel": "C0123456789", "token-from": "SLACK_BOT_TOKEN", "api-url": f"{there['slack']}/api"}},
        {"slack": {"url-from": "SLACK_WEBHOOK_URL"}},
        {"teams": {"url-from": "TEAMS_WEBHOOK_URL"}},
        {"webhook": {"url-from": "NOTICES_URL", "secret-from": "NOTICES_SECRET"}},
        {"github": {}},
    ]


def configured(folder: Path, there: dict[str, str]) -> None:
    """promoter.yaml, an Application and Docker's configuration; addresses that may carry a password do."""
    registry = there["registry"].partition("//")[2]
    with_password = {name: there[name].replace("://", f"://u:{marker(name)}@") for name in ("git", "forge")}
    config = {
        "models": {"m": {"image": f"{registry}/m", "kustomize-image": "m"}},
        "environments": [{"name": "e", "model": "m", "application": "app.yaml", "alias": "champion", "on-alias": "promote"}],
        "image": {"runtime": "scratch", "insecure-registries": [registry]},
        "git": {"push-url": f"{with_password['git']}/x.git"},
        "forge": {"kind": "github", "api-url": with_password["forge"], "repository": "o/r"},
        "mlflow": {"web-url": f"https://u:{marker('web')}@mlflow.example.com"},
        "argocd": {"web-url": f"https://u:{marker('web')}@argocd.example.com"},
        "notices": notices(there),
    }
    (folder / "promoter.yaml").write_text(json.dumps(config))
    source = {"repoURL": f"https://u:{marker('repo')}@git.example.com/x.git", "path": "o", "targetRevision": "main"}
    application = {
        "kind": "Application",
        "metadata": {"name": "m", "namespace": "argocd"},
        "spec": {"project": "p", "source": source},
    }
    (folder / "app.yaml").write_text(json.dumps(application))
    (folder / ".docker").mkdir()
    login = base64.b64encode(f"u:{marker('registry')}".encode()).decode()
    (folder / ".docker" / "config.json").write_text(json.dumps({"auths": {registry: {"auth": login}}}))


EVERY = [*documented(), *NOTICES, "git", "forge", "web", "repo", "registry"]
OWN: dict[str, list[str]] = {
    "mlflow": [
        "MLFLOW_TRACKING_PASSWORD",
        "PROMOTER_WEBHOOK_SECRET",
    ],  # `webhook register` gives MLflow the secret to sign with
    "argocd": ["ARGOCD_AUTH_TOKEN"],
    "git": ["PROMOTER_GIT_TOKEN"],
    "forge": ["PROMOTER_GIT_TOKEN"],
    "slack": ["SLACK_BOT_TOKEN", "SLACK_WEBHOOK_URL"],
    "teams": ["TEAMS_WEBHOOK_URL"],
    "hook": ["NOTICES_URL"],
    "registry": ["registry"],
}

COMMANDS: dict[str, tuple[str, ...]] = {
    "check": (),
    "model": ("m@champion",),
    "image": ("m@champion",),
    "plan": ("m@champion", "--to", "e"),
    "gates": ("e", "m@champion"),
    "promote": ("m@champion", "--to", "e"),
    "watch": ("e",),
    "rollback": ("e", "--yes"),
    "reject": ("m:2", "--reason", "wrong answers", "--yes"),
    "freeze": ("e", "--reason", "the shop is full"),
    "thaw": ("e",),
    "reconcile": (),
    "changed": (),
    "status": (),
    "history": ("e",),
    "where": ("m@champion",),
    "diff": ("e", "e"),
    "verify": ("e",),
    "report": ("--out", "report.html", "--records"),
    "open": ("e", "mlflow"),
    "schema": (),
    "completion": ("bash",),
    "version": (),
    "help": (),
    "notify test": (),
    "webhook register": ("https://receiver.example.com/mlflow",),
    "webhook list": (),
    "webhook test": (),
    "webhook delete": (),
}
ELSEWHERE = {
    "demo": "uses none of these variables: test_demo.py",
    "init": "uses none of these variables: test_init.py",
    "webhook serve": "does not end: the last test here",
}


def leaves(command: Any, name: str = "") -> Iterator[str]:
    for child, below in getattr(command, "commands", {}).items():
        yield from leaves(below, f"{name} {child}".strip())
    if not getattr(command, "commands", {}):
        yield name


def test_every_command_is_run() -> None:
    assert set(leaves(typer.main.get_command(app))) == {*COMMANDS, *ELSEWHERE}


def run(folder: Path, environ: dict[str, str], *arguments: str) -> tuple[int, bytes]:
    """The exit code, and all that the process and the pipeline around it show, with each request and process (-vv)."""
    command = [sys.executable, "-m", "promoter", "-vv", *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=False)
    files = [Path(environ[name]) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")]
    return done.returncode, done.stdout + done.stderr + b"".join(file.read_bytes() for file in files if file.exists())


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", few([200, 400, 401, 403, 404], "200", "403"))
def test_no_failure_shows_a_secret(tmp_path: Path, status: int) -> None:
    with ExitStack() as stack:
        systems = {name: stack.enter_context(quoting(status)) for name in SYSTEMS}
        there = {name: one.url for name, one in systems.items()}
        configured(tmp_path, there)
        environ = planted(there, tmp_path)
        for name, arguments in COMMANDS.items():
            for form in ([], ["-o", "json"]):
                if form and name in ("schema", "completion", "help", "webhook delete", "changed", "notify test"):
                    continue
                _, shown = run(tmp_path, environ, *name.split(), *arguments, *form)
                assert found(shown, EVERY) == [], (name, form)
                assert b"Traceback" not in shown, (name, shown.decode())
        for name, one in systems.items():
            allowed = OWN[name]
            assert [secret for secret in found(bytes(one.received), EVERY) if secret not in allowed] == [], name
        asked = [name for name, one in systems.items() if one.received]
    assert asked == [name for name in SYSTEMS if name in asked]
    assert {"mlflow", "git", "slack", "teams", "hook", "argocd"} <= set(asked)


@pytest.mark.parametrize(
    "variables",
    [
        {"MLFLOW_TRACKING_PASSWORD": "", "MLFLOW_TRACKING_USERNAME": ""},  # the token
        {"MLFLOW_TRACKING_URI": "http://u:{url}@"},
        {"PROMOTER_GIT_TOKEN": ""},  # the password in the address
    ],
)
def test_nor_with_another_of_the_credentials(tmp_path: Path, variables: dict[str, str]) -> None:
    with ExitStack() as stack:
        there = {name: stack.enter_context(quoting(400)).url for name in SYSTEMS}
        configured(tmp_path, there)
        environ = planted(there, tmp_path) | variables
        if variables.get("MLFLOW_TRACKING_URI"):
            environ["MLFLOW_TRACKING_URI"] = there["mlflow"].replace("://", f"://u:{marker('web')}@")
        for name in ("model", "history", "webhook list"):
            _, shown = run(tmp_path, environ, *name.split(), *COMMANDS[name])
            assert b"planted" not in shown
            assert found(shown, EVERY) == [], name


def test_nor_with_a_secret_from_a_file(tmp_path: Path) -> None:
    with quoting(400) as mlflow:
        there = dict.fromkeys(SYSTEMS, "http://127.0.0.1:1") | {"mlflow": mlflow.url}
        configured(tmp_path, there)
        (tmp_path / "webhook-secret").write_text(f"{marker('file')}\n")
        home = tmp_path / ".mlflow"
        home.mkdir()
        (home / "credentials").write_text(
            f"[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = {marker('home')}\n"
        )
        environ = planted(there, tmp_path) | {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}
        mlflow.reads = 200  # so that `register` goes on after its look at the list
        _, shown = run(
            tmp_path, environ, "webhook", "register", "https://r.example.com/mlflow", "--secret-file", "webhook-secret"
        )
    assert found(bytes(mlflow.received), ["file", "home"]) == ["file", "home"]
    assert b"POST /api/2.0/mlflow/webhooks" in shown
    assert found(shown, [*EVERY, "file", "home"]) == []


def test_nor_with_the_key_of_a_github_app(tmp_path: Path) -> None:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    with quoting(401) as forge:
        there = dict.fromkeys(SYSTEMS, "http://127.0.0.1:1") | {"forge": forge.url}
        configured(tmp_path, there)
        app = {"GITHUB_APP_ID": "12", "GITHUB_APP_INSTALLATION_ID": "678", APP: pem, "GITHUB_API_URL": forge.url}
        environ = planted(there, tmp_path) | app | {"PROMOTER_GIT_TOKEN": "", "GITHUB_SERVER_URL": forge.url}
        (tmp_path / "promoter.yaml").write_text(
            json.dumps(json.loads((tmp_path / "promoter.yaml").read_text()) | {"notices": [{"github": {}}]})
        )
        code, shown = run(tmp_path, environ, "notify", "test")
    assert (code, b"did not get a token" in shown) == (4, True), shown.decode()
    assert b"Bearer eyJ" in forge.received
    assert re.search(rb"eyJ[\w-]{8,}", shown) is None
    assert not [line for line in pem.splitlines() if len(line) > 20 and line.encode() in shown + bytes(forge.received)]


# -- success ----------------------------------------------------------------------------------------------------------


def test_no_success_shows_a_secret(path: WritePath, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as stack:
        systems = {name: stack.enter_context(quoting(200)) for name in SYSTEMS}
        there = {name: one.url for name, one in systems.items()}
        environ = planted(there, home) | {"MLFLOW_TRACKING_URI": path.server.url, "GIT_CONFIG_GLOBAL": os.devnull}
        del environ["ARGOCD_SERVER"]
        environ |= {f"GIT_{role}_{part}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
        path.config.write_text(path.config.read_text() + f"notices: {json.dumps(notices(there)[1:4])}\n")
        versions = [path.register(), path.register()]
        target = ("--to", "staging", "--config", str(path.config))
        here = ("--config", str(path.config))
        commands: list[tuple[str, ...]] = [
            ("model", f"{path.model}@challenger", *here),
            ("image", f"{path.model}@challenger", *here),
            *(("plan", f"{path.model}:{version}", *target) for version in versions),
            ("gates", "staging", f"{path.model}@challenger", *here),
            *(("promote", f"{path.model}:{version}", "--no-watch", *target) for version in versions),
            ("history", "staging", *here),
            ("changed", *here),
            ("rollback", "staging", "--yes", "--no-watch", *here),
            ("reject", f"{path.model}:{versions[1]}", "--reason", "wrong answers", "--yes", *here),
            ("freeze", "staging", "--reason", "the shop is full", *here),
            ("thaw", "staging", *here),
            ("notify", "test", *here),
            ("webhook", "register", f"{there['hook']}/mlflow", "--insecure", *here),
            ("webhook", "list", *here),
            ("webhook", "delete", *here),
        ]
        for command in commands:
            code, shown = run(path.folder, environ, *command)
            assert (code, found(shown, EVERY)) == (0, []), (command, shown.decode())
        for name, one in systems.items():
            assert [secret for secret in found(bytes(one.received), EVERY) if secret not in OWN[name]] == [], name
    everything = path.git("log", "-p", "--format=fuller", "--all").encode()
    everything += b"".join(file.read_bytes() for file in path.images.rglob("*") if file.is_file())
    assert found(everything, EVERY) == []


def test_nor_does_looking_at_what_runs(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    name = "planted"
    mlflow_server.register(name, f"models:/{mlflow_server.log_model()}", alias="champion")
    home = tmp_path / "home"
    home.mkdir()
    nowhere = dict.fromkeys(SYSTEMS, "http://127.0.0.1:1")
    environ = planted(nowhere, home) | mlflow_server.environ | {"HOME": str(home)}
    lines = "  alias: champion\n"
    with world(tmp_path, environ, model=name, lines=lines, settings="watch: {stable-for: 0.5}\n") as it:
        known = dict(it.clients.environ)
        for command in (("status",), ("status", "-o", "json"), ("reconcile", "-o", "json"), ("watch", "staging")):
            code, shown = run(tmp_path, known, *command, "--config", str(tmp_path / "promoter.yaml"))
            assert (code, found(shown, EVERY), known["ARGOCD_AUTH_TOKEN"].encode() in shown) == (0, [], False), shown.decode()


# -- the receiver -----------------------------------------------------------------------------------------------------


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def until(process: subprocess.Popen[bytes], enough: Callable[[bytes], bool]) -> bytes:
    """What it writes, up to a line after which it is enough; then it is ended, and what it writes then is added."""
    shown = b""
    assert process.stdout
    for line in process.stdout:
        shown += line
        if enough(shown):
            break
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate()
    return shown + rest


@pytest.mark.parametrize("form", ["json", "text"])
def test_nor_does_the_receiver_s_log(tmp_path: Path, form: str) -> None:
    with ExitStack() as stack:
        there = {name: stack.enter_context(quoting(400)).url for name in SYSTEMS}
        configured(tmp_path, there)
        command = [sys.executable, "-m", "promoter", "webhook", "serve", "--port", free_port(), "--interval", "1", "-o", form]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=planted(there, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        shown = until(process, lambda text: text.count(b"127.0.0.1") >= 4)
    assert shown.count(b"127.0.0.1") >= 4
    assert found(shown, EVERY) == []
    assert b"Traceback" not in shown
