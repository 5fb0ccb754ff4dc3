"""Lines added to a YAML file that people wrote: at the end of a key's block, in its indentation; every other byte stays."""

from __future__ import annotations

from promoter.config.yaml import Document, documents
from promoter.errors import ConfigError, UsageError


def single(text: str, file: str) -> Document:
    """The file's one document.

    Raises:
        ConfigError: it is not YAML, or not one document.
    """
    found = documents(text, file)
    if len(found) != 1 or not isinstance(found[0].value, dict):
        raise ConfigError("is not one mapping", file=file, hint="keep one document in it, with keys and values")
    return found[0]


def inserted(text: str, file: str, key: str, lines: list[str]) -> str:
    """With the lines at the end of the key's block, or as a new block at the end of the file.

    Raises:
        ConfigError: as `single`.
        UsageError: the key's value is written on one line.
    """
    document = single(text, file)
    rows = text.splitlines(keepends=True)
    if not lines:
        return text
    if key not in document.value:
        return "".join([*_ended(rows), f"{key}:\n", *(f"{line}\n" for line in lines)])
    start, end = document.block((key,))
    if rows[start - 1].partition(":")[2].partition("#")[0].strip():
        hint = f"write it as a block, or add there: {lines[0].strip()}"
        raise UsageError(f"{file}:{start}: {key} is written on one line", hint=hint)
    while end > start and (not rows[end - 1].strip() or rows[end - 1].lstrip().startswith("#")):
        end -= 1
    pad = _indentation(rows[start:end]) if lines[0].startswith("-") else ""
    return "".join([*_ended(rows[:end]), *(f"{pad}{line}\n" for line in lines), *rows[end:]])


def _ended(rows: list[str]) -> list[str]:
    return rows if not rows or rows[-1].endswith("\n") else [*rows[:-1], f"{rows[-1]}\n"]


def _indentation(rows: list[str]) -> str:
    """Of the block's items: YAML allows none, and any."""
    first = next((row for row in rows if row.lstrip().startswith("-")), "-")
    return first[: len(first) - len(first.lstrip())]
