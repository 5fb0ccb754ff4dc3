"""A server of somebody else: it records each request as it came, and a secret among the bytes fails the test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Listener:
    """`received` is all that came, of every connection."""

    port: int
    received: bytearray = field(default_factory=bytearray)

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"


@contextmanager
def listening(*secrets: str, answer: bytes = b"") -> Iterator[Listener]:
    """Answers each request with `answer` (401 if there is none), and asserts at the end that none of the secrets came."""
    answer = answer or b'HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Listener(server.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(server, found, answer))
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for secret in secrets:
        assert secret.encode() not in found.received


def _serve(server: socket.socket, found: Listener, answer: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                head += piece
            found.received += head
            connection.sendall(answer)
