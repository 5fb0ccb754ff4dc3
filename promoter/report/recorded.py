"""The record of a promotion as a report shows it. Whoever may push to the registry may write one: its form is checked here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from promoter.errors import RefusedError

_MOST = 100  # of each list: promoter writes fewer
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_COMPARED = re.compile(rf"(?:[<>]=?|==)\s*({_NUMBER})(?![\w.])")
_VALUE = re.compile(rf"\[?\s*({_NUMBER})\s*\]?")

Texts = Annotated[tuple[str, ...], Field(max_length=_MOST)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Step(_Part):
    """A step of the run that promoted: how it ended, and how many seconds it took."""

    name: str
    status: str
    detail: str = ""
    seconds: float = 0.0


class Stage(_Part):
    """How far the release was, and when; `weight` in percent of the requests."""

    at: AwareDatetime
    kind: str
    step: int | None = None
    steps: int | None = None
    weight: int | None = None


class Gate(_Part):
    gate: str
    about: str = ""
    result: str
    detail: str = ""


class Metric(_Part):
    """One metric of an analysis: `limits` are the conditions of its template, `measurements` are as Argo Rollouts has them."""

    name: str
    phase: str
    message: str = ""
    limits: Mapping[str, str] = Field(default_factory=dict, max_length=_MOST)
    measurements: Texts = ()

    @property
    def values(self) -> tuple[float | None, ...]:
        """What was measured; None for what is not a number."""
        found = (_VALUE.fullmatch(text.strip()) for text in self.measurements)
        return tuple(float(one[1]) if one else None for one in found)

    @property
    def bounds(self) -> tuple[float, ...]:
        """The numbers that its conditions compare with."""
        conditions = (text for name, text in self.limits.items() if name.endswith("Condition"))
        return tuple(dict.fromkeys(float(number) for text in conditions for number in _COMPARED.findall(text)))


class Analysis(_Part):
    name: str
    phase: str
    message: str = ""
    metrics: Annotated[tuple[Metric, ...], Field(max_length=_MOST)] = ()


class Verdict(_Part):
    kind: str
    reason: str | None = None
    summary: str = ""
    evidence: Texts = ()
    at: AwareDatetime | None = None


class People(_Part):
    pull_request: str | None = None
    approvers: Texts | None = None


class Recorded(_Part):
    """`gates`, `steps`: None if only the run that promoted knew them, and it left no record."""

    verdict: Verdict
    people: People = People()
    gates: Annotated[tuple[Gate, ...], Field(max_length=_MOST)] | None = None
    steps: Annotated[tuple[Step, ...], Field(max_length=_MOST)] | None = None
    stages: Annotated[tuple[Stage, ...], Field(max_length=_MOST)] = ()
    analysis: Annotated[tuple[Analysis, ...], Field(max_length=_MOST)] = ()

    @property
    def live_at(self) -> datetime | None:
        return self.verdict.at if self.verdict.kind == "live" else None


def of(predicate: Mapping[str, Any], where: str) -> Recorded:
    """The record, from the predicate of its statement.

    Raises:
        RefusedError: it does not have the form of a record; `where` names it.
    """
    try:
        return Recorded.model_validate(predicate)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise RefusedError(f"{where} is not as promoter writes a record: {place}") from None


def last(found: Iterable[Recorded]) -> Recorded | None:
    """The one that counts: that the release was live, however often its watch was left before; else the newest."""
    every = list(found)
    return next((one for one in every if one.live_at), every[-1] if every else None)
