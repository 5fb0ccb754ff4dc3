"""Objects read by id: those on the way to a path alone, and what was never fetched is asked of the remote, level by level."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from promoter.errors import LinkError, RefusedError
from promoter.gitops import tree
from promoter.gitops.failures import GitError
from promoter.gitops.process import Git

Fetch = Callable[[Collection[str], bool], None]
"""Fetches objects by id; whether the trees below a tree are wanted too. Raises GitError."""

_NO_BLOBS = "blob:none"
_SMALL = 64 * 1024  # bytes of a blob that is kept: an overlay has a few kilobytes
_AT_ONCE = 512  # trees in memory while history is completed
_FEW = 4  # trees that are listed by a process each


class Objects:
    """The object database that `git` works on. Commits, trees and small blobs once read are kept until `forget`."""

    def __init__(self, git: Git, fetch: Fetch) -> None:
        self._git, self._fetch = git, fetch
        self._kept: dict[str, bytes] = {}
        self._listings: dict[str, tree.Listing] = {}
        self._complete: dict[frozenset[str], set[str]] = {}  # the root trees that are, by paths

    def forget(self) -> None:
        """Lets go of what was kept, when the tip has moved on: it is right for ever, but it takes memory."""
        self._kept.clear()
        self._listings.clear()
        self._complete.clear()

    def knows(self, commit: str) -> bool:
        """Whether the commit was read before."""
        return commit in self._kept

    def root(self, commit: str) -> str:
        """The id of the commit's root tree. Raises GitError when the commit is not here."""
        if commit not in self._kept:
            self._kept |= self._read([commit])
        if commit not in self._kept:
            raise _missing([commit])
        return self._kept[commit].split(b"\n", 1)[0].removeprefix(b"tree ").decode()

    def listings(self, commit: str, directories: Collection[str]) -> dict[str, tree.Listing]:
        """The entries of those of the directories that there are, by path; they hold every parent of theirs, the root too.

        Raises:
            GitError: the commit, or a tree, is neither here nor at the remote.
        """
        names = [commit, *(f"{commit}:{directory}" for directory in directories)]  # read without knowing their ids: at once
        asked: set[str] = set()
        while True:
            found, missing = self._walk(commit, directories)
            if missing:
                self._kept |= self._read(names, ("commit", "tree"))
                found, missing = self._walk(commit, directories)
            if not missing:
                return found
            if commit in missing or missing & asked:
                raise _missing(missing)
            self._fetch(missing, False)
            asked |= missing

    def blobs(self, ids: Iterable[str]) -> dict[str, bytes]:
        """The content of the blobs, by id; those not here yet come in one request.

        Raises:
            GitError: some could not be had.
        """
        wanted = list(dict.fromkeys(ids))
        found = {id: self._kept[id] for id in wanted if id in self._kept}
        found |= self._read([id for id in wanted if id not in found])
        if missing := [id for id in wanted if id not in found]:
            self._fetch(missing, False)
            found |= self._read(missing)
        self._kept |= {id: content for id, content in found.items() if len(content) <= _SMALL}
        if gone := [id for id in wanted if id not in found]:
            raise _missing(gone)
        return found

    def find(self, commit: str, paths: Collection[str]) -> dict[str, tree.Entry]:
        """What is at the checked paths, by path; those where nothing is are absent.

        Raises:
            GitError: as `listings`.
            RefusedError: a path is, or leads through, a symbolic link or a submodule.
        """
        try:
            return tree.find_all(self.listings(commit, tree.directories(paths)), paths, self.root(commit))
        except LinkError as error:
            target = self.blobs([error.id])[error.id].decode("utf-8", "surrogateescape")
            if tree.leads_outside(error.link, target):
                raise RefusedError(error.message, hint=error.hint) from None
            raise LinkError(error.message, hint=error.hint, link=error.link, id=error.id, target=target) from None

    def files(self, commit: str, paths: Collection[str]) -> dict[str, str]:
        """The blob's id of every regular file at or below the checked paths. Raises as `find`."""
        entries = self.find(commit, paths)
        found = {path: entry.id for path, entry in entries.items() if entry.mode != tree.DIRECTORY}
        trees = {path: entry.id for path, entry in entries.items() if entry.mode == tree.DIRECTORY}
        for path, below in zip(trees, self._files_below(list(trees.values())), strict=True):
            prefix = f"{path}/" if path else ""
            found |= {f"{prefix}{name}": id for name, id in below.items()}
        return found

    def read_ahead(self, commits: Collection[str], paths: Collection[str]) -> None:
        """Reads what is at the checked paths in each of these commits, at once. Raises GitError."""
        directories = tree.directories(paths)
        names = [name for commit in commits for name in (commit, *(f"{commit}:{directory}" for directory in directories))]
        self._kept |= self._read(names, ("commit", "tree"))
        entries = [entry for commit in commits for entry in self.find(commit, paths).values()]
        self.blobs({entry.id for entry in entries if entry.is_file})

    def changed(self, commit: str, parent: str) -> dict[str, tuple[str, str]]:
        """The blobs' ids, before and after, of every regular file that differs between two commits; "" if it does not exist."""
        before, after = self._files_below([self.root(parent), self.root(commit)])
        ids = {path: (before.get(path, ""), after.get(path, "")) for path in {*before, *after}}
        return {path: pair for path, pair in ids.items() if pair[0] != pair[1]}

    def write(self, tip: str, files: Mapping[str, bytes]) -> str | None:
        """The id of the root tree once these files are put into the tip's; None when they are there already.

        Raises:
            GitError: it could not be written.
            RefusedError: a path can't be written.
        """
        contents = dict(zip(tree.normalize_all(files), files.values(), strict=True))
        root, objects = tree.edited(self.listings(tip, tree.directories(contents)), contents, tip)
        if root == self.root(tip):
            return None
        # What the new trees name may be missing here, as in a pack that the server sent: git 2.55 dies of loose ones.
        self._git.run("index-pack", "--stdin", "--promisor", stdin=tree.pack(objects.values(), tip))
        return root

    def complete(self, roots: Collection[str], paths: Collection[str]) -> None:
        """Fetches what is missing on the way to the paths, and below them, in any of these root trees. Raises GitError."""
        directories, wanted = _by_parent(tree.directories(paths)), _by_parent(paths)
        complete = self._complete.setdefault(frozenset(paths), set())
        level = {("", id) for id in roots if id not in complete}
        whole: set[str] = set()
        while level:
            self._ensure({id for _, id in level})
            below: set[tuple[str, str]] = set()
            pending = sorted(level)
            for start in range(0, len(pending), _AT_ONCE):
                some = pending[start : start + _AT_ONCE]
                trees = self._read([id for _, id in some])
                listings = [(path, tree.parse(trees[id], id)) for path, id in some]
                below |= {found for path, listing in listings for found in _below(path, listing, directories.get(path, ()))}
                whole |= {id for path, listing in listings for _, id in _below(path, listing, wanted.get(path, ()))}
            level = below
        self._fetch_below(whole)
        complete.update(roots)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _walk(self, commit: str, directories: Collection[str]) -> tuple[dict[str, tree.Listing], set[str]]:
        """What `listings` returns, as far as it is cached, and the ids of the missing objects that are needed next."""
        if commit not in self._kept:
            return {}, {commit}
        found: dict[str, tree.Listing] = {}
        missing: set[str] = set()
        level, of = {"": self.root(commit)}, _by_parent(directories)
        while level:
            missing |= {id for id in level.values() if id not in self._kept}
            here = {path: self._listing(id) for path, id in level.items() if id in self._kept}
            level = {path: id for parent, listing in here.items() for path, id in _below(parent, listing, of.get(parent, ()))}
            found |= here
        return found, missing

    def _listing(self, id: str) -> tree.Listing:
        if id not in self._listings:
            self._listings[id] = tree.parse(self._kept[id], id)
        return self._listings[id]

    def _ensure(self, ids: Collection[str], *, below: bool = False) -> None:
        lines = self._git.run("cat-file", "--batch-check", stdin=_lines(ids)).decode().splitlines()
        if missing := [line.split()[0] for line in lines if line.endswith(" missing")]:
            self._fetch(missing, below)

    def _fetch_below(self, trees: Collection[str]) -> None:
        """Fetches every tree that is missing below these; git asks for no object that it has, whatever is missing below it."""
        self._ensure(trees, below=True)
        options = ("--objects", "--no-object-names", "--missing=print", f"--filter={_NO_BLOBS}", "--stdin")
        lines = self._git.run("rev-list", *options, stdin=_lines(trees)).decode().splitlines() if trees else []
        if missing := [line[1:] for line in lines if line.startswith("?")]:
            self._fetch(missing, True)

    def _read(self, names: Sequence[str], kinds: Collection[str] = ()) -> dict[str, bytes]:
        """Those of the named objects that are here, by id (git-cat-file(1), --batch)."""
        raw = self._git.run("cat-file", "--batch", stdin=_lines(names)) if names else b""
        found: dict[str, bytes] = {}
        position = 0
        while position < len(raw):
            end = raw.index(b"\n", position)
            head, position = raw[position:end], end + 1
            if head.endswith((b" missing", b" submodule")):
                continue
            id, kind, size = head.decode().split()
            if not kinds or kind in kinds:
                found[id] = raw[position : position + int(size)]
            position += int(size) + 1
        return found

    def _files_below(self, trees: Sequence[str]) -> list[dict[str, str]]:
        """Of each tree the blob's id of every regular file below it, by path from there; links and submodules are left out."""
        try:
            return self._all_below(trees)
        except GitError:
            self._fetch_below(trees)
            return self._all_below(trees)

    def _all_below(self, trees: Sequence[str]) -> list[dict[str, str]]:
        """By one process for each of a few trees, or for each level of many."""
        return [self._recursive(id) for id in trees] if len(trees) <= _FEW else self._by_level(trees)

    def _by_level(self, trees: Sequence[str]) -> list[dict[str, str]]:
        found: list[dict[str, tree.Entry]] = [{} for _ in trees]
        level = [(number, "", id) for number, id in enumerate(trees)]
        while level:
            contents = self._read(list(dict.fromkeys(id for _, _, id in level)))
            if missing := [id for _, _, id in level if id not in contents]:
                raise _missing(missing)
            entries = [
                (number, f"{above}{name}", entry)
                for number, above, id in level
                for name, entry in tree.parse(contents[id], id).items()
            ]
            for number, path, entry in entries:
                if not entry.is_tree:
                    found[number][path] = entry
            level = [(number, f"{path}/", entry.id) for number, path, entry in entries if entry.is_tree]
        return [tree.regular(one) for one in found]

    def _recursive(self, id: str) -> dict[str, str]:
        return tree.regular_files(self._git.run("ls-tree", "-z", "-r", id).decode("utf-8", "surrogateescape"))


def _missing(ids: Iterable[str]) -> GitError:
    return GitError("fetch", 0, "", f"error: the remote did not send {min(ids)}")


def _by_parent(paths: Iterable[str]) -> dict[str, list[str]]:
    """The names of the paths, by the directory that each is in."""
    found: dict[str, list[str]] = {}
    for path in filter(None, paths):
        directory, _, name = path.rpartition("/")
        found.setdefault(directory, []).append(name)
    return found


def _below(parent: str, listing: tree.Listing, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The directories of these names right below `parent`, by path, each with the id of its tree."""
    for name in names:
        if (entry := listing.get(name)) is not None and entry.mode == tree.DIRECTORY:
            yield f"{parent}/{name}" if parent else name, entry.id


def _lines(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
