"""A package index on a loopback port that wants a token, and wheels small enough to make here."""

from __future__ import annotations

import base64
import hashlib
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = "index-token-2f6c1b8e"


@dataclass(frozen=True)
class PackageIndex:
    """`asked` has the path of each answered request, and of those without the token with `401 ` before."""

    port: int
    asked: list[str]

    @property
    def url(self) -> str:
        """As pip's configuration has it, with the token."""
        return f"http://ci:{TOKEN}@127.0.0.1:{self.port}/simple/"

    @property
    def url_without_token(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"


@contextmanager
def serving_wheels(folder: Path) -> Iterator[PackageIndex]:
    """The wheels of this folder by the simple API (PEP 503), with their metadata next to them (PEP 658)."""
    asked: list[str] = []

    class Handler(_Handler):
        wheels = folder
        log = asked

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield PackageIndex(server.server_address[1], asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    wheels: Path
    log: list[str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"ci:{TOKEN}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.log.append(f"401 {self.path}")
            return self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="index"'})
        self.log.append(self.path)
        _, kind, name, *_ = [*self.path.split("/"), "", ""]
        body = self._page(name) if kind == "simple" else self._file(name)
        return self._answer(
            404 if body is None else 200, body or b"", {"Content-Type": "text/html"} if kind == "simple" else {}
        )

    def _page(self, project: str) -> bytes | None:
        found = [path for path in sorted(self.wheels.glob("*.whl")) if _project(path.name) == project]
        links = "".join(
            f'<a href="/files/{p.name}#sha256={_sha256(p)}" data-core-metadata="true">{p.name}</a>\n' for p in found
        )
        return links.encode() if found else None

    def _file(self, name: str) -> bytes | None:
        path = self.wheels / name.removesuffix(".metadata")
        if not path.is_file():
            return None
        if not name.endswith(".metadata"):
            return path.read_bytes()
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(next(entry for entry in wheel.namelist() if entry.endswith(".dist-info/METADATA")))

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _project(file: str) -> str:
    return file.partition("-")[0].replace("_", "-").replace(".", "-").lower()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_wheel(folder: Path, name: str, version: str, *, requires: Sequence[str] = (), tag: str = "py3-none-any") -> Path:
    """A wheel with one empty module."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-{version}-{tag}.whl", f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
    return path
