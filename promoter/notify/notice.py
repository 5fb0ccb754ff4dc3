"""A notice, which every channel sends in its own form. It is shortened once, so that it fits every channel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from promoter.models import NoticeKind

LONGEST_SENTENCE, LONGEST_LINE, MOST_LINES, LONGEST_URL = 500, 300, 8, 1000
"""Teams takes 28 KB. This is less even where each character has four bytes, which the tests hold it to."""

_LONGEST_NAME = 120
_SIGNS = {
    NoticeKind.STARTED: "⏳",
    NoticeKind.LIVE: "✅",
    NoticeKind.RESTORED: "↩️",
    NoticeKind.SUPERSEDED: "⏭️",
    NoticeKind.FAILED: "❌",
    NoticeKind.NEEDS_PERSON: "✋",
    NoticeKind.REJECTED: "🚫",
    NoticeKind.ALLOWED: "🆗",
    NoticeKind.FROZEN: "🧊",
    NoticeKind.THAWED: "💧",
}
_WORDS = {
    NoticeKind.STARTED: "on its way",
    NoticeKind.RESTORED: "failed, Git restored",
    NoticeKind.NEEDS_PERSON: "needs a person",
    NoticeKind.ALLOWED: "allowed again",
}


@dataclass(frozen=True, slots=True)
class Link:
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice about one promotion. `id` is the same for all notices about that promotion, from any process.

    `previous` is the version that was there before, `metrics` those of both on one line; `commit` is in the repository at
    `repository`; version, commit and repository are "" if none exists. `standing`: a state, found at each look; any other
    notice is an event that happened once.
    """

    id: str
    kind: NoticeKind
    environment: str
    model: str
    version: str
    sentence: str
    previous: str = ""
    commit: str = ""
    repository: str = ""
    metrics: str = ""
    evidence: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    standing: bool = False

    @property
    def title(self) -> str:
        """`✅ fraud-detector version 1 → 2 in production: live`"""
        change = f" version {self.previous} → {self.version}" if self.previous else f" version {self.version}"
        return f"{_SIGNS[self.kind]} {self.model}{change if self.version else ''} in {self.environment}: {self.words}"

    @property
    def words(self) -> str:
        return _WORDS.get(self.kind, self.kind.value)

    @property
    def content(self) -> str:
        """What makes two notices the same: a promotion ends once, but may need a person for several reasons."""
        if self.kind in (NoticeKind.FAILED, NoticeKind.NEEDS_PERSON):
            return f"{self.kind}.{hashlib.sha256(self.sentence.encode()).hexdigest()[:8]}"
        return self.kind.value

    @property
    def alarming(self) -> bool:
        """Somebody should look at it."""
        return self.kind in (NoticeKind.RESTORED, NoticeKind.FAILED, NoticeKind.NEEDS_PERSON)

    def url(self, *names: str) -> str:
        """The first of these links that there is, or ""."""
        known = {link.name: link.url for link in self.links}
        return next((known[name] for name in names if name in known), "")

    def fit(self, redact: Callable[[str], str]) -> Notice:
        """As it may leave: without secrets, each text on one line of printable characters, and none too long."""

        def text(value: str, limit: int) -> str:
            return one_line(redact(value), limit)

        lines = [text(line, LONGEST_LINE) for line in self.evidence[:MOST_LINES]]
        if more := len(self.evidence) - len(lines):
            lines.append(f"and {more} more")
        return replace(
            self,
            environment=text(self.environment, _LONGEST_NAME),
            model=text(self.model, _LONGEST_NAME),
            version=text(self.version, _LONGEST_NAME),
            previous=text(self.previous, _LONGEST_NAME),
            repository=text(self.repository, LONGEST_URL),
            sentence=text(self.sentence, LONGEST_SENTENCE),
            metrics=text(self.metrics, LONGEST_SENTENCE),
            evidence=tuple(lines),
            links=tuple(Link(link.name, redact(link.url)) for link in self.links if len(link.url) <= LONGEST_URL),
        )


def one_line(text: str, limit: int) -> str:
    """One line of printable characters: nothing in it moves a cursor or turns the direction of writing."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
