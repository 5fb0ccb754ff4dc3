"""Where a model version's files lie, and how they are listed and read: one class for each kind of place."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from promoter.errors import RefusedError, UnreachableError
from promoter.machine.paths import flaw, open_below
from promoter.models import MOST_FILES, ModelFile

# `mlflow artifacts download` leaves this next to the files it fetched; it is not part of the model.
_IGNORED = "registered_model_meta"
_DEEPEST = 50  # folders inside each other: a listing that names itself has no end


class Reader(Protocol):
    """Bytes as they come; `read(n)` returns at most n of them, and none at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Artifacts(Protocol):
    """The files under one artifact URI. Paths are relative to it."""

    def list(self, created: datetime, /) -> tuple[ModelFile, ...]:
        """All files, by path, with an ETag where one can be relied on for a version that was `created` then.

        Raises:
            RefusedError: a path leads out of the folder.
            UnreachableError, AuthError: the store did not answer, or does not let us.
        """

    def open(self, file: ModelFile) -> AbstractContextManager[Reader]:
        """The bytes of one file, as they come.

        Raises:
            UnreachableError, AuthError: the store did not answer, or does not let us.
        """


def listing(files: Iterator[ModelFile], most: int = MOST_FILES) -> tuple[ModelFile, ...]:
    """The files by path, without what MLflow's client adds; a path that leads out of the folder is refused.

    Raises:
        RefusedError: such a path, the same path twice, or more than `most` files.
    """
    found: dict[str, ModelFile] = {}
    for file in files:
        require_below(file.path)
        if file.path in found:
            raise untrusted(f"{file.path!r} twice")
        if len(found) == most:
            raise too_many("files", most)
        found[file.path] = file
    return tuple(found[path] for path in sorted(found) if path != _IGNORED)


class Folders:
    """Folders still to be looked into, beginning with the model's own (""): each once, and no more than `most`."""

    def __init__(self, most: int) -> None:
        self._most, self._waiting, self._found = most, deque([""]), 1

    def __iter__(self) -> Iterator[str]:
        while self._waiting:
            yield self._waiting.popleft()

    def add(self, path: str) -> None:
        """Raises: RefusedError, if it leads out of the model's folder, lies too deep, or is one too many."""
        if self._found > self._most:
            raise too_many("folders", self._most)
        if path.count("/") >= _DEEPEST:
            raise untrusted(f"a folder below {_DEEPEST} others")
        self._found += 1
        self._waiting.append(require_below(path))


def too_many(what: str, most: int) -> RefusedError:
    """The error for a listing that does not end."""
    return RefusedError(
        f"the model version has more than {most} {what}",
        hint="if they all belong to the model, raise image.max-files in promoter.yaml",
    )


def untrusted(what: str) -> RefusedError:
    """The error for a listing that no model has."""
    return RefusedError(
        f"the file listing of the model version can't be trusted: {what}",
        hint="if these files do not belong to the model, register a version without them",
    )


def require_below(path: str) -> str:
    """Returns the path if it stays below the folder that it is relative to.

    Raises:
        RefusedError: it is absolute, climbs, leads into a `.git`, or is not spelled the one plain way.
    """
    if why := flaw(path):
        raise RefusedError(
            f"the model version lists a file {path!r}: {why}",
            hint="somebody tampered with its artifacts: look at them in MLflow, then register a clean version",
        )
    odd = next((character for character in path if not character.isprintable() and unicodedata.category(character) != "Zs"), "")
    if odd:
        raise RefusedError(
            f"the model version lists a file {path!r}, whose name has the invisible character U+{ord(odd):04X}",
            hint="log the model again with a name that shows what it is",
        )
    return path


class LocalArtifacts:
    """Files in a folder of this machine, or one mounted here."""

    def __init__(self, uri: str, most: int = MOST_FILES) -> None:
        self._most = most
        parts = urlsplit(uri)
        self._folder = Path(url2pathname(parts.path) if parts.scheme == "file" else uri)

    def list(self, _: datetime, /) -> tuple[ModelFile, ...]:
        """See Artifacts; a folder has no ETags: its times don't identify another machine's copy."""
        if not self._folder.is_dir():
            raise UnreachableError(
                f"the model's files are in {self._folder}, which does not exist on this machine",
                hint="mount it here, or start the MLflow server with --serve-artifacts",
            )
        return listing(self._files(), self._most)

    def _files(self) -> Iterator[ModelFile]:
        for number, (folder, folders, names) in enumerate(os.walk(self._folder, onerror=_unreadable)):
            if number > self._most:
                raise too_many("folders", self._most)
            for name in (*folders, *names):
                path = Path(folder, name)
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield ModelFile(path.relative_to(self._folder).as_posix(), status.st_size)
                elif not stat.S_ISDIR(status.st_mode):
                    raise _no_file(path)

    @contextmanager
    def open(self, file: ModelFile) -> Iterator[Reader]:
        """See Artifacts; what became a link or a device since it was listed is refused.

        Raises:
            RefusedError: it did.
        """
        path = self._folder / require_below(file.path)
        try:
            descriptor = open_below(self._folder, file.path)
        except FileNotFoundError:
            raise UnreachableError(f"{path} is gone", hint="somebody is changing the model's files: try again") from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
                raise _no_file(path) from None
            raise UnreachableError(f"{path} can't be read: {error.strerror}", hint="check its permissions") from None
        with os.fdopen(descriptor, "rb") as content:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _no_file(path)
            yield content


def _unreadable(error: OSError) -> None:
    """A folder that can't be looked into must not be left out in silence."""
    raise UnreachableError(f"{error.filename} can't be read: {error.strerror}", hint="check its permissions") from None


def _no_file(path: Path) -> RefusedError:
    """A link would carry along what is elsewhere, a pipe would wait for ever, a device would have no end."""
    kind = "a link" if path.is_symlink() else "neither file nor folder"
    return RefusedError(f"{path} is {kind}, in the model's folder", hint="put the files there themselves, and nothing else")
