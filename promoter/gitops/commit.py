"""A commit before it is made (Proposal), made (Commit) and at the remote (Pushed); its message and trailers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from promoter.errors import UsageError
from promoter.errors.redaction import clean_message

# Fields of one commit for `git log -z --format=`, each ended by NUL.
LOG_FORMAT = "%H%x00%P%x00%an <%ae>%x00%ct%x00%s%x00%(trailers:only,unfold)%x00%b"
_FIELDS = 7
_TRAILER_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_TRAILER = re.compile(r"[A-Z][A-Za-z0-9-]*: .*")
_OF_FORGES = ("Co-authored-by", "Signed-off-by")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one commit is to hold: whole files by repository-relative path, and its message, out of which secrets are taken.

    `dated` are those of the files that hold the time at which the proposal was made. They differ each time it is made again,
    and do not make it another proposal: what else they hold is in the trailers too; nor do the trailers with the keys in
    `incidental`. `facts` are for templates of messages.
    """

    files: Mapping[str, bytes]
    subject: str
    body: str = ""
    trailers: tuple[tuple[str, str], ...] = ()
    dated: frozenset[str] = frozenset()
    facts: Mapping[str, str] = field(default_factory=dict)
    incidental: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        values = [_plain(value) for _, value in self.trailers]
        (subject, body), values = clean_message((_plain(self.subject), _plain(self.body)), values)
        object.__setattr__(self, "subject", subject)
        object.__setattr__(self, "body", body)
        object.__setattr__(self, "trailers", tuple((key, value) for (key, _), value in zip(self.trailers, values, strict=True)))

    def message(self) -> bytes:
        """Subject, body and trailers, in UTF-8, so that git-interpret-trailers(1) reads the trailers back.

        Line breaks in the subject and in trailers become spaces; a line of the body that starts with `---` is indented,
        for git takes it as the end of the message.

        Raises:
            UsageError: a trailer's key is not letters, digits and hyphens, or the subject is empty.
        """
        subject = _one_line(self.subject)
        if not subject:
            raise UsageError("a commit needs a subject")
        for key, _ in self.trailers:
            if not _TRAILER_KEY.fullmatch(key):
                raise UsageError(f"'{key}' can't be the key of a commit trailer", hint="use letters, digits and hyphens")
        body = "\n".join(_body_line(line) for line in self.body.splitlines()).strip("\n")
        message = "\n\n".join(part for part in (subject, body, self.trailer_block) if part) + "\n"
        return message.encode("utf-8", "replace")

    @property
    def read_back(self) -> dict[str, str]:
        """The trailers as they are read from the commit."""
        return _trailers(self.trailer_block)

    def made_under(self, circumstances: tuple[tuple[str, str], ...]) -> Proposal:
        """With these trailers, but for empty ones and those whose keys it has, in any case. All of them are incidental."""
        known = {key.lower() for key, _ in self.trailers}
        more = tuple((key, value) for key, value in circumstances if value and key.lower() not in known)
        return replace(self, trailers=(*self.trailers, *more), incidental=frozenset(key for key, _ in circumstances))

    def is_recorded_by(self, trailers: Mapping[str, str]) -> bool:
        """Whether a commit with these trailers records this proposal."""
        these, those = (
            {key: value for key, value in one.items() if key not in self.incidental} for one in (trailers, self.read_back)
        )
        return these == those

    @property
    def trailer_block(self) -> str:
        """The trailers as the message ends with them."""
        return "\n".join(f"{key}: {_one_line(value)}" for key, value in self.trailers)


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as git shows it; `when` is the committer's time in UTC; a repeated trailer's values are joined by newlines.

    `body` is the message below the subject, with the trailers.
    """

    sha: str
    parents: tuple[str, ...]
    subject: str
    author: str
    when: datetime
    trailers: Mapping[str, str]
    body: str = ""

    @property
    def text(self) -> str:
        """The body without the paragraph of trailers that ends it."""
        paragraphs = self.body.replace("\r\n", "\n").strip().split("\n\n")
        ends = paragraphs[-1].splitlines()
        return "\n\n".join(paragraphs[:-1] if all(_TRAILER.fullmatch(line) for line in ends) else paragraphs)


@dataclass(frozen=True, slots=True)
class Pushed:
    """`commit` is at the remote (None: there was nothing to do); `tip` is the branch's tip seen last; `attempts` from 1."""

    commit: Commit | None
    tip: str
    attempts: int


def parse_log(raw: bytes) -> list[Commit]:
    """The commits in the output of `git log -z --format=LOG_FORMAT`."""
    found = []
    fields = raw.decode("utf-8", "replace").split("\0")
    for start in range(0, len(fields) - _FIELDS + 1, _FIELDS):
        sha, parents, author, seconds, subject, trailers, body = fields[start : start + _FIELDS]
        when = datetime.fromtimestamp(int(seconds), UTC)
        known = trailers_of(body) | _trailers(trailers)
        found.append(Commit(sha, tuple(parents.split()), subject, author, when, known, body))
    return found


def trailers_of(text: str) -> dict[str, str]:
    """The trailers in the last paragraph that is made of nothing else, wherever it stands.

    A forge that squashes puts commit messages one below the other and co-authors after them: there git finds no others.
    """
    for paragraph in reversed(re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").strip())):
        lines = paragraph.splitlines()
        if all(_TRAILER.fullmatch(line) for line in lines) and not all(line.startswith(_OF_FORGES) for line in lines):
            return _trailers(paragraph)
    return {}


def _trailers(block: str) -> dict[str, str]:
    trailers: dict[str, str] = {}
    for line in block.split("\n"):
        key, colon, value = line.partition(":")
        if colon:
            trailers[key] = f"{trailers[key]}\n{value.strip()}" if key in trailers else value.strip()
    return trailers


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\0", " ")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _body_line(line: str) -> str:
    line = line.rstrip()
    return f" {line}" if line.startswith("---") else line
