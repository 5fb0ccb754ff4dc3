"""The files of one commit, as an edit sees them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promoter.gitops import tree

if TYPE_CHECKING:
    from promoter.gitops.repository import Repository


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one commit, read when asked for. Every path is relative to the repository's root, with '/'.

    All methods raise ConfigError for a path that is not inside the repository, and RefusedError for one that is or leads
    through a symbolic link or a submodule.
    """

    commit: str
    _repository: Repository = field(repr=False, compare=False)

    def read(self, path: str) -> bytes | None:
        """The file's bytes as committed; None when there is no such file."""
        id = self.blob_id(path)
        return None if id is None else self._repository.blob(self.commit, id)

    def blob_id(self, path: str) -> str | None:
        """The object id of the file's content; None when there is no such file. Costs no content."""
        entry = self._repository.entry(self.commit, tree.checked(path))
        return entry.id if entry is not None and entry.is_file else None

    def export(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Every regular file at or below these paths, by path ('.' is the whole repository), fetched in one request.

        Symbolic links and submodules below a path are left out.
        """
        return self._repository.export(self.commit, [tree.checked(path) for path in paths])
