"""A file as it will be in a layer: its path in the image, and where its bytes come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from promoter.errors import RefusedError

RUNTIME, SERVER = "opt/runtime", "opt/promoter"


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel, compressed there (`deflated`) or not: `stored` bytes from `offset` on."""

    archive: Path
    offset: int
    stored: int
    size: int
    crc: int
    deflated: bool

    @property
    def same(self) -> tuple[int, int]:
        """Equal for files of equal content."""
        return self.size, self.crc


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; only promoter makes some."""

    target: str


@dataclass(frozen=True, slots=True)
class File:
    """`path` has no slash in front; `owner` is what the file belongs to, for people."""

    path: str
    content: Member | Link | bytes
    owner: str
    mode: int = 0o644

    @property
    def size(self) -> int:
        if isinstance(self.content, Member):
            return self.content.size
        return 0 if isinstance(self.content, Link) else len(self.content)


def merged(files: Iterable[File]) -> list[File]:
    """The files without those that are there already with the same content.

    Raises:
        RefusedError: two of one path have other content, or one is a folder of the other.
    """
    found: dict[str, File] = {}
    for file in files:
        other = found.setdefault(file.path, file)
        if other is not file and not _same(other, file):
            raise _clash(f"/{file.path}", other, file)
    for path, file in found.items():
        for at, character in enumerate(path):
            if character == "/" and path[:at] in found:
                raise _clash(f"/{path[:at]}", found[path[:at]], file)
    return list(found.values())


def _same(one: File, other: File) -> bool:
    if isinstance(one.content, Member) and isinstance(other.content, Member):
        return one.content.same == other.content.same
    return one.content == other.content


def _clash(path: str, one: File, other: File) -> RefusedError:
    owners = " and ".join(dict.fromkeys((one.owner, other.owner)))
    return RefusedError(
        f"{path} is in {owners}, with other content: what a model gets would depend on the order of installation",
        hint="log the model without one of them, or build with image.runtime-builder: engine, where the last one counts",
    )
