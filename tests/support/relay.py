"""A TCP relay on loopback: a CONNECT proxy, or a bad line to one server, slow and cut now and then."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 65536


@dataclass
class Line:
    """How connections fare: `latency` gives the seconds that each chunk is held up, `lasts` after how many bytes one is cut."""

    url: str = ""
    latency: Callable[[], float] = lambda: 0.0
    lasts: Callable[[], int | None] = lambda: None
    reached: list[str] = field(default_factory=list)
    cut: int = 0


@contextmanager
def relaying(upstream: tuple[str, int] | None = None, through: Line | None = None) -> Iterator[Line]:
    """Relays to `upstream`; without one, to wherever CONNECT names."""
    line = through or Line()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            with suppress(OSError):
                target = upstream or _connect_target(client)
                line.reached.append(f"{target[0]}:{target[1]}")
                with socket.create_connection(target) as server:
                    if upstream is None:
                        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _relay(client, server, line)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        line.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield line
        finally:
            listening.shutdown()
            thread.join()


def _connect_target(client: socket.socket) -> tuple[str, int]:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    host, _, port = head.split()[1].decode().partition(":")
    return host, int(port)


def _relay(client: socket.socket, server: socket.socket, line: Line) -> None:
    left = line.lasts()
    back = threading.Thread(target=_copy, args=(server, client, line, left), daemon=True)
    back.start()
    _copy(client, server, line, None)
    back.join()


def _copy(source: socket.socket, target: socket.socket, line: Line, left: int | None) -> None:
    """Copies until one side ends, or until so many bytes are through: then both are cut off."""
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            time.sleep(line.latency())
            if left is not None and len(chunk) >= left:
                line.cut += 1
                source.shutdown(socket.SHUT_RDWR)
                break
            left = None if left is None else left - len(chunk)
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
