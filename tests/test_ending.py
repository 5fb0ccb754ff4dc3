"""The one table of endings: complete, and the same in README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promoter.errors import ExitCode, PromoterError, RefusedError, SupersededError, UnreachableError
from promoter.models import NoticeKind, Status
from promoter.promotion.ending import AFTER_RESTORE, EXIT_CODES, MEANINGS, OF_PULL_REQUESTS, End, worst
from promoter.promotion.steps import Steps
from promoter.promotion.watch import Watched
from promoter.verdict import Kind, Verdict

ROOT = Path(__file__).parents[1]


def test_every_ending_has_its_row() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert set(EXIT_CODES) == set(AFTER_RESTORE) == set(Kind)
    assert set(OF_PULL_REQUESTS) == set(End)


def test_only_done_is_good() -> None:
    assert [code for code, meaning in MEANINGS.items() if meaning.notice is NoticeKind.LIVE] == [ExitCode.DONE]
    assert [kind for kind, code in EXIT_CODES.items() if code is ExitCode.DONE] == [Kind.LIVE]
    assert ExitCode.DONE not in AFTER_RESTORE.values()


@pytest.mark.parametrize("kind", Kind)
def test_a_verdict_on_the_way_can_only_time_out(kind: Kind) -> None:
    verdict = Verdict(kind, "")
    assert (EXIT_CODES[kind] is ExitCode.TIMED_OUT) is not verdict.terminal
    assert Watched(verdict).exit_code is EXIT_CODES[kind]
    assert Watched(verdict, timed_out=True).exit_code is ExitCode.TIMED_OUT


def test_the_worst_of_many() -> None:
    assert worst([]) is ExitCode.DONE
    assert worst([ExitCode.REFUSED, ExitCode.SUPERSEDED]) is ExitCode.DONE, "no failure of reconcile"
    assert worst([ExitCode.RESTORED, ExitCode.UNREACHABLE, ExitCode.DONE]) is ExitCode.UNREACHABLE
    assert worst(ExitCode) is ExitCode.UNEXPECTED
    severities = [meaning.severity for meaning in MEANINGS.values() if meaning.severity]
    assert len(set(severities)) == len(severities), "two codes of the same severity have no order"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RefusedError("no"), Status.FAILED),
        (SupersededError("no"), Status.FAILED),
        (UnreachableError("no"), Status.ERRORED),
        (PromoterError("no"), Status.ERRORED),
    ],
)
def test_a_step_ends_as_the_table_has_it(error: PromoterError, status: Status) -> None:
    def work() -> None:
        raise error

    steps = Steps()
    with pytest.raises(PromoterError):
        steps.run("try", work)
    assert [step.status for step in steps.done] == [status]


def test_the_readme_has_the_same_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == sorted(ExitCode)
