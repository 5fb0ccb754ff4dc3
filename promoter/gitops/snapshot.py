"""The files of one commit, as an edit sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from promoter.gitops import tree


class Files(Protocol):
    """What reads the files of a commit; the paths are checked."""

    def entry(self, commit: str, path: str) -> tree.Entry | None: ...
    def blob(self, commit: str, id: str) -> bytes: ...
    def export(self, commit: str, paths: Sequence[str]) -> dict[str, bytes]: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one commit, read when asked for. Every path is relative to the repository's root, with '/'.

    All methods raise ConfigError for a path that is not inside the repository, and RefusedError for one that is or leads
    through a symbolic link or a submodule.
    """

    commit: str
    _repository: Files = field(repr=False, compare=False)

    def read(self, path: str) -> bytes | None:
        """The file's bytes as committed; None if it does not exist."""
        id = self.blob_id(path)
        return None if id is None else self._repository.blob(self.commit, id)

    def blob_id(self, path: str) -> str | None:
        """The object id of the file's content; None if it does not exist. Does not fetch the content."""
        entry = self._repository.entry(self.commit, tree.normalize(path))
        return entry.id if entry is not None and entry.is_file else None

    def export(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Every regular file at or below these paths, by path ('.' is the whole repository), fetched in one request.

        Symbolic links and submodules below a path are left out.
        """
        return self._repository.export(self.commit, tree.normalize_all(paths))
