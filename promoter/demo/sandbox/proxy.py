"""The Service in front of the pods: one loopback port, every ready pod in turn; replicas decide the share of a canary."""

from __future__ import annotations

import http.client
import itertools
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TIMEOUT_SECONDS = 30.0


class Proxy(ThreadingHTTPServer):
    """Forwards to `endpoints()`, host:port of each ready pod, asked at every request: a pod that ends gets no new one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, endpoints: Callable[[], Sequence[str]], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._endpoints, self._turns = endpoints, itertools.count()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_endpoint(self) -> str | None:
        endpoints = self._endpoints()
        return endpoints[next(self._turns) % len(endpoints)] if endpoints else None

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        endpoint = self.server.next_endpoint()
        if endpoint is None:
            self._send(503, "application/json", b'{"error": "no pod is ready"}')
            return
        headers = {key: value for key in ("Content-Type", "Accept") if (value := self.headers.get(key))}
        connection = http.client.HTTPConnection(endpoint, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(self.command, self.path, content, headers)
            answer = connection.getresponse()
            self._send(answer.status, answer.getheader("Content-Type", ""), answer.read())
        except OSError as error:
            self._send(502, "application/json", b'{"error": "the pod did not answer: %s"}' % type(error).__name__.encode())
        finally:
            connection.close()

    do_POST = do_GET

    def _send(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the demo counts requests where they are made."""
