"""Trees as git stores them: a path looked up in them, and the objects of an edited one. Pure."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from promoter.errors import ConfigError, LinkError, RefusedError
from promoter.machine.paths import climbing, first_flaw, flaw

DIRECTORY, _LINK, _SUBMODULE = "40000", "120000", "160000"
_NEW_FILE = "100644"
_HASHES = {40: hashlib.sha1, 64: hashlib.sha256}  # by the length of an id in hexadecimal digits


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree: `mode` in octal as git stores it, `id` of the object."""

    mode: str
    id: str

    @property
    def is_tree(self) -> bool:
        return self.mode == DIRECTORY

    @property
    def is_file(self) -> bool:
        return self.mode not in (DIRECTORY, _SUBMODULE)


@dataclass(frozen=True, slots=True)
class Object:
    """A blob or a tree that is to be written."""

    kind: str
    content: bytes


Listing = Mapping[str, Entry]
Listings = Mapping[str, Listing]
"""The entries of directories, by the directory's path ('' is the root)."""


def normalize(path: str) -> str:
    """The repository-relative path in its plain form: no trailing slash, '' for the root ('.' or './').

    Raises:
        ConfigError: it is absolute, climbs with '..', names '.git', or holds what no path in Git can hold.
    """
    return normalize_all([path])[0]


def normalize_all(paths: Iterable[str]) -> list[str]:
    """Each path as `normalize` has it; raises as it does."""
    given = {path: "" if path in (".", "./") else path.removeprefix("./").rstrip("/") for path in paths}
    flawed = first_flaw([path if path.startswith("/") else plain for path, plain in given.items() if path not in (".", "./")])
    if flawed:
        wrong = next(path for path, plain in given.items() if flawed[0] in (path, plain))
        hint = "write it relative to the repository's root, with '/'"
        raise ConfigError("is not a path inside the repository", file=wrong, hint=hint)
    return list(given.values())


def regular_files(listing: str) -> dict[str, str]:
    """The blob's id of every regular file in the output of `git ls-tree -z -r`; links and submodules are left out.

    Raises:
        RefusedError: a path leads out of its folder, or into a `.git`, or has a backslash or a control character.
    """
    lines = [line.partition("\t")[::2] for line in listing.split("\0")[:-1]]
    entries = [(meta.split(), path) for meta, path in lines]
    return regular({path: Entry(mode, id) for (mode, _, id), path in entries})


def regular(entries: Mapping[str, Entry]) -> dict[str, str]:
    """The blob's id of every regular file among these entries, by path; raises as `regular_files`."""
    if found := first_flaw(entries):
        path, why = found
        if climbing(path.split("/")) is not None:
            raise _climbing(path)
        raise RefusedError(f"the repository has a file {path!r}: {why}", hint="rename it, or move it out of the folder")
    return {path: entry.id for path, entry in entries.items() if entry.mode not in (_LINK, _SUBMODULE)}


def _climbing(name: str) -> RefusedError:
    return RefusedError(
        f"the repository has a tree with an entry named {name!r}, which no checkout may have",
        hint="git fsck shows the tree; remove the commit that added it from the branch",
    )


def directories(paths: Iterable[str]) -> set[str]:
    """Every directory on the way to the checked paths, the root ('') included."""
    return {"", *(parent for path in paths for parent in _parents(path))}


def parse(content: bytes, id: str) -> dict[str, Entry]:
    """The entries of a tree object; `id` is any id of its repository.

    Raises:
        RefusedError: an entry's name leads elsewhere.
    """
    width = len(id) // 2
    entries: dict[str, Entry] = {}
    position = 0
    while position < len(content):
        space = content.index(b" ", position)
        end = content.index(b"\0", space)
        name = content[space + 1 : end].decode("utf-8", "surrogateescape")
        entries[name] = Entry(content[position:space].decode(), content[end + 1 : end + 1 + width].hex())
        position = end + 1 + width
    if (bad := climbing(entries)) is not None:
        raise _climbing(bad)
    return entries


def find_all(listings: Listings, paths: Iterable[str], root: str) -> dict[str, Entry]:
    """The entries at normalized paths, by path; those where nothing is are absent. `root` is the id of the root tree.

    Raises:
        RefusedError: a path is, or leads through, a symbolic link or a submodule.
    """
    entries = ((path, _find(listings, path) if path else Entry(DIRECTORY, root)) for path in paths)
    return {path: entry for path, entry in entries if entry is not None}


