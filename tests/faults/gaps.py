"""The gaps between the steps of a command: before and after each of its processes and requests, and what goes wrong in one.

Installed in a forked process that is about to be promoter; nothing in promoter knows of it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import requests

from promoter.gitops.process import Git
from promoter.machine import process
from promoter.promotion import watch

FASTER = 50.0
"""Seconds of a watch that pass in one."""

_WIRE = frozenset({"fetch", "push", "ls-remote"})
_HUNG_UP = "fatal: the remote end hung up unexpectedly\n"
_CHANGING = re.compile(r"[0-9a-f]{8,}|(?<![a-z])v?\d+(?![a-z])|model-[0-9a-f]+")


class Gaps:
    """Writes down every gap that is passed; in the one named `at`, `fault` comes, once."""

    def __init__(self, log: str, at: str, fault: str, given: dict[str, str]) -> None:
        self._log, self._at, self._fault, self._given = log, at, fault, given
        self._seen: Counter[str] = Counter()
        self._step = ""

    def install(self) -> None:
        git, run, finish, send = Git._execute, process.run, process.finish, requests.Session.send

        def wait(*given: Any) -> process.Done:
            if threading.current_thread() is threading.main_thread():
                self._pass(f"during {self._step}")
            return finish(*given)

        def execute(one: Git, arguments: tuple[str, ...], *rest: Any) -> tuple[int, bytes, str]:
            def lost(_: object) -> tuple[int, bytes, str]:
                return 128, b"", _HUNG_UP

            wire = arguments[0] in _WIRE
            return cast(
                "tuple[int, bytes, str]",
                self._around(f"git {arguments[0]}", lambda: git(one, arguments, *rest), lost, wire=wire),
            )

        def start(command: Any, **options: Any) -> process.Done:
            name = " ".join([Path(command[0]).name, *command[1:2]])
            return cast("process.Done", self._around(name, lambda: run(command, **options), None, wire=False))

        def ask(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            def lost(answer: requests.Response) -> requests.Response:
                answer.close()
                raise requests.exceptions.ConnectionError("Connection aborted.")

            path = _CHANGING.sub("-", urlsplit(request.url or "").path)
            name = f"{request.method} {'/'.join(path.strip('/').split('/')[-2:])}"
            return cast("requests.Response", self._around(name, lambda: send(session, request, **options), lost, wire=True))

        Git._execute, process.run, process.finish, requests.Session.send = execute, start, wait, ask  # type: ignore[method-assign,assignment]
        for method in (_now, _wait):
            setattr(watch.Clock, method.__name__.strip("_"), method)

    def _around(self, name: str, act: Callable[[], Any], lost: Callable[[Any], Any] | None, *, wire: bool) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return act()  # the event stream, and notices: their order is nobody's
        self._seen[name] += 1
        numbered = f"{name} {self._seen[name]}"
        self._step = numbered
        self._pass(f"before {numbered}")
        result = act()
        here = self._pass(f"{'answer of' if wire else 'after'} {numbered}")
        return lost(result) if here and lost and self._fault == "lost answer" else result

    def _pass(self, gap: str) -> bool:
        with open(self._log, "a") as log:  # noqa: PTH123 - a file that may be on a full disk is not this one
            log.write(gap + "\n")
        if gap != self._at:
            return False
        match self._fault:
            case "kill -9":
                os.kill(os.getpid(), signal.SIGKILL)
            case "SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
            case "disk full":
                fill(Path(self._given["disk"]) / "filler")
            case "stdout gone":
                _nobody_reads(1)
                _nobody_reads(2)
            case "clock ahead" | "clock behind":
                days = 2 if self._fault == "clock ahead" else -2
                Path(self._given["clock"]).write_text(str(days * 86400))
            case "second promoter" | "person's commit" | "force-push":
                with socket.socket(socket.AF_UNIX) as there:
                    there.connect(self._given["meet"])
                    there.recv(1)
        return True


def fill(file: Path) -> None:
    """Until nothing more fits."""
    with suppress(OSError), file.open("ab", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while filler.write(bytes(size)):
                    pass


def _nobody_reads(number: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, number)
    os.close(writer)


def _now(_: watch.Clock) -> float:
    return time.monotonic() * FASTER


def _wait(_: watch.Clock, seconds: float, wake: threading.Event) -> None:
    wake.wait(seconds / FASTER)
