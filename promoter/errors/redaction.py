"""Takes secrets and hidden characters out of every text that leaves the process, whoever put them there.

A secret is known by its value: each `Credential` adds its own, and the environment's variables that are secrets by their names
are added when the command line starts. A server may quote a secret back in any answer: where a text comes from decides nothing.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO, cast
from urllib.parse import quote, quote_plus, unquote, urlsplit

GONE = "***"

_SHORTEST, _SHORTEST_WORD, _SHORTEST_PATH = 8, 4, 16  # characters; a shorter value would be taken out of innocent words
_LONGEST_NAME = 20  # a longer value without a digit is not the name of something
_NAMES = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|CONNECTION_STRING|_PAT|_KEY)$", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/\s@'\"]*@")
# Nothing but a secret looks like these. Each pattern costs time in proportion to the text, whatever that is.
_CERTAIN = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:gh[opsur]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{8,}|AKIA[0-9A-Z]{16})"
    r"|\beyJ[\w-]{8,1024}\.[\w-]{8,}\.[\w-]*",  # a JSON web token
    re.DOTALL,
)
_WORDS = r"(?<![\w-])[\w-]*(?:token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|signature|credential|\bsig)"
_LIKELY: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1 {GONE}"),
    (re.compile(r"(https://hooks\.slack[\w.-]*)/[^\s\"'<>]+"), rf"\1/{GONE}"),
    (re.compile(rf"({_WORDS}[\"']?=[\"']?)[^\s\"'&,;<>]+", re.IGNORECASE), rf"\1{GONE}"),
    (re.compile(rf"({_WORDS}[\"']?\s*:\s*[\"']?)[^\s\"'&,;<>]{{12,}}", re.IGNORECASE), rf"\1{GONE}"),
)
# What forges link in plain text; an @ after a letter is of an address or a digest.
_REFERENCE = re.compile(r"(?<!\w)@(?=\w)|#(?=\d)|/issues/(?=\d)")
# Controls except tab and line break; marks that turn the direction of writing; characters without a width; separators of lines;
# tags, which spell text that nobody sees; halves of surrogate pairs, which no stream takes.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)


def without_credentials(text: str) -> str:
    """The text with `user:password@` removed from every URL in it."""
    return _USERINFO.sub("", text)


def visible(text: str) -> str:
    r"""The text with what moves a cursor, turns the direction of writing or has no width as `\u` escapes, which JSON reads."""
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1] if found[0] != "\x7f" else "\\u007f", text)


class Redactor:
    """Knows the secrets of this process. For use by several threads at once; nothing is forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: tuple[str, ...] = ()
        self._short: frozenset[str] = frozenset()
        self._words: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        """The text without the secrets that are known, and without what can only be one."""
        for secret in self._secrets:
            text = text.replace(secret, GONE)
        if self._words is not None:
            text = self._words.sub(GONE, text)
        return _CERTAIN.sub(GONE, without_credentials(text))

    def prose(self, text: str) -> str:
        """As a call, without what is likely a secret, too (`token=...`): for sentences, where none is data."""
        text = self(text)
        for pattern, replacement in _LIKELY:
            text = pattern.sub(replacement, text)
        return text

    def learn(self, *secrets: str) -> None:
        """Adds values that no text may show, in each form that a server or a library may write them in.

        Shorter ones than four characters, and shorter words than eight, are not recognised.
        """
        forms = {form for secret in secrets for form in _forms(secret)}
        with self._lock:
            known = {*self._secrets, *(form for form in forms if len(form) >= _SHORTEST)}
            short = {form for form in forms if _SHORTEST_WORD <= len(form) < _SHORTEST and not form.isalpha()}
            if len(known) > len(self._secrets):
                self._secrets = tuple(sorted(known, key=len, reverse=True))
            if short - self._short:  # a credential is learned with every request: the same one must cost nothing
                self._short |= short
                words = "|".join(map(re.escape, sorted(self._short, key=len, reverse=True)))
                self._words = re.compile(rf"(?<!\w)(?:{words})(?!\w)")

    def learn_environment(self, environ: Mapping[str, str], names: Iterable[str] = ()) -> None:
        """Adds the variables that are secrets by their names, those in `names`, and the passwords in the URLs of any."""
        secret = set(names)
        found: set[str] = set()
        for name, value in environ.items():
            if name in secret or (_NAMES.search(name) and not _is_name(value)):
                found |= {value, *value.splitlines()}
            found |= _in_url(value, whole=name in secret)
        self.learn(*(value for value in found if len(value) >= _SHORTEST))

    def guard(self, stream: TextIO) -> TextIO:
        """The stream, to which no secret can be written: for tracebacks and for what libraries print."""
        return cast("TextIO", _Guarded(stream, self))


class _Guarded:
    """A text stream behind a redactor."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream, self._redactor = stream, redactor

    def write(self, text: str) -> int:
        self._stream.write(self._redactor(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


redact = Redactor()
"""The one of this process."""


def clean(text: str) -> str:
    """The text as it may leave the process: without secrets, and `visible`."""
    return visible(redact(text))


def clean_message(prose: Iterable[str], data: Iterable[str]) -> tuple[list[str], list[str]]:
    """The parts of a message for a forge: all of them `clean`, and its prose `inert`."""
    return [inert(clean(text)) for text in prose], [clean(text) for text in data]


def inert(text: str) -> str:
    """The text with a blank in each `@name`, `#12` and `/issues/12`: a forge mentions nobody and closes nothing for it."""
    return _REFERENCE.sub(lambda found: f"{found[0]} ", text)


def _forms(secret: str) -> Iterator[str]:
    for text in {secret, secret.strip()}:
        encoded = base64.b64encode(text.encode("utf-8", "replace")).decode()
        yield from (
            text,
            unquote(text),
            quote(text, safe=""),
            quote_plus(text),
            json.dumps(text)[1:-1],
            repr(text)[1:-1],
            encoded,
        )


def _is_name(value: str) -> bool:
    """A value that names something (`CACHE_KEY=production`), which texts are full of."""
    return len(value) < _LONGEST_NAME and value.replace("-", "").replace("_", "").isalpha()


def _in_url(value: str, *, whole: bool) -> set[str]:
    """The password of a URL; `whole`: its path and query, too, because anybody with them may use it."""
    if "://" not in value:
        return set()
    try:
        parts = urlsplit(value)
        password = parts.password or ""
    except ValueError:
        return set()
    paths = {parts.path.strip("/"), parts.query} if whole else set()
    return {password, unquote(password), *(path for path in paths if len(path) >= _SHORTEST_PATH)}
