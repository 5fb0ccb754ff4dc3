"""A shell at a pseudo-terminal, to type into as a person does."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

_PATIENCE = 120.0


class Terminal:
    """`shown` is all that it has written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._seen = descriptor, 0
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        """Until it is shown, after what was waited for before. Raises AssertionError when that takes too long."""
        until = time.monotonic() + _PATIENCE
        while text not in self.shown[self._seen :]:
            if time.monotonic() > until:
                raise AssertionError(f"{text!r} was not shown: {self.shown!r}")
            if select.select([self._descriptor], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._descriptor, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"it has ended: {self.shown!r}") from None
        self._seen = self.shown.index(text, self._seen) + len(text)


@contextmanager
def terminal(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[Terminal]:
    """The program at a terminal of 200 columns, ended with the block."""
    ours, theirs = pty.openpty()
    # A shell that does not own its terminal has no job control, and one that a background job starts would ignore ^C.
    owning = ["setsid", "--ctty", "env", "--default-signal=INT", *command]
    program = subprocess.Popen(owning, env=dict(environ), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield Terminal(ours)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        os.close(ours)
