"""The files of packages as one layer on a base, with dpkg's records of them, so that dpkg and scanners see what is there.

Where the base has links in place of folders (`lib` to `usr/lib`), files go where those lead: a link of the base stays one.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence

from promoter.errors import RefusedError
from promoter.image import tar
from promoter.image.runtime.debian.archive import Deb, Entry
from promoter.image.runtime.debian.control import paragraphs
from promoter.image.runtime.unpacked.base_files import BaseFiles
from promoter.image.runtime.unpacked.files import File, Link, Member, merged
from promoter.image.runtime.unpacked.members import PackedLayer, pack_files, read_member

_DPKG = "var/lib/dpkg"
STATUS = f"{_DPKG}/status"
_PLAIN_FOLDER = 0o755
# Folders that only people look into: that nobody updates a list of them harms nothing.
_FOR_PEOPLE = re.compile(r"usr/share/(man|info|doc|doc-base)(/|$)")


def pack_packages(debs: Sequence[Deb], base: BaseFiles) -> PackedLayer:
    """The layer; it stays readable while the files that the packages were unpacked to are there.

    Raises:
        RefusedError: something of the base is in the way, or two packages are in each other's.
    """
    placing = _Placing(base)
    files = merged([*(file for deb in debs for file in placing.files(deb)), *_records(debs, placing)])
    for file in files:
        if file.path in placing.folders:
            raise RefusedError(f"/{file.path} is a file of {file.owner}, and a folder of another package", hint=_HINT)
    folders = {*placing.folders, *tar.folders([*placing.folders, *(file.path for file in files)])}
    return pack_files(files, [path for path in folders if not placing.is_folder(path)])


class _Placing:
    """Where files of packages go on a base; `folders` are those that packages have of their own."""

    def __init__(self, base: BaseFiles) -> None:
        self.base = base
        self.folders: set[str] = set()
        self._diverted = _diverted(base)
        self._watched = _watched(base)

    def is_folder(self, path: str) -> bool:
        node = self.base.node(path)
        return node is not None and node.kind == "folder"

    def files(self, deb: Deb) -> Iterator[File]:
        for entry in deb.entries:
            if why := self._flaw(entry):
                raise self._refused(deb, entry, why)
            if entry.content is None:
                if not self.is_folder(entry.path):
                    self.folders.add(self._place(deb, entry))
            elif not self._is_there(entry):
                yield File(self._place(deb, entry), entry.content, str(deb.package), entry.mode)

    def record(self, path: str, content: bytes) -> File:
        """A file of dpkg's own."""
        resolved = self.base.resolve(posixpath.dirname(path))
        return File(posixpath.join(resolved or posixpath.dirname(path), posixpath.basename(path)), content, "dpkg")

    def _flaw(self, entry: Entry) -> str:
        if entry.path.startswith("etc/ld.so.conf.d/"):
            return "it takes ldconfig to let the loader see its folder"
        if entry.path in self._diverted:
            return "the base's dpkg would write it elsewhere, or with other rights (dpkg-divert, dpkg-statoverride)"
        if not _FOR_PEOPLE.match(entry.path):
            for path, package in self._watched:
                if f"{entry.path}/".startswith(f"{path}/") and entry.content is not None:
                    return f"{package}, in the base, has to run its trigger for it"
        return ""

    def _is_there(self, entry: Entry) -> bool:
        """Whether the base has this very link."""
        node = self.base.nodes.get(entry.path)
        return (
            node is not None and isinstance(entry.content, Link) and (node.kind, node.target) == ("link", entry.content.target)
        )

    def _place(self, deb: Deb, entry: Entry) -> str:
        """The path without links of the base; nothing is there, and nothing but folders above it."""
        done, (*above, name) = "", entry.path.split("/")
        for number, part in enumerate(above):
            here = posixpath.join(done, part)
            found = self.base.resolve(here)
            if found is None and here not in self.base.nodes:
                done = posixpath.join(done, *above[number:])
                break
            if found is None or not self.is_folder(found):
                raise self._refused(deb, entry, f"/{here} of the base is not a folder")
            done = found
        path = posixpath.join(done, name)
        if path in self.base.nodes or self.base.resolve(path) is not None:
            raise self._refused(deb, entry, "the base has one already, which belongs to no package")
        if entry.content is None and entry.mode != _PLAIN_FOLDER:
            raise self._refused(deb, entry, f"it is a folder of mode {entry.mode:o}")
        return path

    def _refused(self, deb: Deb, entry: Entry, why: str) -> RefusedError:
        return RefusedError(
            f"{deb.package} can't be put on {self.base.name}: /{entry.path}: {why}",
            hint=_HINT,
        )


