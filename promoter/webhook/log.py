"""The receiver's log: JSON Lines for a log collector, or a line of text for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promoter import output
from promoter.models import Status, Step

if TYPE_CHECKING:
    from promoter.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Log:
    """`in_json`: objects on stdout; else text on stderr. Each call is one line; safe for use by several threads."""

    in_json: bool

    def __call__(self, event: str, **values: Any) -> None:
        fields = {name: value for name, value in values.items() if value not in (None, "")}
        if self.in_json:
            output.event(event, fields)
        else:
            output.say(" ".join([event, *(f"{name}={_short(value)}" for name, value in fields.items())]))

    def step(self, environment: str, model: str, step: Step) -> None:
        if step.status is not Status.RUNNING:
            self("step", environment=environment, model=model, step=step.name, status=step.status.value,
                 detail=step.detail, seconds=round(step.seconds, 3))  # fmt: skip

    def following(self, application: str) -> Following:
        return Following(self, application)


@dataclass(frozen=True, slots=True)
class Following:
    """Logs one release that is being followed."""

    log: Log
    application: str

    def verdict(self, verdict: Verdict) -> None:
        if self.log.in_json:
            self.log("verdict", application=self.application, **output.plain(verdict))
        else:
            self.log("verdict", application=self.application, verdict=output.verdict_line(verdict))

    def say(self, text: str) -> None:
        self.log("message", application=self.application, text=text)


def _short(value: Any) -> str:
    """Bare if it is one printable word, else quoted, so that text from outside can't start a new line."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
