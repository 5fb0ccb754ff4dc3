"""The newest releases of a history, kept in the cache so that `history` walks it once. Nothing is decided by them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from promoter import __version__
from promoter.gitops import Commit, HistoryLimitError, Repository, Snapshot
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment, Release
from promoter.promotion import releases
from promoter.promotion.releases import Committed

_VERSION = f"2 of promoter {__version__}"


@dataclass(frozen=True, slots=True)
class _Index:
    """The first of `releases.changes` from the commit `start`, or all of them if it is `whole`."""

    start: str
    found: tuple[Committed, ...] = ()
    whole: bool = False


def newest(
    repository: Repository, environment: Environment, limit: int, say: Callable[[str], None], tip: Snapshot | None = None
) -> Sequence[Committed]:
    """At most `limit` of `releases.changes` from the branch's tip; only what the index does not have is walked.

    When fewer are found within git.history-limit, and there are more commits, `say` reports it. An index that is lost, damaged,
    of another version or of a commit that the tip is not built on counts for nothing, and is made again. `tip` is the
    branch's, if it was fetched and the overlay read before.

    Raises:
        ConfigError: the overlay is not there.
        AuthError, UnreachableError: as the Git server answers.
    """
    if tip is None:
        tip = repository.fetch()
        read_overlay(tip, environment)
    name = _name(environment)
    kept = _decoded(repository.kept(name))
    index = _at(repository, environment, tip.commit, kept)
    found, whole = list(index.found), index.whole
    if len(found) < limit and not whole:
        known = {one.commit.sha for one in found}
        others = (one for one in releases.changes(repository, environment, tip.commit) if one.commit.sha not in known)
        try:
            found.extend(itertools.islice(others, limit - len(found)))
            whole = len(found) < limit
        except HistoryLimitError as error:
            say(f"older releases are not shown: {error.message}; {error.hint}")
    if (now := _Index(tip.commit, tuple(found), whole)) != kept:
        repository.keep(name, _encoded(now))
    return found[:limit]


def _at(repository: Repository, environment: Environment, tip: str, kept: _Index | None) -> _Index:
    newer = releases.newer(repository, environment, tip, kept.start) if kept else None
    return _Index(tip) if kept is None or newer is None else _Index(tip, (*newer, *kept.found), kept.whole)


def _name(environment: Environment) -> str:
    """Of the file: it depends on what else decides which release an overlay deploys."""
    return hashlib.sha256(f"{environment.application.path}\n{environment.model!r}".encode()).hexdigest()[:24]


def _encoded(index: _Index) -> bytes:
    found = [
        (asdict(one.release), asdict(one.commit) | {"when": one.commit.when.isoformat()}, [asdict(was) for was in one.before])
        for one in index.found
    ]
    body = json.dumps({"version": _VERSION, "start": index.start, "whole": index.whole, "found": found}).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _decoded(content: bytes) -> _Index | None:
    digest, _, body = content.partition(b"\n")
    if digest != hashlib.sha256(body).hexdigest().encode():
        return None
    read = json.loads(body)
    if read["version"] != _VERSION:
        return None
    found = (
        Committed(Release(**release), _commit(commit), before=tuple(Release(**was) for was in before))
        for release, commit, before in read["found"]
    )
    return _Index(read["start"], tuple(found), read["whole"])


def _commit(read: dict[str, Any]) -> Commit:
    return Commit(**{**read, "parents": tuple(read["parents"]), "when": datetime.fromisoformat(read["when"])})
