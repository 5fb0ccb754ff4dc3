"""A client that asks a Service again and again, its ports in turn, each time over a new connection, and counts what it gets."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

_PAUSE = 0.03
_TIMEOUT = 5.0


@dataclass
class Traffic:
    """Runs inside `with`; `answered` counts by model version, `failures` are the reasons of the others with their times.

    `body` gives what the n-th request posts; without it they are GET requests, to the test service.
    """

    host: str
    ports: Sequence[int]
    body: Callable[[int], bytes] | None = None
    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def requests(self) -> int:
        return self.answered.total() + len(self.failures)

    def answers(self) -> bool:
        """Whether the Service answers now; not counted."""
        try:
            return bool(self._ask())
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return False

    def __enter__(self) -> Traffic:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE):
            try:
                self.answered[self._ask()] += 1
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")

    def _ask(self) -> str:
        connection = http.client.HTTPConnection(self.host, self.ports[self.requests % len(self.ports)], timeout=_TIMEOUT)
        try:
            sent = self.body(self.requests) if self.body else None
            headers = {"Connection": "close"} | ({"Content-Type": "application/json"} if sent else {})
            connection.request("POST" if sent else "GET", "/predict", body=sent, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.client.OK:
                raise ValueError(f"status {answer.status} of version {answer.getheader('X-Model-Version')}")
            return str(answer.headers["X-Model-Version"] if sent else json.loads(body)["model_version"])
        finally:
            connection.close()
