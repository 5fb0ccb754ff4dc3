"""What promoter's commits record in their trailers: which release, which failure, which decision of a person.

The only module that spells a trailer's key. https://git-scm.com/docs/git-interpret-trailers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta

from promoter.gitops import Commit
from promoter.models import Environment, ModelVersion, Release

_CLOCKS_DIFFER = timedelta(hours=1)

# In the order in which a message has them.
_KEYS = {
    "promotion_id": "Promotion-Id",
    "restores": "Restores",
    "model": "Model",
    "version": "Model-Version",
    "model_digest": "Model-Digest",
    "image": "Image",
    "environment": "Environment",
    "abort": "Rollout-Abort",
    "failed_version": "Failed-Version",
    "quarantined": "Quarantined",
    "rolled_back_version": "Rolled-Back-Version",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit records; "" where it does not.

    `restores` is the commit whose release is deployed again, `abort` the reason of a failed rollout, `quarantined` the
    versions (NAME:VERSION, one a line) that must not be deployed again.
    """

    promotion_id: str = ""
    restores: str = ""
    model: str = ""
    version: str = ""
    model_digest: str = ""
    image: str = ""
    environment: str = ""
    abort: str = ""
    failed_version: str = ""
    quarantined: str = ""
    rolled_back_version: str = ""

    @property
    def by_promoter(self) -> bool:
        """promoter made the commit; it is not a person's."""
        return bool(self.promotion_id or self.restores)

    @property
    def undone_versions(self) -> set[str]:
        """The versions that this commit replaced because they failed, or because a person rolled back."""
        return {self.failed_version, self.rolled_back_version} - {""}

    def is_of(self, environment: Environment) -> bool:
        return self.environment == environment.name and self.model == _on_one_line(environment.model.name)

    def restores_after(self, bad: Release) -> bool:
        """promoter restored Git after this release was aborted or failed."""
        return bool(self.restores and self.abort) and self.failed_version == bad.version

    def trailers(self) -> tuple[tuple[str, str], ...]:
        values = ((key, getattr(self, name)) for name, key in _KEYS.items())
        return tuple((key, value) for key, value in values if value)


@dataclass(frozen=True, slots=True)
class Past:
    """What the environment's history records of one model version: the commit that quarantined it, and how often it failed."""

    quarantined: str | None = None
    failures: int = 0


def of(commit: Commit) -> Entry:
    """What the commit records."""
    return _entry(commit.trailers)


def promotion(environment: Environment, release: Release, promotion_id: str) -> Entry:
    return _released(environment, release, promotion_id=promotion_id)


def restore(environment: Environment, stable: Release, commit: str, bad: Release, abort: str, *, quarantine: bool) -> Entry:
    """`stable`, which `commit` deployed, is deployed again because `bad` was aborted or failed."""
    quarantined = f"{bad.model}:{bad.version}" if quarantine else ""
    return _released(environment, stable, restores=commit, abort=abort, failed_version=bad.version, quarantined=quarantined)


def rollback(environment: Environment, target: Release, commit: str, current: Release) -> Entry:
    """`target`, which `commit` deployed, is deployed again because a person does not want `current`."""
    return _released(environment, target, restores=commit, rolled_back_version=current.version)


def past(commits: Iterable[Commit], version: ModelVersion) -> Past:
    """From the commits of the environment, newest first; those before the version was created can't be about it."""
    model, reference = _on_one_line(version.name), _on_one_line(version.reference)
    quarantined, failures = None, 0
    for commit in commits:
        if commit.when < version.created - _CLOCKS_DIFFER:
            break
        entry = of(commit)
        if reference in entry.quarantined.split("\n"):
            quarantined = quarantined or commit.sha
        if entry.failed_version == version.version and entry.model == model:
            failures += 1
    return Past(quarantined, failures)


def same_release(these: Mapping[str, str], those: Mapping[str, str]) -> bool:
    """Whether two commits record the same. The promotion id does not count: it depends on the release that was replaced."""
    varies = _KEYS["promotion_id"]
    return {**these, varies: ""} == {**those, varies: ""}


def _entry(trailers: Mapping[str, str]) -> Entry:
    return Entry(**{field.name: trailers.get(_KEYS[field.name], "") for field in fields(Entry)})


def _released(environment: Environment, release: Release, **record: str) -> Entry:
    return Entry(
        model=release.model,
        version=release.version,
        model_digest=release.model_digest,
        image=release.image,
        environment=environment.name,
        **record,
    )


def _on_one_line(text: str) -> str:
    """As a trailer holds it."""
    return " ".join(text.split())
