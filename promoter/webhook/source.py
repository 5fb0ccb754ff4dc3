"""Where promoter.yaml is: in a folder of this machine, or at the tip of a branch. Read anew each time it is asked for."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from promoter import config
from promoter.clients import Clients
from promoter.gitops import Repository, default_cache


class Source(Protocol):
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

    def clients(self) -> Clients:
        return Clients(config.load(self.file), self.environ)


@dataclass(frozen=True)
class Remote:
    """promoter.yaml in the folder `path` at the tip of `branch` of the repository at `url`: no checkout is needed.

    A relative `image.layout` is relative to the folder that this process runs in.
    """

    url: str
    branch: str
    path: str
    environ: Mapping[str, str]

    def clients(self) -> Clients:
        tip = Repository(self.url, self.branch, cache=default_cache(self.environ), environ=self.environ).fetch()

        def read(paths: Collection[str]) -> Mapping[str, bytes]:
            places = {path: posixpath.normpath(posixpath.join(self.path, path)) for path in paths}
            found = tip.export(sorted(set(places.values())))
            return {path: found[place] for path, place in places.items() if place in found}

        return Clients(config.load_from(read, Path.cwd()), self.environ)
