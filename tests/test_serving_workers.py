"""The queue before the model and the processes behind it: real processes, that echo instead of loading a model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter.serving.errors import RequestError
from promoter.serving.messages import Message, Parser, packed
from promoter.serving.metrics import Metrics
from promoter.serving.model import Request
from promoter.serving.settings import Settings
from promoter.serving.streams import Stream
from promoter.serving.workers import Workers

# It answers with the bodies it was asked together: "a+b" to each of a and b.
ECHO = """
import os, socket, sys, threading, time
from promoter.serving.messages import Message, packed, read
channel = socket.socket(fileno=int(sys.argv[1]))
stream = channel.makefile("rb")
if sys.argv[2] == "first":
    channel.sendall(packed(Message("prepared")))
channel.sendall(packed(Message("ready", {"seconds": 0.5, "openapi": {"a": 1}, "concurrency": int(sys.argv[3])})))
sending = threading.Lock()
def answer(message):
    for body in message.bodies:
        if body.startswith(b"gate "):
            while not os.path.exists(body[5:]):
                time.sleep(0.01)
        if body == b"hang":
            time.sleep(3600)
        if body == b"die":
            os._exit(3)
        what, _, most = body.partition(b" ")
        number = 0
        while what == b"endless" or (what in (b"events", b"still") and number < int(most)):
            with sending:
                channel.sendall(packed(Message("event", {"number": message.header["number"]}, [b"%d" % number])))
            time.sleep(0.01)
            number += 1
            if what == b"events" and number == 3:
                os._exit(3)
        if what == b"still":
            time.sleep(3600)
    together = b"+".join(message.bodies)
    errors = [{"status": 422, "body": {"error": "bad", "field": "f"}, "logged": {}} if body == b"bad" else None for body in message.bodies]
    header = {"number": message.header["number"], "errors": errors, "rows": [len(errors)]}
    with sending:
        channel.sendall(packed(Message("answers", header, [together] * len(errors))))
while (message := read(stream)) is not None:
    threading.Thread(target=answer, args=[message], daemon=True).start()
