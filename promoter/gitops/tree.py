"""Trees and blobs in git's object database: looking up a path, reading blobs, writing edited trees. No work tree, no index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from promoter.gitops.process import Git

_TREE, _LINK, _SUBMODULE = "040000", "120000", "160000"
_NEW_FILE = "100644"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree: `mode` in octal as git writes it, `kind` blob, tree or commit, `id` of the object."""

    mode: str
    kind: str
    id: str


def checked(path: str) -> str:
    """The repository-relative path in its plain form: no trailing slash, '' for the root ('.' or './').

    Raises:
        ConfigError: it is absolute, climbs with '..', names '.git', or holds what no path in Git can hold.
    """
    parts = path.removeprefix("./").rstrip("/").split("/") if path not in (".", "./") else []
    wrong = any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
    if wrong or path.startswith("/") or any(char in path for char in "\0\n\\"):
        raise ConfigError(
            "is not a path inside the repository", file=path, hint="write it relative to the repository's root, with '/'"
        )
    return "/".join(parts)


def find(git: Git, commit: str, path: str) -> Entry | None:
    """The entry at a checked path, None where there is none.

    Raises:
        RefusedError: the path is, or leads through, a symbolic link or a submodule.
    """
    if not path:
        return Entry(_TREE, "tree", f"{commit}^{{tree}}")
    steps = [*_parents(path)[1:], path]
    entries = _parsed(git.run("ls-tree", "-z", "-t", "--", commit, *steps))
    for step in steps:
        _refuse_detour(step, entries.get(step), path)
    return entries.get(path)


def files(git: Git, commit: str, paths: Iterable[str]) -> dict[str, str]:
    """The blob's id of every regular file at or below the checked paths; links and submodules below them are left out."""
    wanted = [path for path in paths if find(git, commit, path) is not None]
    if not wanted:
        return {}
    narrowed = [] if "" in wanted else wanted
    entries = _parsed(git.run("ls-tree", "-z", "-r", "--", commit, *narrowed))
    return {path: entry.id for path, entry in entries.items() if entry.kind == "blob" and entry.mode != _LINK}


def blobs(git: Git, ids: Iterable[str]) -> dict[str, bytes]:
    """The content of the blobs that are here, by id; those that were never fetched are absent (git-cat-file(1), --batch)."""
    wanted = list(dict.fromkeys(ids))
    raw = git.run("cat-file", "--batch", stdin="".join(f"{id}\n" for id in wanted).encode()) if wanted else b""
    found: dict[str, bytes] = {}
    position = 0
    while position < len(raw):
        end = raw.index(b"\n", position)
        id, *rest = raw[position:end].decode().split()
        position = end + 1
        if rest[0] != "missing":
            size = int(rest[1])
            found[id] = raw[position : position + size]
            position += size + 1
    return found


def write(git: Git, commit: str, contents: Mapping[str, bytes]) -> str:
    """The id of a new root tree: the commit's, with these files put in; an edited file keeps its mode.

    Only the trees along the paths are written (git-mktree(1)); `--missing`, because siblings were never fetched.

    Raises:
        RefusedError: a path is a directory, or leads through a file, a symbolic link or a submodule.
    """
    if "" in contents:
        raise RefusedError("the repository's root is a directory: a file can't be written there")
    directories = {parent for path in contents for parent in _parents(path)}
    trees = _listings(git, commit, directories)
    for path, content in contents.items():
        parent, _, name = path.rpartition("/")
        old = trees[parent].get(name)
        _refuse_detour(path, old, path)
        if old is not None and old.kind == "tree":
            raise RefusedError(f"{path} is a directory at {commit[:12]}: a file can't be written there")
        id = git.run("hash-object", "-w", "--stdin", stdin=content).decode().strip()
        trees[parent][name] = Entry(old.mode if old else _NEW_FILE, "blob", id)
    for directory in sorted(directories - {""}, key=lambda path: path.count("/"), reverse=True):
        parent, _, name = directory.rpartition("/")
        old = trees[parent].get(name)
        _refuse_detour(directory, old, directory)
        if old is not None and old.kind != "tree":
            raise RefusedError(f"{directory} is a file at {commit[:12]}: nothing can be written below it")
        trees[parent][name] = Entry(_TREE, "tree", _make_tree(git, trees[directory]))
    return _make_tree(git, trees[""])


def _listings(git: Git, commit: str, directories: Iterable[str]) -> dict[str, dict[str, Entry]]:
    """The entries of each directory, by name; two processes however deep it goes."""
    trees: dict[str, dict[str, Entry]] = {directory: {} for directory in directories}
    entries = _parsed(git.run("ls-tree", "-z", "--", commit))
    if below := [f"{directory}/" for directory in trees if directory]:
        entries |= _parsed(git.run("ls-tree", "-z", "-t", "--", commit, *below))
    for path, entry in entries.items():
        parent, _, name = path.rpartition("/")
        if parent in trees:
            trees[parent][name] = entry
    return trees


def _make_tree(git: Git, entries: Mapping[str, Entry]) -> str:
    lines = "".join(f"{entry.mode} {entry.kind} {entry.id}\t{name}\0" for name, entry in entries.items())
    return git.run("mktree", "-z", "--missing", stdin=lines.encode("utf-8", "surrogateescape")).decode().strip()


def _parsed(listing: bytes) -> dict[str, Entry]:
    entries = {}
    for line in listing.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        meta, _, path = line.partition("\t")
        entries[path] = Entry(*meta.split())
    return entries


def _parents(path: str) -> list[str]:
    """The directories above a path, from the root ('') down."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts))]


def _refuse_detour(step: str, entry: Entry | None, path: str) -> None:
    if entry is not None and entry.mode in (_LINK, _SUBMODULE):
        what = "a symbolic link" if entry.mode == _LINK else "a submodule"
        raise RefusedError(f"{path}: {step} is {what}: it leads outside the repository", hint="name the real path")
