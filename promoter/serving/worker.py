"""A model process: loads the model, then answers what the server sends until the server is gone.

A process of its own, so that neither a model that computes nor one that hangs or crashes can hold up the server, and so that a
call that takes too long can be ended.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

from promoter.serving import log
from promoter.serving.batching import Answer, answer_alone, answer_together
from promoter.serving.download import model_folder, prepare
from promoter.serving.errors import RequestError, StartError
from promoter.serving.last_words import record_crashes
from promoter.serving.messages import Message, packed, read
from promoter.serving.model import PyfuncModel, Request, load
from promoter.serving.openapi import document
from promoter.serving.settings import Settings

_log = logging.getLogger(__name__)


def main(channel: socket.socket, scratch: Path, *, first: bool) -> int:
    """`first` is the one that downloads and checks the model for all. The exit code: 1 when the model can't be served."""
    settings = Settings.from_environment(os.environ)
    log.configure(settings.log_level)
    record_crashes(scratch)
    for number in (signal.SIGTERM, signal.SIGINT):  # the server ends its processes when it has drained
        signal.signal(number, signal.SIG_IGN)
    with channel, channel.makefile("rb") as stream:
        try:
            if first:
                prepare(settings, scratch)
                _send(channel, Message("prepared"))
            answering = _Answering(settings, channel)
            model, seconds, advice = load(model_folder(settings, scratch), settings.max_rows, answering.observe)
            if advice and not settings.concurrency:
                _log.info("%s", advice)
            calls = settings.concurrency or model.concurrency
            described = {"seconds": seconds, "openapi": document(settings, model.signature), "concurrency": calls}
        except BaseException as error:  # whatever it is, the server has to know
            why = str(error) if isinstance(error, StartError) else f"the model's process can't start: {log.summary(error)}"
            _send(channel, Message("failed", {"error": why}))
            return 1
        _send(channel, Message("ready", described))
        answering.serve(model, stream, calls)
    return 0


class _Answering:
    """Answers what arrives, one message after the other, or several at a time, each in a thread."""

    def __init__(self, settings: Settings, channel: socket.socket) -> None:
        self._settings, self._channel = settings, channel
        self._rows: list[float] = []
        self._sending = threading.Lock()

    def observe(self, rows: float) -> None:
        """A predict call of so many rows."""
        self._rows.append(rows)

    def serve(self, model: PyfuncModel, stream: IO[bytes], calls: int) -> None:
        """Until the server is gone."""
        self._rows.clear()
        if calls == 1:  # in this thread: libraries exist that work in no other
            while (message := read(stream)) is not None:
                self._answer(model, message)
            return
        threads = ThreadPoolExecutor(calls)
        while (message := read(stream)) is not None:
            threads.submit(self._answer, model, message).add_done_callback(_end_without_answer)

    def _answer(self, model: PyfuncModel, message: Message) -> None:
        kinds = message.header["content_types"]
        requests = [Request(body, kind) for body, kind in zip(message.bodies, kinds, strict=True)]
        answers: Sequence[Answer]
        if self._settings.batch == "off":
            answers = [answer_alone(model, request, partial(self._send_event, message)) for request in requests]
        else:
            answers = answer_together(model, requests, self._settings.max_batch_size)
        # An exception's text stays here because it may repeat what a client sent; the server logs its type and place.
        errors = [_error(answer) if isinstance(answer, RequestError) else None for answer in answers]
        bodies = [b"" if isinstance(answer, RequestError) else answer for answer in answers]
        with self._sending:
            rows, self._rows = self._rows, []
            header = {"number": message.header["number"], "errors": errors, "rows": rows}
            _send(self._channel, Message("answers", header, bodies))

    def _send_event(self, asked: Message, event: bytes) -> None:
        with self._sending:
            _send(self._channel, Message("event", {"number": asked.header["number"]}, [event]))


def _end_without_answer(call: Future[None]) -> None:
    """As one call at a time ends the process: then the server answers what was asked of it, and starts another."""
    if (error := call.exception()) is not None:
        traceback.print_exception(error)
        os._exit(1)


def _error(error: RequestError) -> dict[str, object]:
    cause = error.__cause__
    logged: dict[str, object] = {}
    if error.status == 500 and cause is not None:
        logged = {"exception": type(cause).__name__, "stack": log.stack(cause.__traceback__)}
        _log.debug("%s: %s", error.message, cause)
    return {"status": error.status, "body": error.body(), "logged": logged}


def _send(channel: socket.socket, message: Message) -> None:
    channel.sendall(packed(message))


if __name__ == "__main__":
    descriptor, folder, place = sys.argv[1:]
    os.set_inheritable(int(descriptor), False)
    code = main(socket.socket(fileno=int(descriptor)), Path(folder), first=place == "first")
    sys.stdout.flush()
    os._exit(code)  # without waiting for threads that a model started
