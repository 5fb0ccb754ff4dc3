"""How a command ends that has followed a release or a pull request: what it prints, its summary, and its exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import typer

from promoter.cli import run
from promoter.cli.common import say_unless_json
from promoter.cli.options import Output
from promoter.cli.run import RUN

if TYPE_CHECKING:
    from promoter.models import Environment, Release, Step
    from promoter.output import Progress
    from promoter.promotion.ending import Ending, Opened
    from promoter.promotion.follow import Follower
    from promoter.promotion.pull_request import PullRequestOpener


def end(
    output: Output,
    progress: Progress,
    environment: Environment,
    ending: Ending,
    known: Mapping[str, object] | None = None,
    steps: Sequence[Step] = (),
) -> NoReturn:
    """How a release that was followed ended; `known` and `steps` are about its way into Git, if this command committed it."""
    from promoter import output as out
    from promoter.cli import summary
    from promoter.cli.text import ending_text

    unfinished = run.unfinished(ending.exit_code)
    progress.outcome({**(known or {}), **out.plain(ending), "resume": RUN.watch if unfinished and RUN.commit else None})
    say_unless_json(output, ending_text(ending))
    for hint in RUN.hints(ending.exit_code) if unfinished else RUN.next(ending.exit_code) if _at_a_terminal() else ():
        out.say(f"hint: {hint}")
    summary.conclude(summary.ended(environment, ending, steps))
    raise typer.Exit(ending.exit_code)


def _at_a_terminal() -> bool:
    """Where a person has followed a release to its end."""
    from promoter.output import screen

    return bool(RUN.commit) and screen.is_one()


def await_merge(
    output: Output,
    progress: Progress,
    follower: Follower,
    work: PullRequestOpener,
    opened: Opened,
    release: Release,
    known: Mapping[str, object],
    *,
    follow: bool,
) -> NoReturn:
    """Waits for the merge of a pull request and, if it should be watched, for the end of its release."""
    from promoter.cli import summary
    from promoter.promotion import releases
    from promoter.promotion.announce import Announcer

    progress.say(f"{opened.done} {opened.url}: {opened.title}")
    progress.waits(f"waiting for {opened.url} to be merged")
    ended = follower.merge(work, opened)
    progress.say(ended.detail)
    if ended.merged is None:
        Announcer(follower.clients, follower.environment).unmerged(release, opened, ended)
    if ended.merged is None or not follow:
        progress.outcome({**known, "exit_code": ended.exit_code, "merged": ended.merged, "note": ended.detail})
        say_unless_json(output, ended.detail)
        summary.conclude(summary.proposed(follower.environment, release, opened.url, ended.detail, ended.exit_code))
        raise typer.Exit(ended.exit_code)
    committed = releases.merged(follower.repository, follower.environment, ended.merged, release)
    end(output, progress, follower.environment, follower.follow(committed), {**known, "merged": ended.merged})
