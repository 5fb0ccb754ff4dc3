"""In a log a step that takes long is named again, until it ends."""

from __future__ import annotations

import threading
import time

import pytest

from promoter import output
from promoter.models import Status, Step
from promoter.output.heartbeat import Heartbeat, elapsed
from promoter.verdict import Kind, Verdict


class Log:
    """The lines of a heartbeat; `next` waits for one more."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = threading.Semaphore(0)

    def __call__(self, text: str) -> None:
        self.lines.append(text)
        self._more.release()

    def next(self) -> str:
        assert self._more.acquire(timeout=60)
        return self.lines[-1]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Of the heartbeat of all commands, every tenth of a second."""
    log = Log()
    monkeypatch.setattr(output, "_HEARTBEAT", Heartbeat(log, every=0.1))
    return log


def test_a_step_is_named_until_it_ends(log: Log) -> None:
    output.report(Step("image", Status.RUNNING))
    assert [log.next(), log.next()] == ["… image, for 0 s"] * 2
    output.report(Step("image", Status.SUCCEEDED))
    known = len(log.lines)
    time.sleep(0.5)
    assert len(log.lines) <= known + 1  # one may be on its way
    output.report(Step("commit", Status.RUNNING))
    assert log.next().startswith("… ")
    assert log.next().startswith("… commit, for ")


def test_a_release_is_named_with_its_step_and_what_it_waits_for(log: Log) -> None:
    progress = output.Progress("staging", in_json=False)
    progress.verdict(Verdict(Kind.ROLLING, "Rollout x: paused", step=2, steps=4, weight=34))
    assert log.next() == "… staging rolling step 2 of 4, 34 %: Rollout x: paused, for 0 s"
    progress.verdict(Verdict(Kind.LIVE, "version 2 is live"))
    known = len(log.lines)
    time.sleep(0.5)
    assert len(log.lines) <= known + 1  # one may be on its way
    progress.waits("waiting for https://example.com/pull/7 to be merged")
    assert log.next().startswith(("… staging ", "… waiting for https://example.com/pull/7 to be merged, for "))
    assert log.next().startswith("… waiting for https://example.com/pull/7 to be merged, for ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (190, "3 min 10 s"), (3_900, "1 h 05 min")]
)
def test_elapsed_time_is_short(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
