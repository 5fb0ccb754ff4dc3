"""The folder that holds one remote branch on this machine: whose turn it is, and its recovery. Anything in it may be lost."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from promoter.errors import PromoterError, UnreachableError, UsageError
from promoter.machine import resources
from promoter.machine.folders import are_private, make_private
from promoter.machine.home import cache_folder

_POLL = 0.01
_ORPHAN = 2.0  # seconds that the git process of a killed promoter gets to finish
_MOST_PACK_FILES, _MOST_LOOSE = 400, 27  # loose objects are counted in one of 256 folders, as git-gc(1) does
_MOST_MOVES = 20
_STALE = 7 * 24 * 3600.0
_LOCK_FILES = ("*.lock", "refs/**/*.lock", "objects/*.lock", "objects/info/**/*.lock", "objects/pack/*.lock")
# What the folder holds in addition to git's own, and what git's own may hold: anything else was not left there by promoter.
_FILTERS, _KNOWN_FILTERS = "promoter-filters", frozenset({"tree:0", "blob:none"})
_KEPT = "promoter-kept-"
_SHALLOW = re.compile(rb"(?:(?:[0-9a-f]{40}|[0-9a-f]{64})\n)*")
_CORE = "[core]\n\trepositoryformatversion = {}\n\tfilemode = true\n\tbare = true\n"
_CONFIGS = {
    "sha1": _CORE.format(0).encode(),
    "sha256": f"{_CORE.format(1)}[extensions]\n\tobjectformat = sha256\n".encode(),
}


def default_cache(environ: Mapping[str, str]) -> Path:
    """The folder for the caches of all remotes: $XDG_CACHE_HOME/promoter/git (XDG Base Directory Specification)."""
    return cache_folder(environ) / "git"


class Cache:
    """The cache of one branch of one remote inside `root`, which all promoters of this machine may share.

    Not for use by several threads at once; several processes take turns by `lock`.
    """

    def __init__(
        self, root: Path, address: str, branch: str, *, sleep: Callable[[float], None], clock: Callable[[], float]
    ) -> None:
        name = hashlib.sha256(f"{address}\n{branch}".encode()).hexdigest()[:24]
        self.directory = root / name
        self._place = f"{address} (branch {branch})"
        self._turn = root / f"{name}.turn"
        self._sleep, self._clock = sleep, clock
        self._held = False

    @contextmanager
    def lock(self, deadline: float) -> Iterator[None]:
        """Holds this branch for this process until the end of the block; the system lets go when the process dies.

        Raises:
            UnreachableError: somebody else still held it at `deadline`.
            UsageError: the cache's folder can't be written.
        """
        if self._held:
            yield
            return
        try:
            if make_private(self._turn.parent):
                self._distrust_all()
            turn = os.open(self._turn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            self._wait_for(turn, deadline)
            self._held = True
            yield
        finally:
            self._held = False
            os.close(turn)

    def _wait_for(self, turn: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if self._clock() > deadline:
                    raise UnreachableError(
                        f"another promoter on this machine has been writing to {self._place} all the time",
                        hint=f"run it again; the one at work holds {self._turn}",
                    ) from None
                self._sleep(_POLL)

    @property
    def filters(self) -> tuple[str, ...]:
        """The filters that the remote was found to know; the first is the one for a fetch that wants another."""
        return tuple(self._read(_FILTERS).decode(errors="replace").split())

    def shallow(self) -> frozenset[str]:
        """The commits whose parents were not fetched (git's file of that name)."""
        return frozenset(self._read("shallow").decode(errors="replace").split())

    def kept(self, name: str) -> bytes:
        """The content of a file that `keep` put here; empty when there is none."""
        try:
            return self._read(f"{_KEPT}{name}")
        except OSError:
            return b""

    def keep(self, name: str, content: bytes) -> None:
        """Puts a file here, whole or not at all; not if the folder can't be written, or is being made again."""
        file = self.directory / f"{_KEPT}{name}"
        try:
            file.with_suffix(".new").write_bytes(content)
            file.with_suffix(".new").replace(file)
        except OSError:
            pass

    def prepare(self, create: Callable[[Path], None], *, filters: tuple[str, ...], format: str = "sha1") -> None:
        """Under the lock: takes away what a killed process left, starts over when worn out, and creates what is missing.

        `create` makes an empty repository in the folder that it is given, with this format of objects.

        Raises:
            UsageError: the cache's folder can't be written.
        """
        try:
            fresh = self.directory.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            self._remove_old()
            kept: dict[str, bytes] = {}
            if os.path.lexists(self.directory) and not self.is_sound():
                self.discard()
            elif os.path.lexists(self.directory) and self._worn_out():  # of packs, not of what was found out by means of them
                kept = {file.name: file.read_bytes() for file in self.directory.glob(f"{_KEPT}*") if file.is_file()}
                self.discard()
            if self.directory.exists():
                self._remove_lock_files()
                return
            create(fresh)
            fresh.chmod(0o700)
            (fresh / _FILTERS).write_text("\n".join(filters))
            (fresh / "config").write_bytes(_CONFIGS[format])
            for name, content in kept.items():
                (fresh / name).write_bytes(content)
            self._put_in_place(fresh)
        except OSError as error:
            raise self._unwritable(error) from None

    def discard(self) -> None:
        """Throws the cache away; the next `prepare` starts over.

        Raises:
            UsageError: the cache's folder can't be written.
        """
        try:
            self._move_away(self.directory)
        except OSError as error:
            raise self._unwritable(error) from None
        self._remove_old()

    def _move_away(self, path: Path) -> None:
        """Whatever it is: its readers may still write into it."""
        old = Path(tempfile.mkdtemp(prefix=f"{self.directory.name}.old-", dir=self.directory.parent))
        try:
            path.rename(old / path.name)
        except FileNotFoundError:
            old.rmdir()

    def _remove_old(self) -> None:
        for old in self.directory.parent.glob(f"{self.directory.name}.old*"):
            shutil.rmtree(old, ignore_errors=True)

    def _put_in_place(self, fresh: Path) -> None:
        """A git that was still reading the cache before this one may make folders there at any moment."""
        for _ in range(_MOST_MOVES):
            try:
                fresh.rename(self.directory)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                self.discard()
            else:
                return
        raise OSError(errno.ENOTEMPTY, "another program writes there all the time")

    def _distrust_all(self) -> None:
        """Others could write to the folder of all caches until now: they may have put anything there."""
        for path in self.directory.parent.iterdir():
            if ".old" not in path.name:
                self._move_away(path)
        self._remove_old()

    def is_sound(self) -> bool:
        """Whether it is as promoter leaves it: private, with promoter's settings, and its files what they may be."""
        try:
            return (
                are_private(self._turn.parent.resolve(), self.directory)
                and (self.directory / "config").read_bytes() in _CONFIGS.values()
                and (self.directory / _FILTERS).exists()
                and _KNOWN_FILTERS.issuperset(self.filters)
                and _SHALLOW.fullmatch(self._read("shallow")) is not None
            )
        except OSError:
            return False

    def _read(self, name: str) -> bytes:
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return b""

    def _worn_out(self) -> bool:
        """Refetching one commit is cheaper than collecting garbage, or than catching up on a week of others' commits."""
        packs = sum(1 for _ in (self.directory / "objects" / "pack").glob("*"))
        loose = sum(1 for _ in (self.directory / "objects" / "17").glob("*"))
        age = time.time() - self._turn.stat().st_mtime
        os.utime(self._turn)
        return packs > _MOST_PACK_FILES or loose > _MOST_LOOSE or age > _STALE

    def _remove_lock_files(self) -> None:
        """We hold the lock, so a `*.lock` of git belongs to a killed promoter; its git may still be at work for a moment."""
        patience = self._clock() + _ORPHAN
        while left := [path for pattern in _LOCK_FILES for path in self.directory.glob(pattern)]:
            if self._clock() > patience:
                for path in left:
                    path.unlink(missing_ok=True)
                return
            self._sleep(_POLL)

    def _unwritable(self, error: OSError) -> PromoterError:
        if resources.is_full(error):
            return resources.full(self._turn.parent)
        return UsageError(
            f"the cache {self._turn.parent} can't be written: {error.strerror}", hint="set XDG_CACHE_HOME to a folder of yours"
        )
