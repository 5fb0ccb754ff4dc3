"""The releases in an overlay's history: which commit deployed which."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from promoter.argocd.state import RunningRelease
from promoter.errors import ConfigError, RefusedError, SupersededError
from promoter.gitops import Commit, Repository
from promoter.kustomize.overlay import deployed, overlay_paths, promotion_path, read_overlay, release_path
from promoter.models import Environment, Release
from promoter.promotion import decisions
from promoter.verdict.observation import Expectation

_MANY = 1_000_000  # git.history-limit is what ends it
_READ_AHEAD = 32  # commits


@dataclass(frozen=True, slots=True)
class Committed:
    """A release and a commit that deployed it.

    `restores`: it was deployed in place of one that failed or was rolled back, so it is never restored in its turn.
    `before` is what the commit's parents deployed, as far as `changes` read it.
    """

    release: Release
    commit: Commit
    restores: bool = False
    before: tuple[Release, ...] = ()

    def expectation(self, environment: Environment) -> Expectation:
        application = environment.application
        return Expectation(self.commit.sha, self.release, environment.model.image_name, application)


def current(repository: Repository, environment: Environment, start: str | None = None) -> Committed:
    """The release that the overlay deploys at `start` (default: the branch's tip), with the commit that brought it there.

    Raises:
        RefusedError: it deploys none.
    """
    found: Committed | None = None
    start = start or repository.fetch().commit
    for place, commit in _commits(repository, environment, start, full=False):
        release = _deployed(repository, place, commit.sha)
        if release is None or (found is not None and release != found.release):
            break
        found = Committed(release, commit)
    if found is None:
        raise RefusedError(
            f"{environment.application.path} on {environment.application.target_revision} deploys no release",
            hint=f"promote one first: promoter promote {environment.model.name}@ALIAS --to {environment.name}",
        )
    overlay = read_overlay(repository.at(start), environment)
    return replace(found, restores=decisions.at(repository, start, overlay, environment).is_restore(found.release))


def merged(repository: Repository, environment: Environment, commit: str, release: Release) -> Committed:
    """`release`, with the commit that brought it onto the branch when a forge merged it as `commit`.

    After a squash or a rebase that is `commit` itself; below a merge commit it is the one that was proposed.

    Raises:
        SupersededError: what was merged is another release.
    """
    on_branch = repository.is_ancestor(commit, repository.fetch().commit)
    found = current(repository, environment, commit if on_branch else None)
    if found.release != release:
        raise SupersededError(
            f"{commit[:10]} is merged, and {environment.name!r} deploys another release: {found.release.image}",
            hint=f"see what became of it: promoter watch {environment.name}",
        )
    return found


def history(repository: Repository, environment: Environment, start: str | None = None) -> Iterator[Committed]:
    """What the overlay deployed after each commit that touched it, on every side of a merge, children before parents.

    Commits in which that can't be read are left out.
    """
    for place, commit in _commits(repository, environment, start or repository.fetch().commit, full=True):
        if (release := _deployed(repository, place, commit.sha)) is not None:
            yield Committed(release, commit)


def changes(repository: Repository, environment: Environment, start: str) -> Iterator[Committed]:
    """Those of `history` that deploy another release than each of their parents."""
    created: tuple[Environment, Committed] | None = None  # a change, unless the folder was moved there
    for place, commit in _commits(repository, environment, start, full=True):
        release = _deployed(repository, place, commit.sha)
        if created is not None and (created[0] == place or created[1].release != release):
            yield created[1]
        created = None
        if release is None or (change := _change(repository, place, commit, release)) is None:
            continue
        if _brings_the_file(repository, place, commit):
            created = place, change
        else:
            yield change
    if created is not None:
        yield created[1]


def newer(repository: Repository, environment: Environment, start: str, above: str) -> list[Committed] | None:
    """Those of `changes` from `start` that come before the ones from `above`; None when that is not known without a walk."""
    commits = repository.newer(overlay_paths(environment), start, above)
    if commits is None or any(_brings_the_file(repository, environment, commit) for commit in commits):
        return None
    found = ((commit, _deployed(repository, environment, commit.sha)) for commit in commits)
    changed = (_change(repository, environment, commit, release) for commit, release in found if release is not None)
    return [one for one in changed if one is not None]


def _change(repository: Repository, place: Environment, commit: Commit, release: Release) -> Committed | None:
    """None if one of the commit's parents deploys the release too."""
    before = [_deployed(repository, place, parent) for parent in commit.parents]
    known = tuple(dict.fromkeys(one for one in before if one is not None))
    return None if release in known else Committed(release, commit, before=known)


def _commits(
    repository: Repository, environment: Environment, start: str, *, full: bool
) -> Iterator[tuple[Environment, Commit]]:
    """The commits that touched the overlay, each with the environment as it was then: in another folder before it was moved.

    Not `full`: of a merge only the side that the content came from.
    """
    read_overlay(repository.at(start), environment)
    yield from _followed(repository, environment, start, full, set())


def _followed(
    repository: Repository, environment: Environment, start: str, full: bool, seen: set[str]
) -> Iterator[tuple[Environment, Commit]]:
    paths = overlay_paths(environment)
    for commit in _read_ahead(repository, repository.history(paths, limit=_MANY, start=start, full=full), paths):
        if commit.sha in seen:
            continue
        seen.add(commit.sha)
        yield environment, commit
        if _brings_the_file(repository, environment, commit) and (before := _before(repository, environment, commit)):
            yield from _followed(repository, before, commit.parents[0], full, seen)


def _before(repository: Repository, environment: Environment, commit: Commit) -> Environment | None:
    """The environment before the commit moved its folder; None if it created it. What moved unchanged shows it."""
    release_file = environment.model.release_file
    moved = repository.moved_from(commit.sha, release_path(environment))
    if moved is None and (found := repository.moved_from(commit.sha, promotion_path(environment))):
        moved = posixpath.join(posixpath.dirname(found), posixpath.basename(release_file))  # a release came with the move
    if moved is None:
        return None
    path = moved.removesuffix(release_file).rstrip("/")
    return replace(environment, application=replace(environment.application, path=path))


def _brings_the_file(repository: Repository, environment: Environment, commit: Commit) -> bool:
    """No parent has the release file: the commit creates it, or has moved it there."""
    file = release_path(environment)
    return not any(repository.at(parent).blob_id(file) for parent in commit.parents)


def _read_ahead(repository: Repository, commits: Iterator[Commit], paths: Sequence[str]) -> Iterator[Commit]:
    """The commits, each read together with some that follow it: one at first, for most ask for no more."""
    size = 1
    while some := list(itertools.islice(commits, size)):
        repository.read_ahead([sha for commit in some for sha in (commit.sha, *commit.parents)], paths)
        yield from some
        size = min(2 * size, _READ_AHEAD)


def _deployed(repository: Repository, environment: Environment, commit: str) -> Release | None:
    try:
        return deployed(repository.at(commit), environment)
    except (ConfigError, RefusedError):
        return None


def of_running(repository: Repository, environment: Environment, running: RunningRelease, start: str) -> Committed | None:
    """The newest commit at or below `start` whose overlay deploys what runs, None when none does."""
    for committed in history(repository, environment, start):
        if _is(committed.release, running):
            return committed
    return None


def _is(release: Release, running: RunningRelease) -> bool:
    if running.model_version not in (None, release.version):
        return False
    if running.by_version:
        return running.model_version == release.version
    image = running.image
    return (
        release.digest == image.digest if image.digest else (release.repository, release.tag) == (image.repository, image.tag)
    )
