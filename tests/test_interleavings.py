"""Promoters, a reconcile and people in many orders: no decision is ever violated, nobody's work is lost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from promoter.commands.plan import Plan
from promoter.kustomize import freeze_file
from promoter.kustomize.promotion_file import State
from tests.support.argo_world import MODEL
from tests.support.interleaving import (
    ALIAS,
    World,
    alias_moves,
    decisions_at,
    deployed,
    is_frozen,
    person_commits,
    person_freezes,
    person_rejects,
    person_rolls_back,
    promoter,
    reconcile,
    violations,
    without_rendering,
    world,
)

SEEDS = 120


@pytest.fixture(autouse=True)
def _not_rendered() -> Iterator[None]:
    patch = without_rendering()
    yield
    patch.undo()


def random_world(folder: Path, seed: int) -> World:
    """Some of the actors, with versions that are good or bad, in a random order."""
    chance = random.Random(seed)
    made = world(folder, chance.randrange, bad={version for version in "2345" if chance.random() < 0.4})
    made.alias = chance.choice("234")
    actors: dict[str, Callable[[], None]] = {
        "promoter A": promoter(made, f"{MODEL}@{ALIAS}"),
        "promoter B": promoter(made, f"{MODEL}:{chance.choice('234')}"),
        "reconcile A": reconcile(made),
        "reconcile B": reconcile(made),
        "person who rolls back": person_rolls_back(made),
        "person who rejects": person_rejects(made, chance.choice("234")),
        "person who freezes": person_freezes(made),
        "person who commits": person_commits(made, "theirs"),
        "person who moves the alias": alias_moves(made, chance.choice("2345")),
    }
    chosen = chance.sample(sorted(actors), k=chance.randint(2, 5))
    made.schedule.run({name: actors[name] for name in chosen})
    return made


def settled(made: World) -> None:
    """What is still missing is done by reconcile, with nobody else there."""
    for _ in range(8):
        before = len(made.line)
        reconcile(made)()
        if len(made.line) == before:
            return
    raise AssertionError("reconcile never comes to rest")


def problems(made: World) -> list[str]:
    settled(made)
    environment = made.clients.config.environments[0]
    if is_frozen(made, made.tip, environment):
        person_freezes(made, freeze_file.State.THAWED)()
        settled(made)
    found = list(violations(made))
    last = deployed(made, made.tip, environment)
    standing = decisions_at(made, made.tip, environment).get(made.alias)
    undone = standing is not None and (standing.blocks or standing.state is State.ROLLED_BACK)
    if last.version != made.alias and not undone:
        found.append(f"version {made.alias} is wanted, and {last.version} deployed")
    return found


def told(made: World) -> str:
    commits = "\n".join(f"  {one.by or 'start'}: {one.commit.subject}" for one in made.line)
    return f"order {made.schedule.taken}\n{commits}"


@pytest.mark.parametrize("block", range(4))
def test_no_order_violates_a_decision(tmp_path: Path, block: int) -> None:
    worlds = ((seed, random_world(tmp_path, seed)) for seed in range(block * SEEDS, (block + 1) * SEEDS))
    wrong = [f"seed {seed}: {found}\n{told(made)}" for seed, made in worlds if (found := problems(made))]
    assert wrong == []


def schedules(depth: int, actors: int) -> Iterator[tuple[int, ...]]:
    yield from itertools.product(range(actors), repeat=depth)


def _rejects(made: World) -> Callable[[], None]:
    return person_rejects(made, "2")


def _freezes(made: World) -> Callable[[], None]:
    return person_freezes(made)


PEOPLE = (_rejects, _freezes)


def decided_in_between(folder: Path, prefix: tuple[int, ...], person: Callable[[World], Callable[[], None]]) -> World:
    """Two promoters, and a person who is against it: `prefix` orders the first steps, then each runs to its end."""
    left = iter(prefix)
    made = world(folder, lambda _: next(left, 0), bad=())
    made.alias = "2"
    reference = f"{MODEL}:2"
    made.schedule.run({"a": promoter(made, reference), "b": person(made), "c": promoter(made, reference)})
    return made


@pytest.mark.parametrize("person", PEOPLE)
def test_every_order_of_the_first_steps_keeps_a_decision(tmp_path: Path, person: Callable[[World], Callable[[], None]]) -> None:
    worlds = ((prefix, decided_in_between(tmp_path, prefix, person)) for prefix in schedules(5, 3))
    wrong = [f"{prefix}: {found}\n{told(made)}" for prefix, made in worlds if (found := list(violations(made)))]
    assert wrong == []


@pytest.mark.parametrize("person", PEOPLE)
def test_without_the_gate_on_the_new_tip_the_orders_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: Callable[[World], Callable[[], None]]
) -> None:
    """The fault that these orders were made for: gates were asked at the plan alone."""
    monkeypatch.setattr(Plan, "require_allowed", lambda *_: ())
    found = [prefix for prefix in schedules(5, 3) if list(violations(decided_in_between(tmp_path, prefix, person)))]
    assert found
