"""The internet on loopback: a proxy that answers for every host itself, over real TLS with a certificate made for it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ALL_PROXY", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; `url` without its query."""

    method: str
    url: str
    query: tuple[tuple[str, str], ...]
    headers: Message
    body: bytes = field(repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def form(self) -> dict[str, str]:
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        return dict(parse_qsl(self.body.decode(), strict_parsing=True))


Answer = tuple[int, Mapping[str, str], bytes]
Service = Callable[[Request], Answer]


@dataclass
class Internet:
    """`services` by host; a host that has none answers 400. `proxy` can be asked as a server too: its host is `address`."""

    proxy: str
    bundle: Path
    services: dict[str, Service] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @property
    def address(self) -> str:
        return urlsplit(self.proxy).netloc

    def reach(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lets this process and its children go out through the proxy, and trust its certificate, for as long as the test runs."""
        for name in _PROXY_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", self.proxy)
        monkeypatch.setenv("HTTPS_PROXY", self.proxy)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(self.bundle))

    def asked(self, host: str) -> list[str]:
        """`METHOD path` of what this host was asked, in order."""
        return [f"{request.method} {request.path}" for request in self.requests if request.host == host]


@contextmanager
def internet(folder: Path, names: tuple[str, ...]) -> Iterator[Internet]:
    """Runs it, with a certificate for these names."""
    context = _certificate(folder, names)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    world = Internet(f"http://127.0.0.1:{server.server_port}", folder / "certificate.pem")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"world": world, "context": context})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certificate(folder: Path, names: tuple[str, ...]) -> ssl.SSLContext:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ",".join(f"DNS:{name}" for name in names)
    options = [
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
    ]
    about = ["-addext", f"subjectAltName={subject}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *options, *about], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: Internet
    context: ssl.SSLContext
    origin = ""

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.origin = f"https://{self.path.removesuffix(':443')}"
        try:
            self.connection = self.context.wrap_socket(self.connection, server_side=True)
        except ssl.SSLError:  # the client does not take our certificate for that host
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.close_connection = False

    def do_GET(self) -> None:
        url = urlsplit(f"{self.origin or self.world.proxy}{self.path}" if self.path.startswith("/") else self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = tuple(parse_qsl(url.query, keep_blank_values=True))
        request = Request(self.command, f"{url.scheme}://{url.netloc}{url.path}", query, self.headers, body)
        self.world.requests.append(request)
        status, headers, content = self.world.services.get(request.host, _nobody)(request)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_POST = do_PATCH = do_PUT = do_GET

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def log_message(self, *args: Any) -> None:
        pass


def _nobody(request: Request) -> Answer:
    return 400, {}, f"no service at {request.host}".encode()
