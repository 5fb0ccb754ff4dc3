"""Names from outside as paths: one rule for those of Git's trees, MLflow's listings, model folders, image layers and builds."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# What HFS+ leaves out of a name (git: utf8.c, next_hfs_char).
_IGNORABLE = dict.fromkeys([0x200C, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


def climbs(name: str) -> bool:
    """Whether this name of an entry is not a file or folder right there.

    As git's own check has it (fsck.c: emptyName, hasDot, hasDotdot, hasDotgit, fullPathname), which a server need not make:
    `.git` is also what a file system that folds case, drops ignorable characters, shortens names or has streams takes for it.
    """
    plain = unicodedata.normalize("NFKC", name.translate(_IGNORABLE)).casefold().partition(":")[0].rstrip(" .")
    return name in ("", ".", "..") or plain in (".git", "git~1") or "/" in name or "\0" in name


def climbing(names: Iterable[str]) -> str | None:
    """The first of these names that `climbs`, None if none does."""
    return next(filter(climbs, names), None)


def flaw(path: str) -> str:
    """Why it is not the path of a file below a folder, spelled the one plain way; empty if it is."""
    if climbing(path.split("/")) is not None:
        return "a path is relative, without empty, '.', '..' or '.git' parts"
    if "\\" in path or any(unicodedata.category(character) == "Cc" for character in path):
        return "its name has a backslash or a control character"
    return ""


def first_flaw(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first path with a `flaw`, and that; None if they have none."""
    return next(((path, why) for path in paths if (why := flaw(path))), None)


def open_below(folder: Path, path: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the file at this path below the folder. No link is followed on the way, and no pipe waited for.

    With os.O_CREAT the folders on the way are made. The path has no `flaw`. Raises OSError.
    """
    *folders, name = path.split("/")
    descriptor = _folder_below(folder, folders, make=bool(flags & os.O_CREAT))
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def write_below(folder: Path, path: str, content: bytes) -> None:
    """Writes a file that is not there yet; see `open_below`. Raises OSError, and ValueError for a path with a `flaw`."""
    if why := flaw(path):
        raise ValueError(f"{path!r}: {why}")
    with os.fdopen(open_below(folder, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(content)


def leads_below(path: str, target: str) -> bool:
    """Whether a symbolic link at this path leads to something else below the same folder, whatever is a link there.

    '..' behind a name is not what it seems to be if the name is a link.
    """
    up, names = [], target.split("/")
    while names and names[0] in ("", ".", ".."):
        up.append(names.pop(0))
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), *up, *names))
    return not target.startswith("/") and ".." not in names and not flaw(found)


def link_below(folder: Path, path: str, target: str) -> None:
    """Makes a symbolic link that `leads_below`. Raises as `write_below`."""
    above = posixpath.dirname(path)
    if flaw(path) or not leads_below(path, target):
        raise ValueError(f"{path!r} to {target!r} leads out of the folder")
    parent = _folder_below(folder, above.split("/") if above else (), make=True)
    try:
        os.symlink(target, posixpath.basename(path), dir_fd=parent)
    finally:
        os.close(parent)


def _folder_below(folder: Path, names: Iterable[str], *, make: bool) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in names:
            if make:
                _make(name, descriptor)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make(name: str, folder: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=folder)
