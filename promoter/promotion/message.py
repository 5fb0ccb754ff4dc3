"""The messages of promoter's commits as a company wants them: its templates filled in, its trailers next to promoter's own."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from promoter.config.values import FIELDS, CommitConfig
from promoter.errors import UsageError
from promoter.gitops import Proposal
from promoter.models import Environment, Release
from promoter.promotion import journal

_MOST_METRICS = 12
_NUMBER = r"(?:-?[0-9][0-9.e+-]*|nan|-?inf)"
_METRIC = re.compile(rf"(?!run: ).+: (?:{_NUMBER} -> )?{_NUMBER}")

TICKET = "Ticket"
"""The trailer whose value `{ticket}` stands for."""


def facts(environment: Environment, release: Release, previous: Release | None, *, run: str = "") -> dict[str, str]:
    """What the fields of a template stand for in a commit that deploys `release` where `previous` was."""
    return {
        "model": release.model,
        "version": release.version,
        "previous": previous.version if previous else "",
        "environment": environment.name,
        "image": f"{release.repository}:{release.tag}",
        "digest": release.digest,
        "run": run,
    }


def metric_lines(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """The first dozen metrics of a version by name, each with what the version before it had: `accuracy: 0.79 -> 0.81`."""
    names = sorted(after)[:_MOST_METRICS]
    return [f"{name}: {f'{before[name]:g} -> ' if name in before else ''}{after[name]:g}" for name in names]


def metrics_in(text: str) -> tuple[str, ...]:
    """The lines of `metric_lines` in the text of a commit."""
    return tuple(line for line in text.splitlines() if _METRIC.fullmatch(line))


@dataclass(frozen=True, slots=True)
class Message:
    """How commits are worded; `trailers` are added to each, and `ticket` is the one that this run is about.

    Raises:
        UsageError: a trailer has a key that promoter writes itself.
    """

    config: CommitConfig
    trailers: tuple[tuple[str, str], ...] = ()
    ticket: str = ""

    def __post_init__(self) -> None:
        for key, _ in (*self.config.trailers, *self.trailers):
            if key.lower() in journal.KEYS:
                raise UsageError(f"promoter writes the trailer {key} itself", hint="choose another key")

    def __call__(self, proposal: Proposal, author: Callable[[], str]) -> Proposal:
        """The proposal, worded; `author` is read only to sign off.

        Raises:
            UsageError: a template needs a ticket, and there is none.
        """
        values = {"summary": proposal.subject, "details": proposal.body, **proposal.facts}
        values["ticket"] = ticket = self.ticket or proposal.facts.get("ticket", "")
        if not ticket:
            self.require_ticket()
        given = {key: filled(text, values) for key, text in self.config.trailers} | dict(self.trailers)
        if ticket and TICKET not in given:
            given[TICKET] = ticket
        signed = {"Signed-off-by": author()} if self.config.sign_off else {}
        more = tuple((key, value) for key, value in (given | signed).items() if value)
        subject, body = filled(self.config.subject, values), filled(self.config.body, values)
        return replace(proposal, subject=subject, body=body, trailers=(*proposal.trailers, *more))

    def require_ticket(self) -> None:
        """Before anything is published.

        Raises:
            UsageError: a template needs a ticket, and there is none.
        """
        templates = (self.config.subject, self.config.body, *(text for _, text in self.config.trailers))
        if not self.ticket and any("ticket" in fields(template) for template in templates):
            raise UsageError("commits need a ticket here", hint=f"add --trailer {TICKET}=ID, or set PROMOTER_TICKET")


def fields(template: str) -> set[str]:
    """The fields that a template uses."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template's text; a field that nothing is known of is empty."""
    parts = string.Formatter().parse(template)
    return "".join(text + (values.get(name, "") if name in FIELDS else "") for text, name, _, _ in parts)
