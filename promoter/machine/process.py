"""Every process that promoter starts: an environment made from a list, a neutral folder, a group of its own and a deadline."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired
from threading import Thread
from typing import IO

from promoter.machine import verbose

NEUTRAL = Path("/")
"""No repository's file is here or above: nothing in the caller's folder decides what a tool does."""

BASIC = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH"}
)
"""What any program needs to start."""

CERTIFICATES = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
NETWORK = CERTIFICATES | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC"}
FOLDERS = frozenset({"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"})
DESKTOP = frozenset({"DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"})
"""Where keyrings and the dialogs of gpg are."""

MORE_VARIABLES = "PROMOTER_PASS_ENV"
"""The variable that names more variables for the tools that log in somewhere."""

INTERACTIVE = "PROMOTER_INTERACTIVE"
"""The variable that `promoter --interactive` sets, on a terminal: who holds a secret may ask the person there."""

_PATHS = (
    CERTIFICATES
    | FOLDERS
    | {
        "NETRC",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_CERT",
        "GIT_SSL_KEY",
        "DOCKER_CONFIG",
        "GNUPGHOME",
    }
)
_TICK = 1.0
_GRACE = 2.0  # seconds in which a process may remove its lock files


class HungError(Exception):
    """The process did not end in time. It and its children have been ended."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a process ended, and what it wrote."""

    status: int
    out: bytes
    err: bytes

    @property
    def output(self) -> str:
        """Its standard output as text."""
        return self.out.decode(errors="replace")

    @property
    def errors(self) -> str:
        """Its standard error as text."""
        return self.err.decode(errors="replace")


def needed(environ: Mapping[str, str], names: Collection[str], *, more: bool = False) -> dict[str, str]:
    """`BASIC` and these variables, in capitals or not; `NAME*` is every variable that begins so. Paths become absolute.

    `more`: also what `MORE_VARIABLES` names, with commas or blanks between.
    """
    if more:
        names = {*names, *environ.get(MORE_VARIABLES, "").replace(",", " ").split()}
    wanted = {name for name in names if not name.endswith("*")} | BASIC
    begins = tuple(name[:-1] for name in names if name.endswith("*"))
    chosen = {name: value for name, value in environ.items() if name.upper() in wanted or name in wanted}
    chosen |= {name: value for name, value in environ.items() if begins and name.startswith(begins)}
    return {name: _absolute(name, value) for name, value in chosen.items()}


def run(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    seconds: float,
    stdin: bytes | None = None,
    folder: Path = NEUTRAL,
) -> Done:
    """Runs the command to its end, with `environ` as its whole environment. It has no terminal to ask a person at.

    Raises:
        HungError: it did not end in time.
        OSError: it can't be started.
    """
    process = Popen(
        list(command),
        env=dict(environ),
        cwd=folder,
        stdin=DEVNULL if stdin is None else PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    started = time.monotonic()
    done = finish(process, stdin, seconds)
    if verbose.VOLUME.level > 1:
        verbose.took(" ".join((*command, f"exit {done.status}")), started)
    return done


def finish(process: Popen[bytes], stdin: bytes | None, seconds: float, hangs: Callable[[], bool] = lambda: False) -> Done:
    """Waits for a process that was started with pipes, in a session of its own unless it may ask at the terminal.

    `hangs` is asked every second whether to give up before the deadline.

    Raises:
        HungError: it did not end in time.
    """
    try:
        _feed(process, stdin)
        out, err = _communicate(process, time.monotonic() + seconds, hangs)
    except BaseException:
        _end(process)
        raise
    return Done(process.returncode, out, err)


def begin(command: Sequence[str], *, environ: Mapping[str, str], output: IO[bytes] | None = None) -> Popen[bytes]:
    """A process that runs alongside until its caller ends it. Its output, and its errors, go to a file, or through a pipe.

    Raises:
        OSError: it can't be started.
    """
    errors = None if output is None else STDOUT
    return Popen(list(command), env=dict(environ), stdin=DEVNULL, stdout=PIPE if output is None else output, stderr=errors)


def detach(command: Sequence[str], *, environ: Mapping[str, str]) -> None:
    """A process that outlives this one: nobody reads what it writes, nor waits for it.

    Raises:
        OSError: it can't be started.
    """
    process = Popen(list(command), env=dict(environ), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True)
    process.returncode = 0  # or subprocess would warn of a process that nobody waits for


def _feed(process: Popen[bytes], data: bytes | None) -> None:
    """Writes the process's standard input in the background: what `communicate` has not written at its timeout is lost."""
    stream, process.stdin = process.stdin, None

    def write() -> None:
        with suppress(OSError), stream or nullcontext():  # the process may end without reading it
            if stream and data:
                stream.write(data)

    Thread(target=write, daemon=True).start()


def _communicate(process: Popen[bytes], deadline: float, hangs: Callable[[], bool]) -> tuple[bytes, bytes]:
    while True:
        try:
            return process.communicate(timeout=max(0.0, min(_TICK, deadline - time.monotonic())))
        except TimeoutExpired:
            if time.monotonic() >= deadline or hangs():
                raise HungError from None


def _end(process: Popen[bytes]) -> None:
    """Ends the process and its children: all of its group, or, where it shares our own, those that the system lists."""
    shared = process.poll() is None and os.getpgid(process.pid) == os.getpgrp()
    family = [process.pid, *_below(process.pid)] if shared else []
    for ending, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        for member in family or [-process.pid]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, ending)
        with suppress(TimeoutExpired):
            process.wait(patience)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _below(process: int) -> list[int]:
    """The children of a process, and their children (proc_pid_task(5)); empty on a system that lists none."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, listed) for one in (child, *_below(child))]


def _absolute(name: str, value: str) -> str:
    return str(Path(value).absolute()) if name in _PATHS and value and not value.startswith(("/", "~")) else value