"""
DIES = "import sys; sys.exit(7)"


class Service:
    """Workers under test, and what they reported."""

    def __init__(self, program: str = ECHO, **settings: Any) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.failed: list[int] = []
        self._program, self._calls = program, settings.get("concurrency", 1)
        chosen = Settings(**{"inference_timeout": 60.0, "max_queue": 8, **settings})
        self.workers = Workers(chosen, Metrics(), Path(tempfile.gettempdir()), self._start, self.failed.append)

    def _start(self, channel: Any, first: bool) -> subprocess.Popen[bytes]:
        descriptor = channel.fileno()
        command = [sys.executable, "-c", self._program, str(descriptor), "first" if first else "next", str(self._calls)]
        self.processes.append(subprocess.Popen(command, pass_fds=[descriptor]))
        return self.processes[-1]

    async def ask(self, text: str) -> str | int:
        try:
            answer = await self.workers.answer(Request(text.encode(), ""))
        except RequestError as error:
            return error.status
        assert isinstance(answer, bytes)
        return answer.decode()

    async def events(self, text: str, most: int = 100) -> list[str | int]:
        """What a client gets that leaves after `most` events; a failure is its status."""
        answer = await self.workers.answer(Request(text.encode(), ""))
        assert isinstance(answer, Stream)
        told: list[str | int] = []
        try:
            async with aclosing(aiter(answer)) as reading:
                async for event in reading:
                    told.append(event.decode())
                    if len(told) == most:
                        break
        except RequestError as error:
            told.append(error.status)
        return told

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            await asyncio.sleep(0.01)


def served(story: Callable[[Service], Awaitable[None]], **settings: Any) -> Service:
    """Runs the story once the workers are ready, and ends them."""
    service = Service(**settings)

    async def main() -> None:
        assert await service.ask("early") == 503
        service.workers.start()
        await service.until(lambda: service.workers.started or bool(service.failed))
        try:
            await asyncio.wait_for(story(service), 120)
        finally:
            service.workers.end()

    asyncio.run(main())
    assert all(process.returncode is not None for process in service.processes)
    return service


def test_every_process_is_started_and_takes_requests(tmp_path: Path) -> None:
    async def story(service: Service) -> None:
        assert service.workers.ready
        assert service.workers.openapi == {"a": 1}
        gates = [asyncio.create_task(service.ask(f"gate {tmp_path}/open")) for _ in range(2)]
        await asyncio.sleep(0)
        assert await service.ask("a") == "a"  # the third is free
        Path(tmp_path, "open").touch()
        assert await asyncio.gather(*gates) == [f"gate {tmp_path}/open"] * 2

    assert len(served(story, workers=3).processes) == 3


def test_more_than_max_queue_are_refused_at_once_and_the_others_answered(tmp_path: Path) -> None:
    async def story(service: Service) -> None:
        gate = asyncio.create_task(service.ask(f"gate {tmp_path}/open"))
        waiting = [asyncio.create_task(service.ask(str(number))) for number in range(4)]
        assert await waiting[2] == await waiting[3] == 503
        with pytest.raises(RequestError) as refused:
            await service.workers.answer(Request(b"", ""))
        assert refused.value.headers == {"Retry-After": "1"}
        Path(tmp_path, "open").touch()
        await gate
        assert await asyncio.gather(*waiting[:2]) == ["0", "1"]

    served(story, max_queue=2)


def test_what_queued_while_a_call_ran_is_one_call_with_an_answer_each(tmp_path: Path) -> None:
    async def story(service: Service) -> None:
        gate = asyncio.create_task(service.ask(f"gate {tmp_path}/open"))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(service.ask(text)) for text in ("a", "bad", "c", "d")]
        await asyncio.sleep(0)
        Path(tmp_path, "open").touch()
        await gate
        assert await asyncio.gather(*waiting) == ["a+bad+c", 422, "a+bad+c", "d"]

    served(story, batch="row-wise", max_batch_size=3)


def test_a_call_that_hangs_is_ended_and_those_behind_it_are_answered() -> None:
    async def story(service: Service) -> None:
        assert await service.ask("hang") == 504
        while (answer := await service.ask("a")) == 504:  # on a machine too busy to start another in time
            pass
        assert answer == "a"

    service = served(story, inference_timeout=2.0)
    assert len(service.processes) == 2
    assert service.processes[0].returncode == -9


def test_a_request_that_ends_the_process_costs_nobody_else(tmp_path: Path) -> None:
    async def story(service: Service) -> None:
        gate = asyncio.create_task(service.ask(f"gate {tmp_path}/open"))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(service.ask(text)) for text in ("a", "die", "c")]
        await asyncio.sleep(0)
        Path(tmp_path, "open").touch()
        await gate
        assert await asyncio.gather(*waiting) == ["a", 500, "c"]

    assert len(served(story, batch="row-wise").processes) == 3


def test_a_process_takes_as_many_calls_at_a_time_as_it_is_said_to(tmp_path: Path) -> None:
    async def story(service: Service) -> None:
        gates = [asyncio.create_task(service.ask(f"gate {tmp_path}/open")) for _ in range(2)]
        await asyncio.sleep(0)
        assert await service.ask("a") == "a"  # the third call of three
        last = asyncio.create_task(service.ask(f"gate {tmp_path}/open"))
        await asyncio.sleep(0)
        behind = asyncio.create_task(service.ask("b"))
        await asyncio.sleep(0.2)
        assert not behind.done()
        Path(tmp_path, "open").touch()
        assert await asyncio.gather(*gates, last, behind) == [*[f"gate {tmp_path}/open"] * 3, "b"]

    assert len(served(story, concurrency=3).processes) == 1


def test_a_call_that_ends_its_process_costs_those_beside_it_nothing(tmp_path: Path) -> None:
    """They are asked again, each alone, so that the one to blame is found."""

    async def story(service: Service) -> None:
        asked = [asyncio.create_task(service.ask(text)) for text in (f"gate {tmp_path}/open", "die", f"gate {tmp_path}/open")]
        await service.until(lambda: len(service.processes) == 2)
        Path(tmp_path, "open").touch()
        assert await asyncio.gather(*asked) == [f"gate {tmp_path}/open", 500, f"gate {tmp_path}/open"]

    assert len(served(story, concurrency=3).processes) == 3


def test_an_answer_in_pieces_ends_with_its_last_and_with_its_process() -> None:
    async def story(service: Service) -> None:
        assert await service.events("events 2") == ["0", "1", "events 2"]
        assert await service.events("events 5") == ["0", "1", "2", 500]
        assert await service.ask("a") == "a"

    assert len(served(story).processes) == 2


def test_a_stream_that_stands_still_is_ended_with_its_process_and_so_is_one_that_nobody_reads() -> None:
    """Each event has INFERENCE_TIMEOUT; after a client has left, all that are still to come have it together."""

    async def story(service: Service) -> None:
        assert await service.events("still 2") == ["0", "1", 504]
        await service.until(lambda: service.workers.ready)
        assert await service.events("endless 1", most=1) == ["0"]
        await service.until(lambda: len(service.processes) == 3 and service.workers.ready)
        assert await service.ask("a") == "a"

    assert [process.returncode for process in served(story, inference_timeout=1.0).processes[:2]] == [-9, -9]


def test_an_idle_process_that_is_killed_is_replaced() -> None:
    async def story(service: Service) -> None:
        service.processes[0].kill()
        await service.until(lambda: len(service.processes) == 3 and service.workers.ready)
        assert await service.ask("a") == "a"

    served(story, workers=2)


def test_a_process_that_never_gets_ready_ends_them_all() -> None:
    async def story(service: Service) -> None:
        assert service.failed == [1]
        assert not service.workers.started

    served(story, program=DIES, workers=2)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.lists(st.binary(max_size=20), max_size=3))), st.integers(1, 50))
def test_messages_arrive_whole_whatever_they_are_cut_into(told: list[tuple[str, list[bytes]]], size: int) -> None:
    messages = [Message(kind, {"n": len(bodies)}, bodies) for kind, bodies in told]
    data, parser = b"".join(map(packed, messages)), Parser()
    assert [message for at in range(0, len(data), size) for message in parser.feed(data[at : at + size])] == messages
