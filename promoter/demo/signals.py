"""However the demo ends, it ends what it started."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end what is inside once, as SystemExit, so that it ends its processes."""
    ended = False

    def end(number: int, _: object) -> None:
        nonlocal ended
        ended = True
        hold_signals()
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # Once ended the process is on its way out: a second Ctrl-C is not to change its exit code.
            signal.signal(number, signal.SIG_IGN if ended else handler)


def hold_signals() -> None:
    """They do nothing any more; unlike SIG_IGN this is not handed down to processes."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
