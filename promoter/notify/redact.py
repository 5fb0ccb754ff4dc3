"""Takes secrets out of text that leaves the machine: those of the environment by their values, any others by their looks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from promoter.errors import without_credentials

GONE = "***"

_SHORTEST, _SHORTEST_PATH = 8, 16  # a shorter value would be taken out of innocent words
_NAMES = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|CONNECTION_STRING|_PAT|_KEY)$", re.IGNORECASE)
_WORDS = r"[\w-]*(?:token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|signature|credential|\bsig)"
_LOOKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1 {GONE}"),
    (re.compile(r"\b(gh[opsur]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{8,}|AKIA[0-9A-Z]{16})"), GONE),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), GONE),  # a JSON web token
    (re.compile(r"(https://hooks\.slack[\w.-]*)/[^\s\"'<>]+"), rf"\1/{GONE}"),
    (re.compile(rf"({_WORDS}[\"']?=[\"']?)[^\s\"'&,;<>]+", re.IGNORECASE), rf"\1{GONE}"),
    (re.compile(rf"({_WORDS}[\"']?\s*:\s*[\"']?)[^\s\"'&,;<>]{{12,}}", re.IGNORECASE), rf"\1{GONE}"),
)


@dataclass(frozen=True, slots=True)
class Redactor:
    """`secrets` are values that no text may show, the longest first."""

    secrets: tuple[str, ...] = ()

    def __call__(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, GONE)
        text = without_credentials(text)
        for pattern, replacement in _LOOKS:
            text = pattern.sub(replacement, text)
        return text


def redactor(environ: Mapping[str, str], names: Iterable[str] = ()) -> Redactor:
    """Knows the variables that are secrets by their names, those in `names`, and the passwords in the URLs of any."""
    known = set(names)
    found: set[str] = set()
    for name, value in environ.items():
        if name in known or _NAMES.search(name):
            found |= {value, *value.splitlines()}
        found |= _in_url(value, whole=name in known)
    found |= {quote(secret, safe="") for secret in found}
    return Redactor(tuple(sorted((secret for secret in found if len(secret) >= _SHORTEST), key=len, reverse=True)))


def _in_url(value: str, *, whole: bool) -> set[str]:
    """The password of a URL; `whole`: its path and query, too, for who knows them may use it."""
    if "://" not in value:
        return set()
    try:
        parts = urlsplit(value)
        password = parts.password or ""
    except ValueError:
        return set()
    paths = {parts.path.strip("/"), parts.query} if whole else set()
    return {password, unquote(password), *(path for path in paths if len(path) >= _SHORTEST_PATH)}
