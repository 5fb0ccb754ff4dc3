"""The request queue, and the model processes that take from it. All of it runs in the server's event loop.

A request waits until a process is free; at most MAX_QUEUE wait. A process gets CONCURRENCY calls at a time, each of one
request, or with BATCH=row-wise of all that wait, up to MAX_BATCH_SIZE. A process that takes longer than INFERENCE_TIMEOUT is
killed and replaced, like one that crashed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promoter.serving.cpu import threads_of_libraries
from promoter.serving.errors import RequestError
from promoter.serving.job import Job
from promoter.serving.last_words import LastWords
from promoter.serving.messages import Message, Parser, packed
from promoter.serving.metrics import Metrics
from promoter.serving.model import Request
from promoter.serving.settings import Settings
from promoter.serving.streams import Stream
from promoter.serving.termination import leave_message

if TYPE_CHECKING:
    from promoter.serving.tracing import Trace, Tracer

_log = logging.getLogger(__name__)
# A child process that a model starts may keep the channel open long after the model's process has ended.
_LOOK_SECONDS = 1.0
_EXIT_SECONDS = 0.2

Start = Callable[[socket.socket, bool], "subprocess.Popen[bytes]"]


class _Worker(asyncio.Protocol):
    """One process, and the calls it works on: by number, each with its jobs. `calls` is how many it takes at a time."""

    def __init__(self, process: subprocess.Popen[bytes], owner: Workers) -> None:
        self.process, self._owner = process, owner
        self.ready, self.ended = False, False
        self.words = LastWords(owner.scratch)
        self.calls = 1
        self._working: dict[int, Sequence[Job]] = {}
        self._number = 0
        self._killed = False
        self._parser = Parser()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - a socket's
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for message in self._parser.feed(data):
            self._owner.receive(self, message)

    def connection_lost(self, _: Exception | None) -> None:
        try:
            self.process.wait(_EXIT_SECONDS)  # its exit code is the reason
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._owner.lost(self)

    @property
    def jobs(self) -> list[Job]:
        return [job for jobs in self._working.values() for job in jobs]

    @property
    def free(self) -> int:
        """Calls that it would take now; what has to be alone gets a process of its own."""
        if not self.ready or self._killed or any(job.alone for job in self.jobs):
            return 0
        return self.calls - len(self._working)

    def take(self, number: int) -> Sequence[Job]:
        """The jobs of a call that has returned."""
        return self._working.pop(number)

    def job(self, number: int) -> Job:
        """The job of a call that answers in pieces."""
        return self._working[number][0]

    def send(self, jobs: Sequence[Job]) -> None:
        self._number += 1
        self._working[self._number] = jobs
        header = {"number": self._number, "content_types": [job.request.content_type for job in jobs]}
        assert self._transport is not None  # noqa: S101 - it was ready
        self._transport.write(packed(Message("requests", header, [job.request.body for job in jobs])))

    def end(self) -> None:
        self._killed = True
        self.process.kill()
        if self._transport is not None:
            self._transport.abort()


class Workers:
    """`start` starts a process at the other end of a channel, with its files in `scratch`.

    `on_failed` gets the exit code when no process can serve.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        scratch: Path,
        start: Start,
        on_failed: Callable[[int], None],
        tracer: Tracer | None = None,
    ) -> None:
        self.scratch, self._tracer = scratch, tracer
        self._settings, self._metrics, self._start, self._on_failed = settings, metrics, start, on_failed
        self._at_once = settings.max_batch_size if settings.batch == "row-wise" else 1
        self._workers: list[_Worker] = []
        self._waiting: deque[Job] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = False
        self.started = False  # every process was ready at least once
        self.last_words = ""  # of the process that ended last, until all are ready again
        self.openapi: dict[str, Any] = {}

    @property
    def ready(self) -> bool:
        return sum(worker.ready for worker in self._workers) == self._settings.workers

    def start(self) -> None:
        """Starts the first process; the others follow when it has put the model's files in place."""
        self._start_worker(first=True)
        self._look()

    def end(self) -> None:
        self._ending = True
        for worker in self._workers:
            worker.end()
            worker.process.wait()

    async def answer(self, request: Request, trace: Trace | None = None) -> bytes | Stream:
        """Raises: RequestError: 503 while loading or when too many wait, 504 after the timeout, or the model's error."""
        if not self.started:
            raise RequestError(503, "the model is still being loaded", headers={"Retry-After": "1"})
        if len(self._waiting) >= self._settings.max_queue:
            raise RequestError(503, f"{self._settings.max_queue} requests wait already", headers={"Retry-After": "1"})
        job = Job(request, asyncio.get_running_loop().create_future(), trace=trace)
        if trace is not None:
            trace.queue()
        job.wait(self._expiry(job))
        self._waiting.append(job)
        self._dispatch()
        return await job.answer

    def _expiry(self, job: Job) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._settings.inference_timeout, self._expire, job)

    def receive(self, worker: _Worker, message: Message) -> None:
        """Handles a message from a process."""
        if message.kind == "answers":
            self._answered(worker, message)
        elif message.kind == "event":
            self._continued(worker.job(message.header["number"]), message.bodies[0])
        elif message.kind == "prepared":
            for _ in range(1, self._settings.workers):
                self._start_worker()
        elif message.kind == "ready":
            self._is_ready(worker, message)
        elif message.kind == "failed":
            worker.words.reported = message.header["error"]

    def lost(self, worker: _Worker) -> None:
        """Handles the end of a process: it is replaced only if it was ready before, since otherwise the next would fail too."""
        self._workers.remove(worker)
        if self._ending:
            return
        self._blame(worker.jobs)
        self.last_words = worker.words.of(worker.process.pid, worker.process.returncode)
        fields = {"exit_code": worker.process.returncode, "reason": self.last_words}
        if worker.ready:
            _log.error("a model process has ended and is replaced", extra={"fields": fields})
            self._start_worker()
        else:
            _log.error("%s", self.last_words, extra={"fields": {"exit_code": worker.process.returncode}})
            leave_message(self.last_words)
            self._on_failed(1)

    def _blame(self, jobs: Sequence[Job]) -> None:
        """Tries each request that was there again alone, which shows the one that ended the process."""
        for job in reversed([job for job in jobs if not job.done]):
            if len(jobs) == 1 or job.stream:
                job.fail(RequestError(500, "the model's process has ended"))
            else:
                job.alone = True
                self._waiting.appendleft(job)

    def _start_worker(self, *, first: bool = False) -> None:
        near, far = socket.socketpair()
        with far:
            worker = _Worker(self._start(far, first), self)
        self._workers.append(worker)
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_unix_connection(lambda: worker, sock=near))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_ready(self, worker: _Worker, message: Message) -> None:
        worker.ready, worker.calls = True, message.header["concurrency"]
        self.openapi = message.header["openapi"]
        self._metrics.load_seconds.set(message.header["seconds"])
        _log.info("the model is loaded", extra={"fields": {"seconds": round(message.header["seconds"], 3)}})
        self.started = self.started or self.ready
        self.last_words = "" if self.ready else self.last_words
        self._dispatch()

    def _dispatch(self) -> None:
        """To the process with the fewest calls; one that has to be alone waits for a process that has none."""
        while self._waiting:
            worker = max(self._workers, key=lambda one: one.free, default=None)
            if worker is None or worker.free < 1 or (self._waiting[0].alone and worker.jobs):
                return
            jobs = [self._waiting.popleft()]
            while not jobs[0].alone and self._waiting and not self._waiting[0].alone and len(jobs) < self._at_once:
                jobs.append(self._waiting.popleft())
            worker.send(jobs)
            if self._tracer is not None:
                self._tracer.sent(job.trace for job in jobs)

    def _continued(self, job: Job, event: bytes) -> None:
        """The next event has as long as the first one had, unless nobody waits for it."""
        if job.answer.cancelled():
            return
        if job.stream is None:
            job.stream = Stream()
            job.answer.set_result(job.stream)
        if not job.stream.abandoned:
            job.stream.put(event)
            job.wait(self._expiry(job))

    def _answered(self, worker: _Worker, message: Message) -> None:
        for rows in message.header["rows"]:
            self._metrics.batch_size.observe(rows)
        jobs = worker.take(message.header["number"])
        if self._tracer is not None:
            self._tracer.answered([job.trace for job in jobs], sum(message.header["rows"]))
        for job, error, body in zip(jobs, message.header["errors"], message.bodies, strict=True):
            if job.done:  # its client is gone
                continue
            if error is None:
                job.finish(body)
            else:
                job.fail(RequestError.received(error["status"], error["body"], error["logged"]))
        self._dispatch()

    def _expire(self, job: Job) -> None:
        if job.done:
            return
        seconds = self._settings.inference_timeout
        what = "prediction" if job.stream is None else "more of the prediction"
        job.fail(RequestError(504, f"no {what} within {seconds:g} s (INFERENCE_TIMEOUT)"))
        if job in self._waiting:
            self._waiting.remove(job)
        for worker in [worker for worker in self._workers if job in worker.jobs]:
            _log.error("a predict call has not returned within INFERENCE_TIMEOUT: its process is killed")
            worker.end()

    def _look(self) -> None:
        for worker in self._workers:
            if worker.ended:
                worker.end()
            worker.ended = worker.process.poll() is not None  # its last message may still be on its way
        if not self._ending:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)


def start_process(scratch: Path, workers: int) -> Start:
    """Returns a function that starts model processes, one of `workers`, with their files in `scratch`."""
    environ = {**threads_of_libraries(workers), **os.environ}

    def start(channel: socket.socket, first: bool) -> subprocess.Popen[bytes]:
        descriptor = channel.fileno()
        command = [sys.executable, "-m", "promoter.serving.worker", str(descriptor), str(scratch), "first" if first else "next"]
        return subprocess.Popen(command, pass_fds=[descriptor], stdin=subprocess.DEVNULL, env=environ)

    return start
