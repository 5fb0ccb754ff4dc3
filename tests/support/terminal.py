"""A shell at a pseudo-terminal, to type into as a person does."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pyte

_PATIENCE = 120.0


class Terminal:
    """`shown` is all that was written to it, `screen` what a person sees of that now."""

    def __init__(self, descriptor: int, columns: int, lines: int) -> None:
        self._descriptor, self._seen = descriptor, 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.shown = ""
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """What dragging the window's corner does."""
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def lines(self) -> list[str]:
        """Those of the screen that are not empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def wait_until(self, come: Callable[[list[str]], bool]) -> None:
        """Until the lines of the screen are so. Raises AssertionError when that takes too long."""
        until = time.monotonic() + _PATIENCE
        while not come(self.lines):
            if time.monotonic() > until:
                raise AssertionError("not so: " + "\n".join(self.lines))
            self._read()

    def wait_for_the_end(self) -> None:
        """Until the program has closed the terminal."""
        with suppress(EOFError):
            while True:
                self._read()

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        """Until it is shown, after what was waited for before. Raises AssertionError when that takes too long."""
        until = time.monotonic() + _PATIENCE
        while text not in self.shown[self._seen :]:
            if time.monotonic() > until:
                raise AssertionError(f"{text!r} was not shown: {self.shown!r}")
            try:
                self._read()
            except EOFError:
                raise AssertionError(f"it has ended: {self.shown!r}") from None
        self._seen = self.shown.index(text, self._seen) + len(text)

    def _read(self) -> None:
        """What has come within a moment. Raises EOFError when nothing can come any more."""
        if not select.select([self._descriptor], [], [], 0.1)[0]:
            return
        try:
            text = self._decoder.decode(os.read(self._descriptor, 65536))
        except OSError:
            raise EOFError from None
        self.shown += text
        self._stream.feed(text)


@contextmanager
def terminal(command: Sequence[str], environ: Mapping[str, str], *, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    """The program at a terminal, ended with the block."""
    ours, theirs = pty.openpty()
    shown = Terminal(ours, columns, lines)
    # A shell that does not own its terminal has no job control, and one that a background job starts would ignore ^C.
    owning = ["setsid", "--ctty", "env", "--default-signal=INT", *command]
    program = subprocess.Popen(owning, env=dict(environ), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield shown
    finally:
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        os.close(ours)
