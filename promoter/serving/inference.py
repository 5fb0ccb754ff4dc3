"""The queue before the model: bounded, with a deadline a request, and threads that a predict call may keep for ever."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from promoter.serving.batching import Answer
from promoter.serving.errors import RequestError
from promoter.serving.model import Request

_log = logging.getLogger(__name__)
# Predict calls that may be given up before the worker is: each of them keeps a thread, and what it holds.
MOST_STUCK = 4


@dataclass(eq=False)
class _Job:
    request: Request
    answer: asyncio.Future[bytes]


@dataclass(eq=False)
class _Runner:
    """A thread that predicts, what it is at, and whether somebody else has taken its place."""

    jobs: Sequence[_Job] = ()
    given_up: bool = False


Predict: TypeAlias = Callable[[Sequence[Request]], Sequence[Answer]]


class Inference:
    """`predict` answers up to `at_once` requests in one of `threads` threads; all of them, in their order.

    `timeout` is in seconds from a request's arrival to its answer. A call that outlasts it is given up: its thread goes on, a
    new one takes its place, and when more than MOST_STUCK have not come back `on_lost` is called, in the event loop.
    """

    def __init__(
        self, predict: Predict, *, threads: int, at_once: int, max_queue: int, timeout: float, on_lost: Callable[[], None]
    ) -> None:
        self._predict, self._at_once, self._max_queue, self._timeout = predict, at_once, max_queue, timeout
        self._on_lost = on_lost
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._runners: set[_Runner] = set()
        self._stuck = 0
        for _ in range(threads):
            self._start_runner()

    async def answer(self, request: Request) -> bytes:
        """Raises: RequestError: 503 when too many wait already, 504 after the timeout, and what `predict` answers."""
        if len(self._waiting) >= self._max_queue:
            raise RequestError(503, f"{self._max_queue} requests wait already: try again", headers={"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        job = _Job(request, loop.create_future())
        expiry = loop.call_later(self._timeout, self._expire, job)
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        try:
            return await job.answer
        finally:
            expiry.cancel()

    def _expire(self, job: _Job) -> None:
        if job.answer.done():
            return
        job.answer.set_exception(RequestError(504, f"no prediction within {self._timeout:g} s (INFERENCE_TIMEOUT)"))
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                return
            runner = next((runner for runner in self._runners if job in runner.jobs), None)
            if runner is None:  # its answer is on the way
                return
            runner.given_up = True
            self._runners.discard(runner)
            self._stuck += 1
            lost = self._stuck > MOST_STUCK
        if lost:
            self._on_lost()
        else:
            self._start_runner()

    def _start_runner(self) -> None:
        runner = _Runner()
        self._runners.add(runner)
        # A daemon, so that a call that never returns can't keep the process.
        threading.Thread(target=self._run, args=(runner,), name="predict", daemon=True).start()

    def _run(self, runner: _Runner) -> None:
        while self._answer_next(runner):
            pass

    def _answer_next(self, runner: _Runner) -> bool:
        """False when another thread has taken this one's place meanwhile."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._at_once))]
            runner.jobs = jobs
        answers = self._answers([job.request for job in jobs])
        with self._changed:
            runner.jobs = ()
            self._stuck -= runner.given_up
        loop = jobs[0].answer.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, jobs, answers)
        return not runner.given_up

    def _answers(self, requests: Sequence[Request]) -> Sequence[Answer]:
        try:
            return self._predict(requests)
        except Exception as error:  # a thread that dies would take the worker's capacity with it
            _log.exception("requests could not be answered", exc_info=error)
            return [RequestError(500, "the request could not be answered")] * len(requests)


def _settle(jobs: Sequence[_Job], answers: Sequence[Answer]) -> None:
    for job, answer in zip(jobs, answers, strict=True):
        if job.answer.done():  # it came too late, or its client has gone
            continue
        if isinstance(answer, RequestError):
            job.answer.set_exception(answer)
        else:
            job.answer.set_result(answer)
