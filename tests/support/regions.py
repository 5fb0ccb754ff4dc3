"""Three regions of one group in a small world (`argo_world`), with a model registry that has versions for them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from promoter.commands.group import Group, GroupOutcome
from promoter.commands.reconcile import Reconciled, Reconciler
from promoter.commands.waves import Waves, Wishes, resolved
from promoter.kustomize.wave_file import State
from promoter.model_registry import ModelReference
from promoter.promotion.steps import silent
from promoter.promotion.waves import Stage
from promoter.verdict import Verdict
from tests.support.argo_world import TIMING, World, world
from tests.support.mlflow_server import MlflowServer

REGIONS = ("eu", "us", "ap")


@dataclass
class Regions:
    """Three regions of one group, one after another; version 1 is live in all of them, and versions 2 and 3 are registered."""

    it: World
    server: MlflowServer
    said: list[str] = field(default_factory=list)

    def waves(self, *, holds: bool = True) -> Waves:
        it = self.it
        group = Group(it.clients, it.clients.config.group("production"), lambda _: self, self.say, TIMING, it.clock)
        return Waves(group, Wishes(rendering=False, holds=holds))

    def promote(self, version: str, *, holds: bool = True) -> GroupOutcome:
        waves = self.waves(holds=holds)
        return waves.promote(resolved(waves.group, ModelReference(self.it.model, version=version)))

    def reconcile(self, *names: str) -> dict[str, Reconciled]:
        chosen = [one for one in self.it.clients.config.environments if not names or one.name in names]
        done = Reconciler(self.it.clients, silent, lambda _: self, TIMING, self.it.clock).run(chosen)
        return {one.environment: one for one in done}

    def say(self, text: str) -> None:
        self.said.append(text)

    def verdict(self, verdict: Verdict) -> None:
        """What progress is shown with."""

    @property
    def versions(self) -> list[str]:
        """What Git deploys in each region."""
        every = self.it.clients.config.environments
        return [self.it.committed(environment=one.name).release.version for one in every]

    @property
    def states(self) -> list[State | None]:
        return [one.state for one in self.waves().group.read()[0].members]

    @property
    def stage(self) -> Stage:
        return self.waves().group.read()[0].stage

    def live(self) -> list[str]:
        """The version that runs in each region."""
        self.it.settle()
        seen = [self.waves().group.seen(one) for one in self.waves().group.environments]
        assert [verdict.kind.value for verdict, _ in seen] == ["live"] * 3
        return self.versions

    def trailers(self, name: str) -> set[str]:
        values = (line.partition(": ") for line in self.it.remote.log("%(trailers:only,unfold)"))
        return {value for key, _, value in values if key == name}


def group(soak: Mapping[str, float] | None = None, policy: str = "hold") -> dict[str, str]:
    held = soak or {}
    return {
        name: f"  group: production\n  wave: {wave}\n  region: {name}\n  soak: {held.get(name, 0)}\n  on-wave-failure: {policy}\n"
        for wave, name in enumerate(REGIONS, 1)
    }


@contextmanager
def regions(
    folder: Path,
    server: MlflowServer,
    own: Mapping[str, str],
    lines: str = "",
    names: Sequence[str] = REGIONS,
    settings: str = "",
) -> Iterator[Regions]:
    model = f"detector-{uuid.uuid4().hex[:8]}"
    for _ in range(3):
        server.register(model, f"models:/{server.log_model()}")
    server.set_alias(model, "champion", "1")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": server.url}
    with world(folder, environ, environments=names, model=model, lines=lines, settings=settings, own=own, step=0.5) as it:
        yield Regions(it, server)
