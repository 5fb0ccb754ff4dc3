"""A client that asks the Service again and again, and counts what it gets."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from promoter.demo.training import Example

_PAUSE_SECONDS = 0.05
_TIMEOUT_SECONDS = 30.0


@dataclass
class Traffic:
    """Asks `url` for the example's predictions inside `with`. `wrong` are good answers with other predictions than expected."""

    url: str
    example: Example
    requests: int = 0
    wrong: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Traffic:
        self._thread = threading.Thread(target=self._ask_on, name="traffic", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _ask_on(self) -> None:
        while not self._stop.wait(_PAUSE_SECONDS):
            self.requests += 1
            try:
                self.wrong += self._ask() != self.example.labels
            except (requests.RequestException, ValueError, KeyError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _ask(self) -> Sequence[int]:
        """The predictions, asked for over a new connection: a Service spreads connections, not requests."""
        answer = requests.post(self.url, json=self.example.request, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        predictions: Sequence[int] = answer.json()["predictions"]
        return predictions
