"""What the answers of a version are checked with once it is served, by the files that were logged with it. Pure.

The checks themselves run in the image (`promoter.serving.predictions`): in the smoke test and in the analysis of a canary.
"""

from __future__ import annotations

from dataclasses import dataclass

from promoter.models import ModelVersion
from promoter.promotion.gates.golden import GOLDEN, UNJUDGED

_REQUESTS = ("serving_input_example.json", "serving_input_payload.json")
_ANSWER = "serving_output_example.json"


@dataclass(frozen=True, slots=True)
class Check:
    """One of the three: `declared` if something was logged for it, and in `detail` what."""

    name: str
    declared: bool
    detail: str


def checks(version: ModelVersion) -> tuple[Check, ...]:
    """Is it served as it was logged, is it right, and how far is it from the release that is stable?"""
    names = {file.path for file in version.files}
    request = next((name for name in _REQUESTS if name in names), "")
    answers, golden = bool(request) and _ANSWER in names, GOLDEN in names
    if answers:
        logged = f"its answers to {request} equal {_ANSWER}"
    else:
        logged = f"its answers to {request} are only finite and match the signature" if request else "it has no example"
    asked = GOLDEN if golden else request
    stable = f"on the rows of {asked}, in the canary's analysis" if asked else "nothing to ask both of them"
    return (
        Check("as logged", answers, logged),
        Check("golden examples", golden, f"enough of its answers to {GOLDEN} are right" if golden else UNJUDGED),
        Check("against stable", bool(asked), stable),
    )
