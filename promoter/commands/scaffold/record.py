"""What init wrote, as the repository keeps it: for whom, and the Git id of each file, by which edits are known later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from promoter import __version__
from promoter.commands.scaffold.repository import README
from promoter.commands.scaffold.wanted import Wanted
from promoter.config.values import FILE
from promoter.errors import ConfigError
from promoter.gitops.checkout import blob_id

RECORD = ".promoter-scaffold.json"
PEOPLES = (FILE, README)
"""Files that a scaffold begins and people go on with."""


@dataclass(frozen=True, slots=True)
class Record:
    """`promoter` is the version that wrote it last, `scaffolds` what was wanted, one after the other.

    `files` has the Git id of each file as it was written. `texts` has that text, where the file had other content from the
    beginning, so that no commit contains it.
    """

    promoter: str
    scaffolds: Annotated[tuple[Wanted, ...], Field(min_length=1)]
    files: Mapping[str, str]
    texts: Mapping[str, str] = field(default_factory=dict)
    format: Literal[1] = 1


_RECORD = TypeAdapter(Record)


def record_of(scaffolds: tuple[Wanted, ...], files: Mapping[str, bytes]) -> Record:
    """Of files that were written just now, but for those that people go on with."""
    return Record(__version__, scaffolds, {path: blob_id(content) for path, content in files.items() if path not in PEOPLES})


def written(record: Record) -> bytes:
    """As it is kept."""
    return _RECORD.dump_json(record, indent=1) + b"\n"


def read(content: bytes) -> Record:
    """What `written` made.

    Raises:
        ConfigError: it is something else.
    """
    try:
        return _RECORD.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        hint = "take it from Git's history, or install the version of promoter that wrote it"
        raise ConfigError(first["msg"], file=RECORD, key=key, hint=hint) from None
