"""init --diff: what this version of promoter would write into a repository that init has made, next to what people changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from promoter import __version__, config
from promoter.commands.scaffold import Wanted, added, new_repository, pipelines
from promoter.commands.scaffold.files import read_file, write_files
from promoter.commands.scaffold.record import PEOPLES, RECORD, Record, read, written
from promoter.commands.scaffold.update import Update, updates
from promoter.errors import UsageError
from promoter.gitops.checkout import Checkout, blob_id
from promoter.models import Serving


@dataclass(frozen=True, slots=True)
class Renewal:
    """What this version of promoter would change in the scaffold in `folder`; `record` is kept once that is done."""

    folder: Path
    updates: tuple[Update, ...]
    record: Record

    @property
    def conflicts(self) -> tuple[Update, ...]:
        """Files that a person has to look at."""
        return tuple(one for one in self.updates if one.conflict)


def plan_renewal(folder: Path, wanted: Wanted | None, environ: Mapping[str, str]) -> Renewal:
    """Compares the folder with what init would write into it now; `wanted` is for one that has no record of what it is for.

    Raises:
        UsageError: it has neither a record nor a `wanted`, or git is not installed.
        ConfigError: the record can't be read.
    """
    content = read_file(folder, RECORD)
    if content is None and wanted is None:
        raise UsageError(
            f"{folder / RECORD} is missing: what this repository was made for is not known",
            hint="name it as for a new one: promoter init --diff --model NAME --registry PREFIX ...",
        )
    if content is None and wanted is not None and wanted.serving is Serving.OWN:
        raise UsageError("overlays with a server of your own are not init's: it added lines to them", hint="see git log")
    older = (replace(wanted, named=False),) if wanted else ()  # nothing that runs gets another name
    before = read(content) if content is not None else Record("", older, {})
    checkout, files = Checkout(folder, environ), _of_this_version(before.scaffolds)

    def base(path: str) -> bytes | None:
        text = before.texts.get(path)
        return text.encode() if text is not None else checkout.blob(before.files[path]) if path in before.files else None

    found = tuple(updates(before.files, files, lambda path: read_file(folder, path), base, checkout.merged))
    return Renewal(folder, found, _renewed(before, files, found))


def _of_this_version(scaffolds: tuple[Wanted, ...]) -> dict[str, bytes]:
    first, *others = scaffolds
    files = new_repository(first) | pipelines(first)
    for one in others:
        files |= added(files[config.FILE].decode(), one) | pipelines(one)
    return {path: content for path, content in files.items() if path not in PEOPLES}


def _renewed(before: Record, files: Mapping[str, bytes], found: tuple[Update, ...]) -> Record:
    """What conflicts is remembered as it was, so that it is found again."""
    left = {one.path for one in found if one.conflict}
    merged = {one.path for one in found if not one.conflict and one.after not in (None, files.get(one.path))}
    ids = {path: blob_id(content) for path, content in files.items() if path not in left}
    ids |= {path: known for path, known in before.files.items() if path in left}
    texts = {path: text for path, text in before.texts.items() if path in left}
    texts |= {path: files[path].decode() for path in merged}
    return Record(__version__, before.scaffolds, ids, texts)


def renew(renewal: Renewal) -> None:
    """Writes what does not conflict, the record last.

    Raises:
        UsageError: a file can't be written.
    """
    wanted = {one.path: one.after for one in renewal.updates if not one.conflict}
    write_files(renewal.folder, {**wanted, RECORD: written(renewal.record)}, last=RECORD)
