"""Where notices wait to be sent: a thread for each channel, so that nobody waits for them, and none for another channel."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from promoter import output

_LONGEST_LINE = 100
_REMEMBERED = 10_000

Sent = tuple[str, ...]
"""A channel, a notice's id and its content."""


def to_stderr(text: str) -> None:
    output.say(text)


@dataclass
class Outbox:
    """One for a process. `say` reports what could not be sent. When the process ends, open requests get `patience` seconds.

    It remembers what was sent. `lasting`: the process runs for long, so that remembering is useful.
    """

    say: Callable[[str], None] = to_stderr
    lasting: bool = False
    patience: float = 5.0
    _lines: dict[str, queue.Queue[Callable[[], None]]] = field(default_factory=dict)
    _workers: dict[str, threading.Thread] = field(default_factory=dict)
    _left: dict[str, int] = field(default_factory=dict)
    _printed: set[str] = field(default_factory=set)
    _sent: dict[Sent, None] = field(default_factory=dict)
    _turn: threading.Condition = field(default_factory=threading.Condition)

    def put(self, channel: str, work: Callable[[], None]) -> None:
        """Has `work` done after all that was put there for this channel before."""
        with self._turn:
            self._have_worker(channel)
            if self._left[channel] < _LONGEST_LINE:
                self._left[channel] += 1
                self._lines[channel].put(work)
                return
        self.say(f"notice not sent: {_LONGEST_LINE} wait for {channel} already")

    def say_once(self, text: str) -> None:
        """Reports this text the first time only."""
        with self._turn:
            if text in self._printed:
                return
            self._printed.add(text)
        self.say(text)

    def is_news(self, sent: Sent) -> bool:
        """Whether this was not sent yet; from now on it counts as sent."""
        with self._turn:
            if sent in self._sent:
                return False
            self._sent[sent] = None
            if len(self._sent) > _REMEMBERED:
                del self._sent[next(iter(self._sent))]
            return True

    def forget(self, sent: Sent) -> None:
        """Forgets it, because it could not be sent."""
        with self._turn:
            self._sent.pop(sent, None)

    def close(self) -> None:
        """Waits for notices being sent, `patience` seconds in all, and reports those that are dropped."""
        with self._turn:
            self._turn.wait_for(lambda: not any(self._left.values()), self.patience)
            late = [channel for channel, left in self._left.items() if left]
        for channel in late:
            self.say(f"notice not sent: {channel} did not take it within {self.patience:g} s")

    def _have_worker(self, channel: str) -> None:
        """A new thread, too, if an unexpected error ended the one before."""
        if not self._lines:
            atexit.register(self.close)
        if channel not in self._lines:
            self._lines[channel], self._left[channel] = queue.Queue(), 0
        if channel not in self._workers or not self._workers[channel].is_alive():
            name = f"notices-{channel}"
            self._workers[channel] = threading.Thread(target=self._run, args=(channel,), name=name, daemon=True)
            self._workers[channel].start()

    def _run(self, channel: str) -> None:
        while True:
            work = self._lines[channel].get()
            try:
                work()
            finally:
                with self._turn:
                    self._left[channel] -= 1
                    self._turn.notify_all()
