"""The text of the configuration's files, and what it is once parsed: large ones are parsed once, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from promoter.config.yaml import Document, document_of, documents
from promoter.errors import ConfigError, UsageError
from promoter.machine.folders import make_private
from promoter.machine.home import cache_folder

_LARGE = 100_000
"""Characters: parsing fewer takes less than 50 ms."""

_KEPT = 8
_FORM = "1"  # of what is kept: another one is another name

parsed = lru_cache(maxsize=1024)(documents)  # a receiver of webhooks reads the same files again and again


def read(path: Path, shown: str) -> str:
    """The file's text.

    Raises:
        ConfigError: it is not UTF-8.
        UsageError: it can't be read.
    """
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", file=shown, hint="save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", hint="check the path and its permissions") from None


def single(text: str, shown: str) -> Document:
    """The one document of a text.

    Raises:
        ConfigError: it is not YAML, or has another number of documents.
    """
    found = parsed(text, shown)
    if len(found) != 1:
        raise ConfigError(f"holds {len(found)} YAML documents, expected 1", file=shown, hint="keep one document")
    return found[0]


def file_in(name: str | None, root: Path, document: Document, place: tuple[str | int, ...]) -> Path | None:
    """A file that promoter.yaml names, which lies in its repository.

    Raises:
        ConfigError: it lies outside, or does not exist.
    """
    if name is None:
        return None
    path = root / name
    if not path.resolve().is_relative_to(root):
        raise document.error(f"{name!r} lies outside the repository", place, hint="name a file inside it")
    if not path.is_file():
        raise document.error(f"no such file: {name!r}", place, hint="paths start at the folder of promoter.yaml")
    return path


@lru_cache(maxsize=4)
def kept(text: str, shown: str) -> Document:
    """As `single`; the value of a large text is kept in promoter's cache, by the text's hash."""
    if len(text) < _LARGE:
        return single(text, shown)
    name = f"{hashlib.sha256(text.encode()).hexdigest()[:32]}-{_FORM}.json"
    folder = _folder(os.environ)
    if folder is not None and (value := _value(folder / name)) is not None:
        return document_of(text, shown, value)
    document = single(text, shown)
    if folder is not None:
        _keep(folder, name, document.value)
    return document


def _folder(environ: Mapping[str, str]) -> Path | None:
    """None if others could write to it, too."""
    try:
        folder = cache_folder(environ) / "parsed"
        if make_private(folder):
            for untrusted in folder.iterdir():
                untrusted.unlink()
    except (OSError, UsageError):
        return None
    return folder


def _value(file: Path) -> Any:
    """None if it was not kept, or was not written to its end."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def _keep(folder: Path, name: str, value: Any) -> None:
    """Only what JSON brings back as it was, and only the newest few."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        text = json.dumps(value, allow_nan=False)
        if repr(json.loads(text)) != repr(value):
            return
        fresh = folder / f"{name}.{os.getpid()}"
        fresh.write_text(text)
        fresh.replace(folder / name)
        for old in sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)[:-_KEPT]:
            old.unlink()