def _diverted(base: BaseFiles) -> frozenset[str]:
    """Diversions are three lines each: from, to, by whom. The path of an override is the last word of its line."""
    lines = base.text(f"{_DPKG}/diversions").splitlines()
    overrides = (line.split()[-1:] for line in base.text(f"{_DPKG}/statoverride").splitlines())
    return frozenset(path.strip("/") for path in (*lines[0::3], *(path for found in overrides for path in found)))


def _watched(base: BaseFiles) -> list[tuple[str, str]]:
    """Folders whose changes a package of the base waits for, and that package."""
    pairs = (line.split() for line in base.text(f"{_DPKG}/triggers/File").splitlines())
    return [(words[0].strip("/"), words[1].partition("/")[0]) for words in pairs if len(words) == 2]


def _records(debs: Sequence[Deb], placing: _Placing) -> Iterator[File]:
    """What dpkg writes about packages that it installed (dpkg(1), FILES); format 1 names the architecture of some."""
    named = placing.base.text(f"{_DPKG}/info/format").strip() == "1"
    yield placing.record(STATUS, _status(debs, placing.base.text(STATUS)).encode(errors="surrogateescape"))
    for deb in debs:
        package = deb.package
        same = named and package.fields.get("multi-arch", "") == "same"
        name = f"{_DPKG}/info/{package.name}{f':{package.architecture}' if same else ''}"
        listed = "".join(f"/{path}\n" for path in (".", *(entry.path for entry in deb.entries)))
        for kind, content in {**deb.kept, "list": listed.encode()}.items():
            yield placing.record(f"{name}.{kind}", content)


def _status(debs: Sequence[Deb], before: str) -> str:
    """The base's own paragraphs as they are, but for those of packages that were removed from it and come back now."""
    names = {(deb.package.name, deb.package.architecture) for deb in debs}
    kept = []
    for text in filter(None, (one.strip("\n") for one in re.split(r"\n\n+", before))):
        fields = next(paragraphs(text), {})
        if (fields.get("package"), fields.get("architecture")) not in names:
            kept.append(text)
    return "".join(f"{text}\n\n" for text in (*kept, *map(_paragraph, debs)))


def _paragraph(deb: Deb) -> str:
    first, *lines = [line for line in deb.control.splitlines() if line.strip()]
    text = "\n".join([first, "Status: install ok installed", *lines])
    listed = [line.split()[-1].strip("/") for line in deb.kept.get("conffiles", b"").decode().splitlines() if line.strip()]
    sums = [f" /{path} {_checksum(deb, path)}" for path in listed]
    return "\n".join((text, "Conffiles:", *sums)) if sums else text


def _checksum(deb: Deb, path: str) -> str:
    """By which dpkg knows later whether somebody has changed it."""
    digest = hashlib.md5(usedforsecurity=False)
    for entry in deb.entries:
        if entry.path == path and isinstance(entry.content, Member):
            for chunk in read_member(entry.content):
                digest.update(chunk)
            return digest.hexdigest()
    raise RefusedError(f"{deb.package} lists /{path} as its configuration and does not contain it", hint=_HINT)


_HINT = "set image.runtime-builder: engine, which installs it with apt-get, or name another image.base"
