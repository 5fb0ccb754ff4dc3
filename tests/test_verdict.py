"""The verdict over every recorded line of a live Argo CD, against labels written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from promoter.verdict import judge
from tests.support.argocd_recordings import labelled, labels, moments

PROMOTIONS = [(scenario, promotion) for scenario in labelled() for promotion in labels(scenario)["promotions"]]


@pytest.mark.parametrize(("scenario", "promotion"), PROMOTIONS, ids=[f"{s}-{p['commit'][:4]}" for s, p in PROMOTIONS])
def test_no_line_of_a_recording_is_judged_wrongly(scenario: str, promotion: Mapping[str, Any]) -> None:
    wrong, judged = [], 0
    for moment in moments(scenario, promotion):
        verdict, right = judge(moment.seen, moment.expected), moment.label
        said = (verdict.kind, verdict.reason, verdict.restore, verdict.sync_due, verdict.held_by)
        judged += 1
        if said != (right.kind, right.reason, right.restore, right.sync_due, right.held_by):
            wrong.append(f"{moment.t} {moment.call}: {verdict} instead of {right}")
    assert judged > 5
    assert not wrong, "\n".join(wrong[:5])
