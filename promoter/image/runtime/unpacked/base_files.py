"""What a base image contains, read from its layers and not run: Python, shared libraries and what they offer, the release.

The listing of a layer is kept in the cache under the layer's digest, which stands for its content: a base is downloaded once.
"""

from __future__ import annotations

import gzip
import io
import json
import posixpath
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

from promoter.errors import RefusedError, UsageError
from promoter.image import tar
from promoter.image.base import Base
from promoter.image.oci import LAYER, LAYER_GZIP, Descriptor, Repository
from promoter.image.runtime.unpacked.elf import Library, read_library
from promoter.machine.folders import are_private, make_private
from promoter.machine.home import cache_folder

_FORMAT = 3  # of the listings that are kept
_OPAQUE = ".wh..wh..opq"
_LIBRARY = re.compile(r".*\.so(\.[^/]*)?")
_LARGEST_LIBRARY, _IN_MEMORY = 1 << 30, 8 << 20
# Last come apt's sources and keys, and what dpkg and apk have recorded.
_TEXTS = re.compile(
    r"(etc/os-release|usr/lib/os-release|etc/ld\.so\.conf|etc/ld\.so\.conf\.d/[^/]+\.conf"
    r"|etc/apt/sources\.list|etc/apt/sources\.list\.d/[^/]+\.(list|sources)|etc/apt/trusted\.gpg|(etc/apt|usr/share)/.*\.(gpg|pgp|asc)"
    r"|var/lib/dpkg/(status|diversions|statoverride|triggers/File|info/format)|(usr/)?lib/apk/db/installed)"
)
_LARGEST_TEXT = 8 << 20
_MOST_LINKS = 40  # as Linux (path_resolution(7))
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INTERPRETER = re.compile(r"python(3\.\d+)")


@dataclass(frozen=True, slots=True)
class Node:
    """An entry of a layer: `kind` is `file`, `folder` or `link`; `target` is where a link points."""

    kind: str
    target: str = ""
    text: str | None = None
    library: Library | None = None


_FOLDER = Node("folder")


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter: the path that people start it by, and its minor version (3.11)."""

    path: str
    version: str


@dataclass(frozen=True)
class BaseFiles:
    """A base's files by their path, without a slash in front; `name` is the base's."""

    name: str
    nodes: Mapping[str, Node]
    path: str = _PATH

    def resolve(self, path: str) -> str | None:
        """The path without links; None if nothing is there."""
        parts, done = [part for part in path.split("/") if part not in ("", ".")], ""
        links = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                done = posixpath.dirname(done)
                continue
            here = f"{done}/{part}" if done else part
            node = self.nodes.get(here) or (_FOLDER if here in self._folders else None)
            if node is None or (node.kind == "file" and parts):
                return None
            if node.kind != "link":
                done = here
                continue
            links += 1
            if links > _MOST_LINKS:
                return None
            if node.target.startswith("/"):
                done = ""
            parts = [one for one in node.target.split("/") if one not in ("", ".")] + parts
        return done

    def node(self, path: str) -> Node | None:
        """What is at a path, once links are followed."""
        found = self.resolve(path)
        return self.nodes.get(found, _FOLDER) if found else None

    def text(self, path: str) -> str:
        """A small file that was kept, with surrogates for what is not UTF-8; empty if it is not there."""
        node = self.node(path)
        return node.text or "" if node else ""

    @property
    def python(self) -> Python:
        """The first `python3` of the base's PATH, which an engine would run.

        Raises:
            RefusedError: it has none, or does not show its version.
        """
        for folder in self.path.split(":"):
            path = posixpath.join(folder, "python3")
            found = self.resolve(path) if folder.startswith("/") else None
            if found and found in self.nodes and self.nodes[found].kind == "file":
                prefix = posixpath.dirname(posixpath.dirname(found))
                if match := _INTERPRETER.fullmatch(posixpath.basename(found)):
                    return Python(path, match[1])
                modules = re.compile(rf"{re.escape(prefix)}/lib/python(3\.\d+)/os\.py".lstrip("/"))
                versions = {match[1] for name in self.nodes if (match := modules.fullmatch(name))}
                if len(versions) == 1:
                    return Python(path, versions.pop())
                raise RefusedError(f"the Python of {self.name}, {path}, does not show its version", hint=_OTHER_BASE)
        raise RefusedError(f"{self.name} has no python3 in {self.path}", hint=_OTHER_BASE)

    def libraries(self) -> Iterator[tuple[str, Library]]:
        """The shared libraries where the base's loader looks (ld.so(8)), by name."""
        for path, node in self.nodes.items():
            folder, name = posixpath.split(path)
            if folder in self._library_folders and _LIBRARY.fullmatch(name):
                found = node if node.kind == "file" else self.node(path)
                if found and found.library:
                    yield name, found.library

    def under(self, layer: Descriptor, repository: Repository, environ: Mapping[str, str]) -> BaseFiles:
        """With one more layer, of that repository; raises as `read_files`."""
        nodes = dict(self.nodes)
        _apply(nodes, _listing(layer, repository, self.name, environ))
        return BaseFiles(self.name, nodes, self.path)

    @property
    def musl(self) -> tuple[int, int] | None:
        """The version of musl, where that is the C library; only apk's records show whether it is newer than 1.1."""
        loader = any(re.fullmatch(r"(usr/)?lib/ld-musl-[^/]+\.so\.1", path) for path in self.nodes)
        # musl can be installed next to glibc, which has versions of symbols, and then Python is glibc's.
        if not loader or any(name == "libc.so.6" and library.offered for name, library in self.libraries()):
            return None
        found = re.search(r"^P:musl\nV:(\d+)\.(\d+)", self.text("lib/apk/db/installed"), re.MULTILINE)
        return (int(found[1]), int(found[2])) if found else (1, 1)

    @cached_property
    def _folders(self) -> set[str]:
        """A layer need not list the folders of its files."""
        return tar.folders(self.nodes)

    @cached_property
    def _library_folders(self) -> frozenset[str]:
        listed = [self.text("etc/ld.so.conf")]
        listed += [self.text(path) for path in sorted(self.nodes) if path.startswith("etc/ld.so.conf.d/")]
        named = [line.strip() for text in listed for line in text.splitlines() if line.strip().startswith("/")]
        usual = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
        usual += [f"/{path}" for path in self.nodes if re.fullmatch(r"(usr/)?lib/[a-z0-9_]+-linux-[a-z0-9]+", path)]
        found = [self.resolve(folder) for folder in (*usual, *named)]
        return frozenset({*(folder for folder in found if folder), *(folder.strip("/") for folder in (*usual, *named))})


