"""Git remotes for tests: bare repositories on disk, and a smart-HTTP server around `git http-backend` that can misbehave."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

IDENTITY = {"NAME": "Ada Writer", "EMAIL": "ada@example.org"}


def isolated_environ(home: Path, *, identity: bool = True) -> dict[str, str]:
    """An environment in which git sees nothing of the person who runs the tests."""
    home.mkdir(parents=True, exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}
    if identity:
        environ |= {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in IDENTITY.items()}
    return environ


@dataclass(frozen=True)
class BareRepository:
    """A bare repository as a forge has it, at `path`; `environ` is the isolated environment its commands run in."""

    path: Path
    environ: dict[str, str]

    @property
    def url(self) -> str:
        return self.path.as_uri()

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        run = subprocess.run(
            ["git", "-C", str(self.path), *arguments], input=stdin, env=self.environ, capture_output=True, check=False
        )
        if run.returncode:
            raise AssertionError(f"git {' '.join(arguments)}: {run.stderr.decode()}")
        return run.stdout.decode().rstrip("\n")

    def tip(self, branch: str = "main") -> str:
        return self.git("rev-parse", f"refs/heads/{branch}")

    def show(self, path: str, commit: str = "main") -> bytes:
        return subprocess.run(
            ["git", "-C", str(self.path), "cat-file", "blob", f"{commit}:{path}"],
            env=self.environ,
            capture_output=True,
            check=True,
        ).stdout

    def commit(
        self,
        files: dict[str, bytes],
        message: str = "Somebody else's commit",
        *,
        modes: dict[str, str] | None = None,
        branch: str = "main",
    ) -> str:
        """Commits files straight into the bare repository, as another writer would push them."""
        head = subprocess.run(
            ["git", "-C", str(self.path), "rev-parse", "-q", "--verify", f"refs/heads/{branch}"],
            env=self.environ,
            capture_output=True,
            check=False,
        ).stdout.decode()
        lines = [
            b"commit refs/heads/%s\nmark :1\ncommitter Bob <bob@example.org> %d +0000\n" % (branch.encode(), int(time.time()))
        ]
        lines.append(b"data %d\n%s\n" % (len(message.encode()), message.encode()))
        if head:
            lines.append(b"from %s\n" % head.strip().encode())
        for path, content in files.items():
            mode = (modes or {}).get(path, "100644").encode()
            quoted = b'"' + path.encode().replace(b'"', b'\\"') + b'"'
            if mode == b"160000":
                lines.append(b"M %s %s %s\n" % (mode, content, quoted))
            else:
                lines.append(b"M %s inline %s\ndata %d\n%s\n" % (mode, quoted, len(content), content))
        return self.git("fast-import", "--quiet", stdin=b"".join([*lines, b"get-mark :1\n"]))

    def hook(self, name: str, script: str) -> None:
        path = self.path / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def objects_in(directory: Path) -> Counter[str]:
    """How many objects of each kind a repository holds."""
    command = ["git", "--git-dir", str(directory), "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]
    return Counter(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())


def bare_repository(
    root: Path, name: str = "origin.git", *, filters: bool = True, object_format: str = "sha1"
) -> BareRepository:
    """An empty bare repository; with `filters`, it serves partial clones."""
    environ = isolated_environ(root / "server-home")
    path = root / name
    format = f"--object-format={object_format}"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", format, str(path)], env=environ, check=True)
    repository = BareRepository(path, environ)
    repository.git("config", "uploadpack.allowFilter", "true" if filters else "false")
    repository.git("config", "http.receivepack", "true")
    return repository


@dataclass
class Behaviour:
    """What the server does in addition to serving; tests change it while it runs."""

    username: str = ""
    password: str = ""
    dumb: bool = False
    page: bytes = b""  # a web page, in the place of every answer
    redirect_to: str = ""
    fail: dict[str, list[int]] = field(default_factory=dict)  # statuses to answer next, by what the path ends with
    bearer: str = ""  # the only token taken, in an Authorization: Bearer header
    shallow: bool = True  # False: the server does not know of shallow clones
    cut_pushes: int = 0  # how many pushes are carried out, and then the connection breaks before the answer
    delay: float = 0.0


class GitServer:
    """Serves every bare repository below `root` at `url`/<name>, on loopback.

    With a `certificate` (a file that holds its key too) it speaks HTTPS. `requests` lists (method, path with query); `authorizations` the Authorization headers seen; `sent` counts body bytes.
    """

    def __init__(self, root: Path, behaviour: Behaviour | None = None, certificate: Path | None = None) -> None:
        self.root, self.behaviour = root, behaviour or Behaviour()
        self.requests: list[tuple[str, str]] = []
        self.authorizations: list[str] = []
        self.sent = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.netloc = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{'https' if certificate else 'http'}://{self.netloc}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # Not when a connection is accepted: a client that refuses the certificate must not keep the others waiting.
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def __enter__(self) -> GitServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def backend(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> bytes:
        """What `git http-backend` (CGI) answers."""
        environ = isolated_environ(self.root / "server-home") | {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": method,
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
            "REMOTE_USER": "tester",
            "REMOTE_ADDR": "127.0.0.1",
        }
        return subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=False).stdout


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: GitServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body, behaviour, url = self._body(), self.owner.behaviour, urlsplit(self.path)
        self.owner.requests.append((self.command, self.path))
        if authorization := self.headers.get("Authorization"):
            self.owner.authorizations.append(authorization)
        time.sleep(behaviour.delay)
        if behaviour.redirect_to:
            return self._answer(301, [("Location", behaviour.redirect_to + self.path)], b"")
        if behaviour.bearer and self.headers.get("Authorization") != f"Bearer {behaviour.bearer}":
            return self._answer(401, [("WWW-Authenticate", "Bearer")], b"")
        if behaviour.password and not self._known(behaviour):
            return self._answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
        for suffix, statuses in behaviour.fail.items():
            if self.path.endswith(suffix) and statuses:
                return self._answer(statuses.pop(0), [], b"")
        if behaviour.dumb or behaviour.page:
            return self._file(self.owner.root / url.path.lstrip("/"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        head, _, answer = self.owner.backend(self.command, url.path, url.query, headers, body).partition(b"\r\n\r\n")
        if url.path.endswith("git-receive-pack") and self.command == "POST" and behaviour.cut_pushes:
            behaviour.cut_pushes -= 1
            self.close_connection = True
            return None
        fields = [(name, value) for name, mark, value in (line.partition(": ") for line in head.decode().split("\r\n")) if mark]
        status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
        if not behaviour.shallow:
            answer = answer.replace(b"0027fetch=shallow wait-for-done filter\n", b"001ffetch=wait-for-done filter\n")
        return self._answer(status, [pair for pair in fields if pair[0] != "Status"], answer)

    def _known(self, behaviour: Behaviour) -> bool:
        pair = base64.b64encode(f"{behaviour.username}:{behaviour.password}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {pair}"

    def _file(self, path: Path) -> None:
        if page := self.owner.behaviour.page:
            return self._answer(200, [("Content-Type", "text/html")], page)
        found = path.is_file()
        return self._answer(200 if found else 404, [], path.read_bytes() if found else b"")

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.owner.sent += len(body)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


_SERVER = """
import sys
from pathlib import Path
from tests.support.git_server import GitServer
with GitServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    for _ in sys.stdin:
        print(server.sent, flush=True)
"""


class ServedRepository:
    """A repository that a process of its own serves, so that what is measured shares no interpreter with it."""

    def __init__(self, origin: BareRepository, process: subprocess.Popen[str]) -> None:
        self.origin, self._process = origin, process
        self.url = f"{self._said()}/{origin.path.name}"

    @property
    def sent(self) -> int:
        """Bytes of all answers until now, HTTP headers left out."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._said())

    def _said(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


@contextmanager
def served_apart(folder: Path, origin: BareRepository) -> Iterator[ServedRepository]:
    """A GitServer below `folder` in another process."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield ServedRepository(origin, process)
        assert process.stdin
        process.stdin.close()


def throw_away_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, and its key, in one file."""
    file = folder / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", str(file), "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


def git_program_recording_arguments(folder: Path, record: Path) -> None:
    """Puts a `git` into `folder` that writes its arguments to `record`, then becomes the real one."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "git"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> "{record}"\nexec "{shutil.which("git")}" "$@"\n')
    program.chmod(0o755)
