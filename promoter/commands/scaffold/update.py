"""A scaffold of an earlier version of promoter, brought to this one: what people changed stays. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from promoter.gitops.checkout import blob_id
from promoter.kustomize.overlay import file_diff

Read = Callable[[str], bytes | None]
Merge = Callable[[bytes, bytes, bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Update:
    """A file that would be another one: `before` is there now, `after` in its place; None stands for no file.

    With a `conflict` the file stays as it is, and a person decides.
    """

    path: str
    before: bytes | None
    after: bytes | None
    conflict: str = ""

    @property
    def diff(self) -> str:
        """What would change in it."""
        return file_diff(self.path, self.before or b"", self.after or b"")


def updates(written: Mapping[str, str], files: Mapping[str, bytes], there: Read, base: Read, merge: Merge) -> Iterator[Update]:
    """What has to change, by path.

    `written` has the Git id of each file as init wrote it, `base` that text where it is known, `files` what this version of
    promoter writes, `there` what is there now. `merge` is given mine, base and other.
    """
    for path in sorted({*written, *files}):
        mine, new, known = there(path), files.get(path), written.get(path)
        if mine == new or (mine is None and known is not None):  # the same, or somebody deleted it
            continue
        if new is None:
            changed = mine is not None and blob_id(mine) != known
            yield Update(path, mine, None, "it is not part of the scaffold any more, and was changed" if changed else "")
        elif mine is None or blob_id(mine) == known:
            yield Update(path, mine, new)
        elif blob_id(new) != known:
            yield _merged(path, mine, new, base(path), merge)


def _merged(path: str, mine: bytes, new: bytes, base: bytes | None, merge: Merge) -> Update:
    if base is None:
        return Update(path, mine, new, "what it was made from is not known")
    after = merge(mine, base, new)
    return Update(path, mine, new, "both changed the same lines") if after is None else Update(path, mine, after)
