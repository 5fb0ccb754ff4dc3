"""The queue before the model: its bound, its deadline, and calls that never return."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from promoter.serving.batching import Answer
from promoter.serving.errors import RequestError
from promoter.serving.inference import MOST_STUCK, Inference
from promoter.serving.model import Request


def request(text: str) -> Request:
    return Request(text.encode(), "")


class Echo:
    """Answers what it is asked, once `go` is set; `calls` are the requests of each call, `begun` counts them."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Semaphore(0)
        self.calls: list[list[bytes]] = []

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        self.calls.append([request.body for request in requests])
        self.begun.release()
        assert self.go.wait(60)
        if requests[0].body == b"raise":
            raise MemoryError
        return [request.body for request in requests]


def inference(predict: Callable[[Sequence[Request]], Sequence[Answer]], **changed: Any) -> Inference:
    chosen: dict[str, Any] = {"threads": 1, "at_once": 1, "max_queue": 8, "timeout": 60.0, "on_lost": lambda: None}
    return Inference(predict, **chosen | changed)


async def told(inference: Inference, text: str) -> bytes | int:
    try:
        return await inference.answer(request(text))
    except RequestError as error:
        return error.status


async def begun(echo: Echo) -> None:
    assert await asyncio.to_thread(echo.begun.acquire, timeout=60)


def test_more_than_max_queue_are_refused_at_once_and_the_others_answered() -> None:
    async def main() -> None:
        echo = Echo()
        queue = inference(echo, max_queue=2)
        tasks = [asyncio.create_task(told(queue, "0"))]
        await begun(echo)
        tasks += [asyncio.create_task(told(queue, str(number))) for number in (1, 2, 3, 4)]
        assert await tasks[3] == await tasks[4] == 503
        with pytest.raises(RequestError) as refused:
            await queue.answer(request("5"))
        assert refused.value.headers == {"Retry-After": "1"}
        echo.go.set()
        assert await asyncio.gather(*tasks[:3]) == [b"0", b"1", b"2"]

    asyncio.run(main())


def test_what_queued_while_a_call_ran_is_one_call() -> None:
    async def main() -> None:
        echo = Echo()
        queue = inference(echo, at_once=4)
        tasks = [asyncio.create_task(told(queue, "0"))]
        await begun(echo)
        tasks += [asyncio.create_task(told(queue, str(number))) for number in range(1, 6)]
        await asyncio.sleep(0)
        echo.go.set()
        assert await asyncio.gather(*tasks) == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert echo.calls == [[b"0"], [b"1", b"2", b"3", b"4"], [b"5"]]

    asyncio.run(main())


def test_a_request_that_waits_too_long_is_never_predicted() -> None:
    async def main() -> None:
        echo = Echo()
        queue = inference(echo, timeout=0.2)
        assert [await told(queue, "0"), await told(queue, "1")] == [504, 504]
        waiting = asyncio.create_task(told(queue, "2"))
        assert await waiting == 504
        echo.go.set()
        assert await told(queue, "3") == b"3"

    asyncio.run(main())


def test_calls_that_never_return_take_no_capacity_until_there_are_too_many() -> None:
    async def main() -> None:
        stuck, lost = threading.Event(), asyncio.Event()

        def predict(requests: Sequence[Request]) -> list[Answer]:
            if requests[0].body == b"stuck":
                stuck.wait(60)
            return [request.body for request in requests]

        queue = inference(predict, timeout=0.2, on_lost=lost.set)
        for _ in range(MOST_STUCK):
            assert await told(queue, "stuck") == 504
            assert await told(queue, "good") == b"good"
        assert not lost.is_set()
        stuck.set()  # they return after all: what they kept is free again
        while queue._stuck:
            await asyncio.sleep(0.01)
        stuck.clear()
        for _ in range(MOST_STUCK + 1):
            assert await told(queue, "stuck") == 504
        assert lost.is_set()
        stuck.set()

    asyncio.run(main())


def test_a_call_that_raises_costs_its_own_requests_only() -> None:
    async def main() -> None:
        echo = Echo()
        echo.go.set()
        queue = inference(echo)
        assert [await told(queue, "raise"), await told(queue, "good")] == [500, b"good"]

    asyncio.run(main())
