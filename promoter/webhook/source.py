"""The sources of promoter.yaml: a folder of this machine, or the tip of a branch. Each call reads it again."""

from __future__ import annotations

import hashlib
import posixpath
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from promoter import config
from promoter.errors import ConfigError, UsageError
from promoter.gitops import Repository, Snapshot, default_cache
from promoter.machine.folders import make_private
from promoter.machine.paths import flaw, write_below
from promoter.notify.outbox import Outbox
from promoter.promotion.clients import Clients


class ConfigSource(Protocol):
    def clients(self) -> Clients:
        """Clients of their own for one thread, with the configuration as it is now.

        Raises:
            ConfigError: it can't be used as it stands.
            AuthError, UnreachableError, RefusedError, UsageError: it can't be read.
        """
        ...


@dataclass(frozen=True)
class Folder:
    """promoter.yaml at `file`."""

    file: Path
    environ: Mapping[str, str]
    outbox: Outbox = field(default_factory=Outbox)

    def clients(self) -> Clients:
        return Clients(config.load(self.file), self.environ, outbox=self.outbox)


@dataclass(frozen=True)
class Remote:
    """promoter.yaml in the folder `path` at the tip of `branch` of the repository at `url`: no checkout is needed.

    It and the files that it names are written to a folder of the cache, which is named by what they hold.
    """

    url: str
    branch: str
    path: str
    environ: Mapping[str, str]
    outbox: Outbox = field(default_factory=Outbox)

    def clients(self) -> Clients:
        cache = default_cache(self.environ)
        tip = Repository(self.url, self.branch, cache=cache, environ=self.environ).fetch()
        file = self._file(tip, cache.with_name("config"))
        made = config.load(file)
        if made.image.layout is not None and made.image.layout.is_relative_to(file.parent):
            raise ConfigError(
                "is relative to a checkout, and there is none",
                file=config.FILE,
                key="image.layout",
                hint="publish to a container registry, or give the whole path",
            )
        return Clients(made, self.environ, outbox=self.outbox)

    def _file(self, tip: Snapshot, cache: Path) -> Path:
        """promoter.yaml with the files that it names, as they are in this commit."""
        found = self._read(tip, [config.FILE])
        if config.FILE not in found:
            place = posixpath.normpath(posixpath.join(self.path, config.FILE))
            raise UsageError(f"{self.branch} of {self.url} has no {place}", hint="check --branch and --path")
        alone = _written(cache, found)
        return _written(cache, found | self._read(tip, config.named_files(alone / config.FILE))) / config.FILE

    def _read(self, tip: Snapshot, paths: Sequence[str]) -> dict[str, bytes]:
        places = {path: posixpath.normpath(posixpath.join(self.path, path)) for path in paths}
        found = tip.export(sorted(set(places.values())))
        return {path: found[place] for path, place in places.items() if place in found}


def _written(cache: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files, by relative path; the same files are always in the same one."""
    content = hashlib.sha256(
        b"".join(b"%d %s %d %s" % (len(path), path.encode(), len(data), data) for path, data in sorted(files.items()))
    )
    folder = cache / content.hexdigest()[:32]
    if make_private(cache):
        for untrusted in cache.iterdir():
            shutil.rmtree(untrusted, ignore_errors=True)
    if not folder.exists():
        fresh = Path(tempfile.mkdtemp(dir=cache))
        for path, data in files.items():
            if not flaw(path):  # load reports that it lies outside
                write_below(fresh, path, data)
        try:
            fresh.rename(folder)
        except OSError:  # another thread was faster
            shutil.rmtree(fresh)
    return folder
