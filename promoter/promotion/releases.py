"""The releases in an overlay's history: which commit deployed which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from promoter.argocd.state import RunningRelease
from promoter.errors import ConfigError, RefusedError, SupersededError
from promoter.gitops import Commit, Repository
from promoter.kustomize.overlay import deployed, read_overlay
from promoter.models import Environment, Release
from promoter.promotion import journal
from promoter.verdict.observation import Expectation

_MANY = 1_000_000  # git.history-limit is what ends it


@dataclass(frozen=True, slots=True)
class Committed:
    """A release and a commit that deployed it."""

    release: Release
    commit: Commit

    @property
    def restores(self) -> bool:
        """The commit put back an earlier release: it is never restored in its turn."""
        return bool(journal.of(self.commit).restores)

    def expectation(self, environment: Environment) -> Expectation:
        return Expectation(self.commit.sha, self.commit.when, self.release, environment.model.image_name)


def current(repository: Repository, environment: Environment, start: str | None = None) -> Committed:
    """The release that the overlay deploys at `start` (default: the branch's tip), with the commit that brought it there.

    Raises:
        RefusedError: it deploys none.
    """
    found: Committed | None = None
    for committed in history(repository, environment, start):
        if found is not None and committed.release != found.release:
            break
        found = committed
    if found is None:
        raise RefusedError(
            f"{environment.application.path} on {environment.application.target_revision} deploys no release",
            hint=f"promote one first: promoter promote {environment.model.name}@ALIAS --to {environment.name}",
        )
    return found


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
    """What the overlay deployed after each commit that touched it, newest first. Commits where that is unknown are left out."""
    start = start or repository.fetch().commit
    overlay = read_overlay(repository.at(start), environment)
    for commit in repository.history((overlay.kustomization_file, overlay.release_file), limit=_MANY, start=start):
        try:
            release = deployed(repository.at(commit.sha), environment)
        except (ConfigError, RefusedError):
            continue
        if release is None:
            return
        yield Committed(release, commit)


def of_running(repository: Repository, environment: Environment, running: RunningRelease, start: str) -> Committed | None:
    """The newest commit at or below `start` whose overlay deploys what runs, None when none does."""
    for committed in history(repository, environment, start):
        if _is(committed.release, running):
            return committed
    return None


def _is(release: Release, running: RunningRelease) -> bool:
    if running.model_version not in (None, release.version):
        return False
    image = running.image
    return (
        release.digest == image.digest if image.digest else (release.repository, release.tag) == (image.repository, image.tag)
    )
