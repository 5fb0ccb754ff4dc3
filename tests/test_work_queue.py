"""The work queue: one key never twice at once, once more where it was added meanwhile, and nothing lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter

from promoter.webhook.work_queue import WorkQueue


class Busy:
    """Work that waits at a gate, and knows how many of each key ran at once."""

    def __init__(self) -> None:
        self.gate, self.begun = threading.Event(), threading.Semaphore(0)
        self.runs, self.running, self.most = Counter[str](), Counter[str](), Counter[str]()
        self.failed: list[tuple[str, str]] = []
        self._turn = threading.Lock()

    def __call__(self, key: str) -> None:
        with self._turn:
            self.runs[key] += 1
            self.running[key] += 1
            self.most[key] = max(self.most[key], self.running[key])
        self.begun.release()
        self.gate.wait(30)
        with self._turn:
            self.running[key] -= 1
        if key == "bad":
            raise ValueError("as bad as it gets")

    def hear(self, key: str, error: BaseException) -> None:
        self.failed.append((key, str(error)))


def wait_until_idle(queue: WorkQueue[str]) -> None:
    while queue.length:
        threading.Event().wait(0.01)


def test_what_is_added_while_it_runs_runs_once_more() -> None:
    work = Busy()
    queue = WorkQueue(work, work.hear, workers=4)
    queue.add("a")
    work.begun.acquire()
    for _ in range(100):
        queue.add("a")
    assert queue.length == 1
    work.gate.set()
    wait_until_idle(queue)
    assert work.runs == {"a": 2}
    assert work.most == {"a": 1}
    queue.close()


def test_what_is_added_while_it_waits_runs_once() -> None:
    work = Busy()
    queue = WorkQueue(work, work.hear, workers=1)
    queue.add("first")
    work.begun.acquire()
    for _ in range(100):
        queue.add("second")
    work.gate.set()
    wait_until_idle(queue)
    assert work.runs == {"first": 1, "second": 1}
    queue.close()


def test_others_go_on_alongside_one_that_takes_long() -> None:
    work = Busy()
    queue = WorkQueue(work, work.hear, workers=2)
    queue.add("long")
    work.begun.acquire()
    queue.add("other")
    assert work.begun.acquire(timeout=30)
    work.gate.set()
    wait_until_idle(queue)
    queue.close()


def test_an_error_ends_one_run_and_is_reported() -> None:
    work = Busy()
    work.gate.set()
    queue = WorkQueue(work, work.hear, workers=1)
    queue.add("bad")
    queue.add("good")
    wait_until_idle(queue)
    queue.add("bad")
    wait_until_idle(queue)
    assert work.runs == {"bad": 2, "good": 1}
    queue.close()
    assert work.failed == [("bad", "as bad as it gets")] * 2


def test_closed_it_begins_nothing_more() -> None:
    work = Busy()
    queue = WorkQueue(work, work.hear, workers=1)
    queue.add("a")
    work.begun.acquire()
    for key in ("a", "b"):
        queue.add(key)
    queue.close()
    queue.add("c")
    work.gate.set()
    queue.join()
    assert (work.runs, work.running["a"]) == ({"a": 1}, 0)


def test_what_runs_may_use_threads_until_it_has_ended() -> None:
    """As an upload does. The interpreter joins threads when it ends, and lets none of them begin anything more."""
    program = """
import threading, time
from concurrent.futures import ThreadPoolExecutor
from promoter.webhook.work_queue import WorkQueue
begun = threading.Event()
def work(key):
    begun.set()
    time.sleep(0.5)
    with ThreadPoolExecutor() as pool:
        print(pool.submit(str.upper, key).result())
queue = WorkQueue(work, lambda key, error: print(error), workers=1)
queue.add("done")
begun.wait()
queue.close()
queue.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "DONE\n"


def test_many_threads_that_add_lose_nothing() -> None:
    """Whatever was added is worked on after it was added: the version seen last is the newest."""
    newest, seen = Counter[str](), Counter[str]()

    def work(key: str) -> None:
        seen[key] = newest[key]

    def add(key: str) -> None:
        for _ in range(200):
            newest[key] += 1
            queue.add(key)

    queue = WorkQueue(work, lambda *_: None, workers=4)
    threads = [threading.Thread(target=add, args=(f"key-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until_idle(queue)
    assert seen == newest
    assert set(seen.values()) == {200}
    queue.close()
