"""What a person sees at a terminal while a release rolls out, screen by screen."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from promoter.output.rollout import RolloutView
from promoter.verdict import Kind, Verdict
from tests.support.argo_world import FAILS, World, world
from tests.support.observations import canary
from tests.support.terminal import Terminal, terminal

_MOVES = "▸"


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ, settings="watch: {stable-for: 0}\n") as one:
        yield one


def watching(it: World, *options: str) -> tuple[list[str], dict[str, str]]:
    """`promoter watch` as a person types it."""
    environ = {name: value for name, value in it.clients.environ.items() if name not in ("CI", "COLUMNS", "LINES")}
    command = [sys.executable, "-m", "promoter", "watch", "staging", "-c", str(it.folder / "promoter.yaml"), *options]
    return command, {**environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


def until_rolling(it: World, shown: Terminal) -> None:
    """The sandbox's time stands still while it is in the first pause."""
    it.settle(3)
    shown.wait_until(lambda lines: any(f"{_MOVES}  pause 5s" in line for line in lines))


def test_the_rollout_is_drawn_in_place_and_nothing_of_it_stays(it: World) -> None:
    it.promote(2)
    with terminal(*watching(it)) as shown:
        until_rolling(it, shown)
        narrow = shown.lines
        shown.resize(140, 50)
        shown.wait_until(
            lambda lines: sum(_MOVES in line for line in lines) == 1 and lines[0].startswith("fraud-detector-staging")
        )
        it.settle()
        shown.wait_for("live")
        shown.wait_for_the_end()
    assert narrow[0].startswith("fraud-detector-staging  rolling, for ")
    drawn = "\n".join(narrow)
    for fact in (
        "✓  setWeight 34",
        "·  analysis success-rate",
        "·  setWeight 67",
        "34 %",
        "stable  ",
        "new     1 of 1 ready",
    ):
        assert fact in drawn
    assert "…" not in drawn
    assert not shown.screen.cursor.hidden
    left = "\n".join(shown.lines)
    assert "fraud-detector version 2 in staging: live." in left
    assert "hint: see how it stands: promoter status staging" in left
    assert "hint: or go back to the release before: promoter rollback staging" in left
    assert not any(sign in left for sign in (_MOVES, "setWeight", "━"))


def test_nothing_is_left_after_an_interrupt(it: World) -> None:
    it.promote(2)
    with terminal(*watching(it)) as shown:
        until_rolling(it, shown)
        shown.type("\x03")
        shown.wait_for("hint: watch it to its end: promoter watch staging")
        shown.wait_for_the_end()
    assert not shown.screen.cursor.hidden
    assert not any(sign in "\n".join(shown.lines) for sign in (_MOVES, "setWeight", "━"))


def test_plain_lines_on_a_terminal(it: World) -> None:
    it.promote(2)
    with terminal(*watching(it, "--plain")) as shown:
        it.settle(3)
        shown.wait_for("fraud-detector-staging rolling step ")
        it.settle()
        shown.wait_for_the_end()
    assert "\x1b" not in shown.shown


def test_the_reason_of_an_abort_stays(it: World) -> None:
    it.behaviours["2"] = FAILS
    it.promote(2)
    with terminal(*watching(it)) as shown:
        until_rolling(it, shown)
        it.settle()
        shown.wait_for("aborted (analysis failed)")
        shown.wait_for("restored version 1 with commit ")
        it.settle()
        shown.wait_for("hint: see what failed: promoter history staging ")
        shown.wait_for_the_end()
    assert "metric success-rate Failed, measured 0.4 (2 times)" in shown.shown


# -- one drawing ------------------------------------------------------------------------------------------------------


def drawn(view: RolloutView, columns: int, lines: int) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=lines, force_terminal=True, color_system=None)
    console.print(view)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("columns", [40, 80, 140])
@pytest.mark.parametrize("lines", [4, 6, 10, 24])
def test_it_fits_every_window(columns: int, lines: int) -> None:
    view = RolloutView("fraud-detector", str)
    view.look(
        canary(20, 40, "back-off 5m0s restarting failed container " * 4),
        Verdict(Kind.ROLLING, "more replicas need to be updated", step=20, steps=40, weight=50),
    )
    made = drawn(view, columns, lines)
    assert len(made) < lines
    assert max(map(len, made)) <= columns
    assert made[0].startswith("fraud-detector  rolling, for 0 s")
    assert "more replicas need to be updated" in " ".join(line.strip() for line in made[-2:])
    assert "…" not in "".join(made)


def test_clocks_of_steps() -> None:
    now = [0.0]
    view = RolloutView("fraud-detector", str, clock=lambda: now[0])
    verdict = Verdict(Kind.ROLLING, "it rolls")
    view.look(canary(0, 3), verdict)
    now[0] = 70.0
    view.look(canary(1, 3), verdict)
    now[0] = 75.0
    rows = [line.split() for line in drawn(view, 80, 24)]
    assert ["✓", "setWeight", "0", "1", "min", "10", "s"] in rows
    assert ["▸", "setWeight", "1", "5", "s"] in rows
    assert ["·", "setWeight", "2"] in rows


def test_a_step_that_is_gone_back_to_has_a_new_clock() -> None:
    now = [0.0]
    view = RolloutView("fraud-detector", str, clock=lambda: now[0])
    for second, step in ((0.0, 0), (10.0, 2), (20.0, 0)):
        now[0] = second
        view.look(canary(step, 3), Verdict(Kind.ROLLING, "it rolls"))
    rows = [line.split() for line in drawn(view, 80, 24)]
    assert ["▸", "setWeight", "0", "0", "s"] in rows
    assert ["·", "setWeight", "2"] in rows


def test_secrets_and_control_characters_are_not_drawn() -> None:
    view = RolloutView("fraud-detector", lambda text: text.replace("s3cret", "***").replace("\x1b", "\\x1b"))
    view.look(canary(0, 1, "pull with s3cret \x1b[31m"), Verdict(Kind.ROLLING, "s3cret"))
    text = "\n".join(drawn(view, 80, 24))
    assert "s3cret" not in text
    assert "\x1b[31m" not in text
