"""init: writes the files of a GitOps repository for a model into a folder. It overwrites nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from promoter import config
from promoter.commands.check_files import WorkTree
from promoter.commands.scaffold import README, Wanted, added, new_repository, own_repository, pipelines
from promoter.commands.scaffold.files import read_file, write_files
from promoter.commands.scaffold.record import RECORD, Record, read, record_of, written
from promoter.errors import RefusedError
from promoter.models import Serving

_LARGEST = 1 << 20  # bytes of a manifest


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What is to be written into `folder`: `new` files, and `changed` ones to which lines are added."""

    folder: Path
    wanted: Wanted
    new: Mapping[str, bytes]
    changed: Mapping[str, bytes]


def plan_init(folder: Path, wanted: Wanted) -> Scaffold:
    """A whole repository; where the folder has a promoter.yaml, what this model or these environments need in addition.

    Raises:
        RefusedError: a file is there already, and differs.
        UsageError: the folder can't be read, or has such an environment already.
        ConfigError: its promoter.yaml can't be used.
    """
    existing = folder / config.FILE
    models = config.load(existing).models if existing.exists() else ()
    if wanted.serving is Serving.OWN:
        return _adoption(folder, wanted, existing.read_text() if existing.exists() else "")
    if not existing.exists():
        files = new_repository(wanted) | pipelines(wanted)
        if (folder / README).exists():  # a repository may have one of its own
            del files[README]
        record = written(record_of((wanted,), files))
        return Scaffold(folder, wanted, _missing(folder, {**files, RECORD: record}), {})
    return _addition(folder, wanted, existing.read_text(), models)


def _addition(folder: Path, wanted: Wanted, configuration: str, models: Collection[str]) -> Scaffold:
    """Another environment of one of the `models` is named as those that it has: init --diff renames none of them."""
    kept = read_file(folder, RECORD)
    before = read(kept) if kept is not None else Record("", (), {})
    if wanted.model in models:
        wanted = replace(wanted, named=any(one.named for one in before.scaffolds if one.model == wanted.model))
    files = added(configuration, wanted) | pipelines(wanted)
    changed = {config.FILE: files.pop(config.FILE)}
    if kept is not None:
        after = record_of((*before.scaffolds, wanted), files)
        changed[RECORD] = written(replace(after, files={**before.files, **after.files}, texts=before.texts))
    return Scaffold(folder, wanted, _missing(folder, files), changed)


def _adoption(folder: Path, wanted: Wanted, configuration: str) -> Scaffold:
    """Raises as `own_repository`."""
    tree = WorkTree(folder)
    files = own_repository(tree, _manifests(folder), wanted, configuration)
    there = {path: tree.read(path) for path in files}
    new = {path: content for path, content in files.items() if there[path] is None}
    new |= _missing(folder, pipelines(wanted))
    changed = {path: content for path, content in files.items() if there[path] not in (None, content)}
    return Scaffold(folder, wanted, new, changed)


def _manifests(folder: Path) -> dict[str, bytes]:
    """The YAML files that may contain an Application, by path."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.y*ml")):
        name = path.relative_to(folder)
        if path.is_file() and path.stat().st_size <= _LARGEST and not any(part.startswith(".") for part in name.parts):
            content = path.read_bytes()
            found |= {name.as_posix(): content} if b"Application" in content else {}
    return found


def _missing(folder: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those that are not there yet.

    Raises:
        RefusedError: one is, with other content; or a link is in the way.
        UsageError: one can't be read.
    """
    there = {path: content for path in files if (content := read_file(folder, path)) is not None}
    if differing := [path for path, content in there.items() if files[path] != content]:
        raise RefusedError(
            f"{folder / differing[0]} is there already, and would be another file"
            + (f" ({len(differing) - 1} more are too)" if differing[1:] else ""),
            hint="nothing was written: choose another folder, or move the file away",
        )
    return {path: content for path, content in files.items() if path not in there}


def init(scaffold: Scaffold) -> None:
    """Writes the files, promoter.yaml last: without it the folder is as good as empty, and the command can be repeated.

    Raises:
        UsageError: a file can't be written.
    """
    write_files(scaffold.folder, {**scaffold.new, **scaffold.changed}, last=config.FILE)
