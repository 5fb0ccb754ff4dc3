"""A TCP proxy on loopback that breaks connections after so many bytes from the client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer


@contextmanager
def cutting_proxy(target: str, after: list[int]) -> Iterator[str]:
    """`host:port` of a proxy to `target`; `after` are amounts of bytes, of all connections, one after the other."""
    host, _, port = target.partition(":")
    left, seen = list(after), [0]

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port))) as server:
                back = threading.Thread(target=_pump, args=(server, self.request))
                back.start()
                while data := _received(self.request):
                    if left and seen[0] + len(data) > left[0]:
                        server.sendall(data[: left[0] - seen[0]])
                        seen[0] = left.pop(0)
                        break
                    seen[0] += len(data)
                    server.sendall(data)
                for end in (server, self.request):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                back.join()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    while data := _received(source):
        with suppress(OSError):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""