def edited(listings: Listings, contents: Mapping[str, bytes], commit: str) -> tuple[str, dict[str, Object]]:
    """The id of the root tree once these files are put into the commit's, and the new objects by id; a file keeps its mode.

    Raises:
        RefusedError: a path is a directory, or leads through a file, a symbolic link or a submodule.
    """
    if "" in contents:
        raise RefusedError("the repository's root is a directory: a file can't be written there")
    trees = {directory: dict(listings.get(directory, {})) for directory in directories(contents)}
    made: dict[str, Object] = {}

    def put(path: str, mode: str, object: Object) -> None:
        parent, _, name = path.rpartition("/")
        made[id := object_id(object, commit)] = object
        trees[parent][name] = Entry(mode, id)

    for path, content in contents.items():
        old = _find(listings, path)
        if old is not None and old.is_tree:
            raise RefusedError(f"{path} is a directory at {commit[:12]}: a file can't be written there")
        put(path, old.mode if old else _NEW_FILE, Object("blob", content))
    for directory in sorted(trees, key=lambda path: path.count("/"), reverse=True):
        if not directory:
            continue
        old = _find(listings, directory)
        if old is not None and not old.is_tree:
            raise RefusedError(f"{directory} is a file at {commit[:12]}: nothing can be written below it")
        put(directory, DIRECTORY, _tree(trees[directory]))
    root = _tree(trees[""])
    return object_id(root, commit), {**made, object_id(root, commit): root}


def pack(objects: Collection[Object], id: str) -> bytes:
    """A packfile of these objects (gitformat-pack(5)); `id` is any id of the repository that it is for."""
    import zlib

    kinds = {"tree": 2, "blob": 3}
    parts = [b"PACK", (2).to_bytes(4, "big"), len(objects).to_bytes(4, "big")]
    for object in objects:
        size = len(object.content)
        head, size = kinds[object.kind] << 4 | size & 15, size >> 4
        while size:
            parts.append(bytes([head | 128]))
            head, size = size & 127, size >> 7
        parts += [bytes([head]), zlib.compress(object.content, 1)]
    body = b"".join(parts)
    return body + _HASHES[len(id)](body).digest()


def _tree(entries: Listing) -> Object:
    def order(item: tuple[str, Entry]) -> bytes:
        name = item[0].encode("utf-8", "surrogateescape")
        return name + b"/" if item[1].is_tree else name  # git sorts a directory as if its name ended in a slash

    content = b"".join(
        entry.mode.encode() + b" " + name.encode("utf-8", "surrogateescape") + b"\0" + bytes.fromhex(entry.id)
        for name, entry in sorted(entries.items(), key=order)
    )
    return Object("tree", content)


def object_id(object: Object, id: str) -> str:
    """The id that git gives to the object; `id` is any id of the repository that it is for."""
    head = f"{object.kind} {len(object.content)}\0".encode()
    return _HASHES[len(id)](head + object.content).hexdigest()


def _find(listings: Listings, path: str) -> Entry | None:
    entry = None
    for step in [*_parents(path)[1:], path]:
        parent, _, name = step.rpartition("/")
        entry = listings.get(parent, {}).get(name)
        _refuse_detour(step, entry, path)
    return entry


def _parents(path: str) -> list[str]:
    """The directories above a path, from the root ('') down."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts))]


def leads_outside(link: str, target: str) -> bool:
    """Whether the symbolic link at this path of the repository leads out of it."""
    found = posixpath.normpath(posixpath.join(posixpath.dirname(link), target))
    return target.startswith("/") or (found != "." and bool(flaw(found)))


def _refuse_detour(step: str, entry: Entry | None, path: str) -> None:
    where = path if step == path else f"{path}: {step}"
    if entry is not None and entry.mode == _LINK:
        hint = "name the real path, or put the file itself there"
        message = f"{where} is a symbolic link, which promoter does not follow"
        raise LinkError(message, hint=hint, link=step, id=entry.id)
    if entry is not None and entry.mode == _SUBMODULE:
        message = f"{where} is a submodule, which promoter does not follow"
        raise RefusedError(message, hint="name a path of this repository")
