"""A group of environments as one run has it: how each stands and is followed, and what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from promoter.errors import ExitCode
from promoter.models import Environment
from promoter.promotion import releases
from promoter.promotion.ending import Opened
from promoter.promotion.follow import Follower
from promoter.promotion.gates.places import live_since
from promoter.promotion.observe import Observer
from promoter.promotion.watch import Clock, Timing
from promoter.promotion.waves import Standing, Tips, standing
from promoter.verdict import Verdict, judge

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients
    from promoter.promotion.record import Made
    from promoter.promotion.releases import Committed


class ProgressView(Protocol):
    """Where the progress of a followed release is shown."""

    def verdict(self, verdict: Verdict) -> None: ...
    def say(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Arrived:
    """What became of one environment, in a sentence. `commit` brought a release, `restored` undid it there.

    `pull_request` proposes the release, or the one before it.
    """

    environment: str
    region: str
    wave: int
    detail: str
    exit_code: ExitCode = ExitCode.DONE
    commit: str | None = None
    restored: str | None = None
    pull_request: Opened | None = None


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """How a group ended, or how far this run has brought it. `promotion` is the id in the commits.

    `waiting`: it goes on when a pull request is merged or a freeze is over, or when a wave was held `until` then.
    """

    group: str
    model: str
    version: str
    promotion: str
    detail: str
    exit_code: ExitCode = ExitCode.DONE
    environments: tuple[Arrived, ...] = ()
    waiting: bool = False
    until: datetime | None = None


@dataclass
class Group:
    """One run over a group of one model: `environments`, the first wave first, with their places in Git.

    `waits` and `syncs` as in Follower. `arrived` is what became of each in this run, by name.
    """

    clients: Clients
    environments: Sequence[Environment]
    progress: Callable[[str], ProgressView]
    say: Callable[[str], None]
    timing: Timing | None = None
    clock: Clock = field(default_factory=Clock)
    waits: bool = False
    syncs: bool = False
    arrived: dict[str, Arrived] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environments = [self.clients.with_source(one) for one in self.environments]

    @property
    def name(self) -> str:
        """The group's."""
        group = self.environments[0].group
        return group.name if group else ""

    @property
    def model(self) -> str:
        """The model's name."""
        return self.environments[0].model.name

    def read(self) -> tuple[Standing, Tips]:
        """How the group stands now, at which tips. Raises as `Tips.fetched` and `waves.standing`."""
        tips = Tips.fetched(self.clients, self.environments)
        return standing(self.environments, tips.of), tips

    def follower(self, environment: Environment, clock: Clock, made: Made | None = None) -> Follower:
        """With clients of its own: each environment is followed in a thread. `made` as in Follower."""
        progress = self.progress(environment.application.name)
        return Follower(
            replace(self.clients),
            environment,
            progress.verdict,
            progress.say,
            self.timing,
            clock,
            waits=self.waits,
            syncs=self.syncs,
            made=made,
        )

    def seen(self, environment: Environment) -> tuple[Verdict, datetime]:
        """One look: the verdict on what the environment deploys, and since when that is so, as far as it is known.

        Raises:
            AuthError, UnreachableError, ArgoCDError: as Argo CD and the Git server answer.
        """
        repository = self.clients.repository(environment.application)
        committed = releases.current(repository, environment)
        observer = Observer(self.clients.argocd(), repository, environment, committed.expectation(environment))
        seen = observer.first_look(lambda seconds: self.clock.wait(seconds, threading.Event()))
        workloads = [one.workload for one in (seen, *seen.others) if one.workload]
        since = live_since(committed.commit.when, seen.application, workloads)
        return judge(seen, observer.expected), since or committed.commit.when

    def again(self, environment: Environment, clock: Clock) -> Verdict:
        """Whether what was live still is. Raises as `Follower.again`."""
        follower = self.follower(environment, clock)
        return follower.again(releases.current(follower.repository, environment)).verdict

    def followed(self, environment: Environment, committed: Committed, clock: Clock, made: Made | None = None) -> Arrived:
        """What becomes of a release there. Raises as `Follower.follow`."""
        ending = self.follower(environment, clock, made).follow(committed)
        detail = f"version {ending.release.version} is {ending.verdict.kind}: {ending.verdict.summary}"
        detail += f"; {ending.note}" if ending.note else ""
        arrived = self.arrive(environment, detail, ending.exit_code)
        return replace(arrived, commit=ending.commit, restored=ending.restored)

    def follow(self, environment: Environment, clock: Clock) -> ExitCode:
        """Follows what the environment deploys to its end, whoever promoted it."""
        follower = self.follower(environment, clock)
        return follower.follow(releases.current(follower.repository, environment)).exit_code

    def arrive(self, environment: Environment, detail: str, code: ExitCode = ExitCode.DONE) -> Arrived:
        """Notes what became of it, and returns that."""
        group = environment.group
        region, wave = (group.region, group.wave) if group else ("", 1)
        self.arrived[environment.name] = made = Arrived(environment.name, region, wave, detail, code)
        return made

    def note(self, arrived: Arrived) -> Arrived:
        """Notes more of it."""
        self.arrived[arrived.environment] = arrived
        return arrived
