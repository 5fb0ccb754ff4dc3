"""Deliveries for many models while two receivers are killed in turn: Git ends as the aliases say, nothing committed twice.

`python -m tests.soak.webhook [DELIVERIES]`. MLflow, Git and the images are real, the cluster is the sandbox. Every alias moves a
few times, always to a newer version, so that each commit shows from which move it came.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import requests

from tests.support.deliveries import Delivery, delivery
from tests.support.mlflow_server import running
from tests.support.receivers import ALIAS, Receiver, Rig, eventually, rig

MODELS, SENDERS, RATE, SHORTEST = 20, 4, 100.0, 40.0  # deliveries a second; seconds
KILL_EVERY = 3.0
_OPTIONS = ("--interval", "10", "--workers", str(MODELS))


@dataclass
class Soak:
    """`wanted`: where each alias is; `answers` counts what became of deliveries, with None for those that nobody took."""

    it: Rig
    versions: dict[str, list[str]]
    receivers: list[Receiver]
    wanted: dict[str, str] = field(default_factory=dict)
    answers: Counter[int | None] = field(default_factory=Counter)
    kills: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def send(self, count: int, seed: int) -> None:
        """As many deliveries, at an even pace; some of them after the alias was moved."""
        chance, session = random.Random(seed), requests.Session()
        moves = sum(map(len, self.versions.values())) / count / SENDERS
        pause = max(SENDERS / RATE, SHORTEST / count)
        for _ in range(count):
            started = time.monotonic()
            model = chance.choice(self.it.models)
            if chance.random() < moves * 1.5:
                self._move(model)
            self.answers[self._post(delivery(model, ALIAS, self.wanted.get(model, "1")), session, chance)] += 1
            time.sleep(max(0.0, pause - (time.monotonic() - started)))

    def _post(self, one: Delivery, session: requests.Session, chance: random.Random) -> int | None:
        """To either receiver, as a Service does it: the other one where one does not answer."""
        with self._turn:
            receivers = chance.sample(self.receivers, len(self.receivers))
        for receiver in receivers:
            try:
                return receiver.post(one, session)
            except requests.exceptions.RequestException:
                continue
        return None

    def _move(self, model: str) -> None:
        with self._turn:
            if self.versions[model]:
                self.wanted[model] = version = self.versions[model].pop(0)
                self.it.server.set_alias(model, ALIAS, version)

    def runs(self, model: str, version: str) -> bool:
        return self.it.live(model) == version

    def kill(self, ended: threading.Event) -> None:
        """One receiver after the other, with -9, some seconds after the one before is at work again at its port."""
        while not ended.wait(KILL_EVERY):
            place = self.kills % len(self.receivers)
            old = self.receivers[place]
            old.kill()
            self.kills += 1
            fresh = self.it.start(*_OPTIONS, name=f"receiver-{place}", port=old.port)
            eventually("the receiver is ready again", fresh.is_ready)
            with self._turn:
                self.receivers[place] = fresh

    def agrees(self) -> bool:
        return all(self.it.deployed(model) == version for model, version in self.wanted.items())


def soak(deliveries: int) -> str:
    """A line of figures.

    Raises:
        AssertionError: Git is not as the aliases say, or a release was committed twice.
    """
    with _world(deliveries) as one:
        started, ended = time.monotonic(), threading.Event()
        killing = threading.Thread(target=one.kill, args=(ended,), daemon=True)
        share = deliveries // SENDERS
        senders = [threading.Thread(target=one.send, args=(share, seed), daemon=True) for seed in range(SENDERS)]
        for thread in (killing, *senders):
            thread.start()
        try:
            for sender in senders:
                sender.join()
        finally:
            ended.set()
            killing.join()
        sent = time.monotonic() - started
        eventually("Git deploys what every alias names", one.agrees, 300)
        agreed = time.monotonic() - started - sent
        for model, version in one.wanted.items():
            eventually(f"{model} runs version {version}", partial(one.runs, model, version), 300)
        return _checked(one, sent, agreed)


def _checked(one: Soak, sent: float, agreed: float) -> str:
    commits = {model: one.it.history(model) for model in one.it.models}
    for model, versions in commits.items():
        numbers = list(map(int, versions))
        assert numbers == sorted(set(numbers)), f"{model}: {versions}"
        assert one.it.deployed(model) == one.wanted.get(model, "1")
    assert one.agrees()
    taken = sum(count for status, count in one.answers.items() if status == 202)
    refused = {status: count for status, count in one.answers.items() if status not in (202, None)}
    assert not refused, refused
    moves = sum(int(version) - 1 for version in one.wanted.values())
    return (
        f"{sum(one.answers.values())} deliveries in {sent:.0f} s, {taken} accepted, {one.answers[None]} to nobody; "
        f" {one.kills} receivers killed; {len(one.wanted)} of {MODELS} aliases moved {moves} times, "
        f"{sum(map(len, commits.values()))} commits, none twice; Git agreed {agreed:.1f} s after the last delivery"
    )


@contextmanager
def _world(deliveries: int) -> Iterator[Soak]:
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Path(name, "home")
        for made in (folder / "mlflow", folder / "world", home):
            made.mkdir()
        os.environ.update(HOME=str(home), XDG_CACHE_HOME=str(home / ".cache"))
        with running(folder / "mlflow") as server, rig(folder / "world", server, [f"model-{n}" for n in range(MODELS)]) as it:
            versions = {model: it.register(model, max(2, deliveries // 1000)) for model in it.models}
            receivers = [it.ready(*_OPTIONS, name=f"receiver-{place}") for place in range(2)]
            yield Soak(it, versions, receivers)


if __name__ == "__main__":
    print(soak(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