_OTHER_BASE = "name another image.base, or build with image.runtime-builder: engine"


def read_files(base: Base, repository: Repository, name: str, environ: Mapping[str, str]) -> BaseFiles:
    """The files of a base whose layers are in the repository.

    Raises:
        RefusedError: a layer can't be read.
        AuthError, UnreachableError: as the registry answers.
    """
    nodes: dict[str, Node] = {}
    for layer in base.layers:
        _apply(nodes, _listing(layer, repository, name, environ))
    container = base.config.get("config")
    env = container.get("Env") if isinstance(container, dict) else None
    path = next((line[5:] for line in env or () if isinstance(line, str) and line.startswith("PATH=")), "")
    return BaseFiles(name, nodes, path or _PATH)


def _apply(nodes: dict[str, Node], layer: Mapping[str, Node]) -> None:
    """https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts"""
    gone = [path for path in layer if posixpath.basename(path).startswith(".wh.")]
    for path in gone:
        folder, name = posixpath.split(path)
        hidden = folder if name == _OPAQUE else posixpath.join(folder, name.removeprefix(".wh."))
        for other in [other for other in nodes if other.startswith(f"{hidden}/") or (other == hidden and name != _OPAQUE)]:
            del nodes[other]
    folders = tar.folders(nodes)
    for path, node in layer.items():
        if path in gone:
            continue
        if path in folders and node.kind != "folder":
            for other in [other for other in nodes if other.startswith(f"{path}/")]:
                del nodes[other]
        nodes[path] = node


def _listing(layer: Descriptor, repository: Repository, name: str, environ: Mapping[str, str]) -> dict[str, Node]:
    kept = cache_folder(environ) / "bases" / f"{layer.digest.removeprefix('sha256:')}.{_FORMAT}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        if are_private(kept.parent):
            return {path: _node(value) for path, value in json.loads(kept.read_bytes()).items()}
    nodes = dict(_entries(layer, repository, name))
    with suppress(OSError, UsageError):  # a cache that can't be written costs time only
        make_private(kept.parent)
        arriving = kept.with_suffix(".new")
        arriving.write_text(json.dumps({path: _value(node) for path, node in nodes.items()}, separators=(",", ":")))
        arriving.replace(kept)
    return nodes


def _entries(layer: Descriptor, repository: Repository, name: str) -> Iterator[tuple[str, Node]]:
    """The entries of one layer; its digest is checked on the way."""
    if layer.media_type not in (LAYER, LAYER_GZIP):
        raise RefusedError(
            f"{name} has a layer that is compressed by zstd, which can't be read here",
            hint="build the base with layers in gzip, or set image.runtime-builder: engine",
        )
    chunks = repository.read_blob(layer)
    stream: IO[bytes] = io.BufferedReader(_Stream(chunks))
    if layer.media_type == LAYER_GZIP:
        stream = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 16) as archive:
            for entry in archive:
                path = posixpath.normpath(f"/{entry.name}").strip("/")
                if path:
                    yield path, _read(archive, entry, path)
        while stream.read(1 << 20):
            pass  # to the end, where the digest is checked
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise RefusedError(f"a layer of {name} can't be read: {error}", hint="build the base again") from None


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> Node:
    if entry.isdir():
        return Node("folder")
    if entry.issym():
        return Node("link", entry.linkname)
    if entry.islnk():
        return Node("link", posixpath.normpath(f"/{entry.linkname}"))
    text = library = None
    content = archive.extractfile(entry) if entry.isreg() else None
    if content and _TEXTS.fullmatch(path) and entry.size <= _LARGEST_TEXT:
        text = content.read().decode(errors="surrogateescape")
    elif content and _LIBRARY.fullmatch(path) and entry.size <= _LARGEST_LIBRARY:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
            shutil.copyfileobj(content, copy)
            library = read_library(copy)
    return Node("file", text=text, library=library)


def _node(value: dict[str, Any]) -> Node:
    library = value.get("library")
    return Node(value["kind"], value.get("target", ""), value.get("text"), Library.of(library) if library else None)


def _value(node: Node) -> dict[str, Any]:
    value: dict[str, Any] = {"kind": node.kind, "target": node.target, "text": node.text}
    return {key: one for key, one in value.items() if one} | ({"library": node.library.as_json()} if node.library else {})


class _Stream(io.RawIOBase):
    """Chunks as a file that is read from its beginning to its end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._chunks, b"")
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
