"""Three promotions, shown as they happen: a first model, a better one, and one with wrong answers, which is aborted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from promoter import config, output
from promoter.commands.plan import plan
from promoter.commands.promote import promote
from promoter.demo.place import Place
from promoter.demo.repository import ALIAS, ENVIRONMENT, MODEL
from promoter.demo.traffic import Traffic
from promoter.demo.training import Recipe, Training
from promoter.errors import ExitCode, PromoterError
from promoter.model_registry import ModelReference
from promoter.promotion import releases
from promoter.promotion.clients import Clients
from promoter.promotion.ending import Ending
from promoter.promotion.follow import Follower
from promoter.promotion.steps import Steps
from promoter.promotion.watch import Clock


@dataclass(frozen=True, slots=True)
class Setup:
    """The cluster as the story sees it: variables to reach Argo CD with, where clients ask, how time passes for promoter.

    `show` makes an ending what people read of it; `sights` are what is worth a look afterwards, by its name.
    """

    environ: Mapping[str, str]
    predict_url: str
    show: Callable[[Ending], str]
    clock: Clock = field(default_factory=Clock)
    sights: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One version of the model: how it is trained, and how its promotion is to end."""

    trained: str
    recipe: Recipe
    ends: ExitCode = ExitCode.DONE


STEPS = (
    Step("on a few rows", Recipe(rows=20)),
    Step("on many more rows", Recipe(rows=1500)),
    Step("with fraud and no fraud mixed up", Recipe(rows=1500, flipped=True), ExitCode.RESTORED),
)


@dataclass(frozen=True, slots=True)
class Result:
    """How a step ended, after how many seconds of promoting and watching."""

    ending: Ending
    seconds: float


def run(place: Place, setup: Setup, training: Training) -> None:
    """Runs every step; after the first one, a client sends requests to the Service.

    Raises:
        PromoterError: it did not go as it was to go.
    """
    _go_direct()
    first, *others = STEPS
    results = [_run_step(place, setup, training, first)]
    output.say("\nFrom now on a client asks the Service for predictions, every 50 ms.")
    with Traffic(setup.predict_url, training.example) as traffic:
        results += [_run_step(place, setup, training, step) for step in others]
    _summary(place, setup, results, traffic)
    if traffic.failures or not traffic.requests:
        raise PromoterError(f"{len(traffic.failures)} of {traffic.requests} requests failed: {', '.join(traffic.failures[:3])}")


def _go_direct() -> None:
    """A company's proxy is not to be asked for what is on this machine."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = f"{known},127.0.0.1" if known else "127.0.0.1"


def _run_step(place: Place, setup: Setup, training: Training, step: Step) -> Result:
    output.say(f"\nA data scientist trains {MODEL} {step.trained}, and calls the new version @{ALIAS}.")
    accuracy = training.register(step.recipe)
    output.say(f"Of the cases it has not seen, it gets {accuracy:.0%} right.\n")
    output.say(f"$ promoter promote {MODEL}@{ALIAS} --to {ENVIRONMENT}")
    started = time.monotonic()
    ending = _promote(place, setup)
    output.say(f"(exit code {ending.exit_code:d})")
    if ending.exit_code is not step.ends:
        raise PromoterError(
            f"the promotion of version {ending.release.version} was to end with exit code {step.ends:d}, "
            f"and ended with {ending.exit_code:d}: {ending.verdict.summary}",
            hint=f"everything is still in {place.folder}",
        )
    return Result(ending, time.monotonic() - started)


def _promote(place: Place, setup: Setup) -> Ending:
    """What `promoter promote` does, with the same lines."""
    clients = Clients(config.load(place.checkout / config.FILE), setup.environ)
    environment = clients.config.environment(ENVIRONMENT, MODEL)
    steps = Steps(output.report)
    outcome = promote(clients, plan(clients, environment, ModelReference.parse(f"{MODEL}@{ALIAS}"), steps), steps)
    progress = output.Progress(environment.application.name, in_json=False)
    follower = Follower(clients, environment, progress.verdict, progress.say, clock=setup.clock, on_look=progress.look)
    ending = follower.follow(releases.current(follower.repository, environment, outcome.commit))
    output.data(setup.show(ending))
    return ending


# -- what it comes to -------------------------------------------------------------------------------------------------


def _summary(place: Place, setup: Setup, results: Sequence[Result], traffic: Traffic) -> None:
    place.git("pull", "--quiet", "--ff-only")
    better, wrong = results[1].ending, results[2].ending
    output.say(f"\nWhat the promotion of version {better.release.version} changed in Git:\n")
    output.data(place.git("show", "--format=%B", "--unified=0", better.commit), diff=True)
    output.say(f"\nWhat put version {better.release.version} back:\n")
    output.data(place.git("show", "--no-patch", "--format=%B", str(wrong.restored)))
    output.say("\nversion  verdict  exit code  seconds")
    for result in results:
        ending = result.ending
        output.say(f"{ending.release.version:<9}{ending.verdict.kind:<9}{ending.exit_code:<11d}{result.seconds:.1f}")
    output.say(f"\nThe client asked {traffic.requests} times: {len(traffic.failures)} requests failed.")
    if traffic.wrong:
        output.say(f"{traffic.wrong} answers were wrong: the canary of version {wrong.release.version} gave them.")
    output.say(f"\nWhere to look:\n{output.table([*_links(place), *setup.sights])}")


def commands(place: Place) -> list[tuple[str, str]]:
    """What is worth to be run afterwards, as long as the repository's branch is there."""
    file = place.checkout / config.FILE
    return [
        ("  what an environment deployed", f"promoter history {ENVIRONMENT} --config {file}"),
        ("  what it would change", f"promoter plan {MODEL}:1 --to {ENVIRONMENT} --config {file}"),
    ]


def _links(place: Place) -> list[tuple[str, str]]:
    return [
        ("  the repository", f"git -C {place.checkout} log --patch"),
        ("  the models", f"mlflow ui --backend-store-uri {place.tracking_uri}"),
    ]
