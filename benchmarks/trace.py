"""What one promotion costs in steps, not in seconds: fetches, git processes, parsed overlays, moves between files.

Counted by Python's profile hook, so the code that is measured does not know. Run it alone: `python -m benchmarks trace`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import promoter
from benchmarks.figures import Figure, Section
from benchmarks.promotion import write_path
from promoter import config
from promoter.commands.plan import plan
from promoter.commands.promote import promote
from promoter.commands.reconcile import Reconciler
from promoter.model_registry import ModelReference
from promoter.promotion.clients import Clients
from promoter.promotion.steps import Steps
from promoter.promotion.survey import Survey
from promoter.webhook.controller import Controller
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.work import Key, Work
from promoter.webhook.work_queue import WorkQueue
from tests.support.argo_world import TIMING, World, WorldClients, world
from tests.support.mlflow_server import MlflowServer
from tests.support.write_path import WritePath

_ROOT = str(Path(promoter.__file__).parent)
_MODEL = "fraud-detector"
_DELIVERED = "detector"
_MOST_MOVES = 385  # half of what a promotion needed on 2026-11-23
_COUNTED = {
    "fetches": ("gitops/remote.py", "_fetch"),
    "git processes": ("gitops/process.py", "_execute"),
    "overlays read": ("kustomize/overlay.py", "read_overlay"),
    "overlays parsed": ("kustomize/release.py", "parse_overlay"),
    "repositories opened": ("gitops/remote.py", "__init__"),
    "aliases resolved": ("model_registry/registry.py", "version_of"),
    "versions resolved": ("model_registry/registry.py", "resolve"),
    "lists of Applications": ("argocd/client.py", "applications"),
}


@dataclass
class Trace:
    """How often each counted function was entered, and how often a call went from one file of promoter to another."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    moves: int = 0
    files: set[str] = field(default_factory=set)
    until: tuple[str, str] | None = None
    _ended: bool = False

    def count(self, name: str) -> int:
        return self.calls[_COUNTED[name]]

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event != "call" or self._ended or not file.startswith(_ROOT):
            return
        entered = file[len(_ROOT) + 1 :], frame.f_code.co_name
        self._ended = entered == self.until
        self.files.add(file)
        self.calls[entered] += 1
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(_ROOT):
            caller = caller.f_back
        self.moves += caller is not None and caller.f_code.co_filename != file


@contextmanager
def traced() -> Iterator[Trace]:
    trace = Trace()
    threading.setprofile(trace.profile)
    sys.setprofile(trace.profile)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def measure() -> Section:
    promotion, delivery = run()
    rows = [
        (f"{what}: {name}", str(trace.count(name)))
        for what, trace in (("promotion", promotion), ("delivery", delivery))
        for name in _COUNTED
    ]
    rows += [
        (f"{what}: files of promoter entered", str(len(trace.files)))
        for what, trace in (("promotion", promotion), ("delivery", delivery))
    ]
    return Section(
        title="Steps of a promotion that is warm, and of a delivery up to its commit",
        rows=tuple(rows),
        figures=(
            Figure("fetches of a promotion", promotion.count("fetches"), at_most=2, unit=""),
            Figure("git processes of a promotion", promotion.count("git processes"), at_most=11, unit=""),
            Figure("overlays parsed by a promotion", promotion.count("overlays parsed"), at_most=3, unit=""),
            Figure("moves between files of a promotion", promotion.moves, at_most=_MOST_MOVES, unit=""),
            Figure("fetches of a delivery", delivery.count("fetches"), at_most=3, unit=""),
            Figure("lists of Applications of a delivery", delivery.count("lists of Applications"), at_most=1, unit=""),
            Figure("aliases resolved by a delivery", delivery.count("aliases resolved"), at_most=1, unit=""),
        ),
        notes=(
            "Before plan, commit and receiver shared what they read, the same script counted for a promotion 3 fetches, 20 git "
            "processes, 4 overlays parsed and 630 moves, and for a delivery 5 fetches, 61 git processes, 10 overlays parsed, "
            "2 lists of Applications and 2 resolutions of the alias.",
        ),
    )


def run() -> tuple[Trace, Trace]:
    """A warm promotion of a published version, and a delivery that finds the alias moved, up to the commit."""
    with write_path() as path:
        for version in ("1", "2"):
            path.register()
            path.promote(f"{_MODEL}:{version}")
        path.promote(f"{_MODEL}:1")
        with traced() as promotion:
            _promote(path, "2")
        delivery = _deliver(path.server)
    return promotion, delivery


def _promote(path: WritePath, version: str) -> None:
    clients = Clients(config.load(path.config), path.environ)
    environment, steps = clients.config.environment("staging", _MODEL), Steps()
    made = plan(clients, environment, ModelReference.parse(f"{_MODEL}:{version}"), steps, rendering=False)
    assert promote(clients, made, steps).commit


def _deliver(server: MlflowServer) -> Trace:
    """The receiver's own threads, woken as by a delivery; what comes after the commit is not counted."""
    source = f"models:/{server.log_model()}"
    for _ in range(2):
        server.register(_DELIVERED, source)
    server.set_alias(_DELIVERED, "champion", "1")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": server.url}
    lines = "  alias: champion\n  on-alias: promote\n"
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), environ, model=_DELIVERED, lines=lines) as it:
        it.remote.commit({"overlays/staging/promotion.yaml": "versions:\n"}, "Add the file of decisions")  # as init writes it
        it.committed()  # warm
        server.set_alias(_DELIVERED, "champion", "2")
        before = it.remote.tip()
        with traced() as trace:
            trace.until = ("promotion/follow.py", "follow")
            _reconciled(it)
        assert it.remote.tip() != before
    return trace


def _reconciled(it: World) -> None:
    log, metrics = Log(in_json=True), Metrics()
    reconciler = partial(Reconciler, timing=TIMING, clock=it.clock)
    work = Work(_Source(it), reconciler, lambda *_: None, metrics, log)
    queue = WorkQueue[Key](work, work.failed, workers=1)
    done = threading.Event()

    def add(key: Key, survey: Survey) -> None:
        work.found(key, survey)
        queue.add(key)
        done.set()

    controller = Controller(_Source(it), Survey, add, 3600.0, metrics, log)
    controller.start()
    assert done.wait(60)
    while queue.length:
        done.wait(0.01)
        threading.Event().wait(0.01)
    controller.close()
    controller.join()
    queue.close()


@dataclass(frozen=True)
class _Source:
    it: World

    def clients(self) -> Clients:
        return WorldClients(config.load(self.it.folder / "promoter.yaml"), self.it.clients.environ)
