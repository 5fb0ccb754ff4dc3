"""What stands against versions of an environment at one commit, and how an event changes it: read it, ask it, record it.

The file at the tip decides (`kustomize.promotion_file`). A repository that has none yet is read once from its whole history,
by replaying what promoter's commits recorded; the next commit then writes the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from promoter.errors import RefusedError
from promoter.errors.redaction import clean
from promoter.kustomize import freeze_file, promotion_file, wave_file
from promoter.kustomize.entries import opened
from promoter.kustomize.freeze_file import Freeze
from promoter.kustomize.promotion_file import BLOCKING, Decision, Key, State
from promoter.kustomize.wave_file import Part
from promoter.models import Environment, Release, Window

if TYPE_CHECKING:
    from promoter.gitops import Repository
    from promoter.kustomize.release import Overlay
    from promoter.model_registry.store import RegisteredVersion


@dataclass(frozen=True, slots=True)
class Decisions:
    """The environment's entries. `content` is the file that holds them, None if it does not exist yet.

    `freezes` are its entries that keep everything from being promoted, also those of which the time is over.
    `part`: what the file is to have of the environment's part in its group's promotion; None leaves it as it is.
    """

    environment: Environment
    path: str
    content: bytes | None
    entries: Mapping[Key, Decision]
    freezes: tuple[Freeze, ...] = ()
    part: Part | None = None

    def of(self, version: str, created: datetime | None = None) -> Decision | None:
        """The entry for the version that MLflow created then.

        One without a time is about any version of its number. Of several one that blocks counts, then the one of that time.
        """
        return min(self._about(version, created), key=lambda one: (not one.blocks, one.created != created), default=None)

    def _about(self, version: str, created: datetime | None) -> list[Decision]:
        return [
            one for one in self.entries.values() if one.version == version and (not created or one.created in (None, created))
        ]

    def of_release(self, release: Release) -> Decision | None:
        return self.of(release.version, created_at(release))

    def require_not_blocked(self, release: Release) -> None:
        """Before an earlier release is deployed again.

        Raises:
            RefusedError: the version is quarantined or rejected.
        """
        found = self.of_release(release)
        if found is not None and found.blocks:
            raise RefusedError(
                f"version {release.version} is {found.state} in {self.environment.name!r}"
                + (f": {found.reason}" if found.reason else ""),
                hint=f"choose another version (promoter rollback {self.environment.name} --to VERSION), "
                f"or remove the entry from {self.path}",
            )

    def is_undone(self, release: Release) -> bool:
        """Its version failed or a person does not want it, and it was not deployed again since."""
        one = self.of_release(release)
        return one is not None and one.state is not State.ALLOWED and (one.state is not State.FAILED or bool(one.restored))

    def is_restore(self, release: Release) -> bool:
        """The release was deployed in place of one that failed or was rolled back, and nobody promoted it since."""
        return any(one.restored == release.digest for one in self.entries.values() if one.restored)

    def rolled_back_to(self, now: Release) -> Decision | None:
        """The version that a person went back from to `now`, which nobody promoted since."""
        entries = (one for one in self.entries.values() if one.restored == now.digest)
        return next((one for one in entries if one.state is State.ROLLED_BACK), None)

    def restored_after(self, bad: Release, now: Release) -> Decision | None:
        """Why `now` is deployed in place of `bad`, if the cause is that `bad` failed or was rejected."""
        one = self.of_release(bad)
        undone = one is not None and one.state in (State.FAILED, *BLOCKING) and one.restored == now.digest
        return one if undone else None

    def frozen(self, now: datetime) -> Freeze | None:
        """What keeps everything from being promoted now; of several what stands longest."""
        standing = [*(one for one in self.freezes if one.stands(now)), *_open(self.environment.freeze, now)]
        return max(standing, key=lambda one: (one.problem is not None, one.until is None, one.until or now), default=None)

    def files(self, after: Decisions) -> dict[str, bytes]:
        """The edit after which the file has the entries of `after`; empty if it has them already."""
        known = self.entries if self.content is not None else {}
        changed = [one for one in after.entries.values() if known.get(one.key) != one]
        if self.content is not None and not changed and after.freezes == self.freezes and after.part is None:
            return {}
        content = promotion_file.write(self.path, self.content, self.environment, changed)
        if after.freezes != self.freezes:
            content = freeze_file.write(self.path, content, self.environment, after.freezes)
        if after.part is not None:
            content = wave_file.write(self.path, content, self.environment, after.part)
        return {self.path: content}

    # -- events -------------------------------------------------------------------------------------------------------

    def promoted(self, release: Release, *, by: str = "", part: Part | None = None) -> Decisions:
        """The release is deployed because somebody wants it, whatever stood against it: the gates were asked before.

        `part`: it is deployed as this part of the group's promotion, else for this environment alone.
        """
        changed = [replace(one, restored="") for one in self.entries.values() if one.restored == release.digest]
        for own in self._about(release.version, created_at(release)):
            lifted = own.state if own.state is State.FAILED else State.ALLOWED
            changed.append(replace(own, state=lifted, restored="", by=by or own.by if lifted is not own.state else own.by))
        known = self._with(*changed)
        return known._taking(wave_file.State.LEFT) if part is None else replace(known, part=part)

    def failed(self, bad: Release, stable: Release, reason: str, *, at: datetime, commit: str, quarantine: bool) -> Decisions:
        """`bad`, which `commit` deployed, was aborted or failed, and `stable` is deployed again."""
        old = self.of_release(bad) or Decision(bad.version, State.FAILED, created=created_at(bad))
        state = old.state if old.blocks else State.QUARANTINED if quarantine else State.FAILED
        entry = replace(old, state=state, reason=clean(reason), since=at, commit=commit, restored=stable.digest)
        known = self._with(replace(entry, failures=old.failures + 1))
        return known._taking(wave_file.State.FAILED, bad)

    def rolled_back(
        self, current: Release, target: Release, *, at: datetime, commit: str, by: str = "", reverted: str = ""
    ) -> Decisions:
        """A person does not want `current`, which `commit` deployed, and `target` is deployed again.

        `reverted`: nobody but its group's promotion went back, for this reason.
        """
        old = self.of_release(current) or Decision(current.version, State.ROLLED_BACK, created=created_at(current))
        state = old.state if old.blocks else State.ROLLED_BACK
        reason = clean(reverted) or old.reason
        entry = replace(old, state=state, reason=reason, since=at, by=by or old.by, commit=commit, restored=target.digest)
        wanted = self.of_release(target)
        lifted = [replace(wanted, state=State.ALLOWED)] if wanted and wanted.state is State.ROLLED_BACK else []
        became = wave_file.State.REVERTED if reverted else wave_file.State.LEFT
        return self._with(*lifted, entry)._taking(became, current)

    def rejected(self, version: str, created: datetime | None, reason: str, *, at: datetime, by: str) -> Decisions:
        """A person does not want the version, wherever it is; of a rejected one the first reason stays."""
        old = self.of(version, created) or Decision(version, State.ALLOWED, created=created)
        if old.state is State.REJECTED:
            return self
        return self._with(replace(old, state=State.REJECTED, reason=clean(reason), since=at, by=by))

    def rejected_for(self, bad: Release, target: Release, reason: str, *, at: datetime, commit: str, by: str) -> Decisions:
        """A person does not want `bad`, which `commit` deployed; `target` is deployed again."""
        known = self.rejected(bad.version, created_at(bad), reason, at=at, by=by)
        entry = known.of_release(bad)
        assert entry is not None  # noqa: S101 - it was made just now
        return known._with(replace(entry, commit=commit, restored=target.digest))._taking(wave_file.State.LEFT, bad)

    def lifted(self, version: str, created: datetime | None, *, at: datetime, by: str) -> Decisions:
        """A rejected version may be deployed again; for any other nothing changes."""
        rejected = [one for one in self._about(version, created) if one.state is State.REJECTED]
        return self._with(*(replace(one, state=State.ALLOWED, since=at, by=by) for one in rejected))

    def froze(self, reason: str, *, at: datetime, until: datetime | None, by: str) -> Decisions:
        """Nothing is promoted from now on, until that time or until somebody thaws it."""
        now = Freeze(freeze_file.State.FROZEN, clean(reason), at, until, by)
        return replace(self, freezes=(now, *(_thawed(one, at, by) for one in self.freezes[1:])))

    def thawed(self, *, at: datetime, by: str) -> Decisions:
        """What was frozen may be promoted again."""
        return replace(self, freezes=tuple(_thawed(one, at, by) for one in self.freezes))

    def takes(self, part: Part) -> bool:
        """Whether the environment takes part in that promotion already."""
        own = self.own_part
        known = (own.promotion, own.environments, own.state) if own else ()
        return known == (part.promotion, part.environments, part.state)

    @property
    def own_part(self) -> Part | None:
        """The environment's part in its group's promotion, as the file has it."""
        return wave_file.read(self.path, self.content, self.environment)

    def _taking(self, state: wave_file.State, release: Release | None = None) -> Decisions:
        """Its part ends in this state, if it has one that has not ended, and that is about the release."""
        if self.environment.group is None:
            return self
        own = self.own_part
        if own is None or own.problem or own.state is not wave_file.State.PROMOTED:
            return self
        if release is not None and not is_of(release, own.version, own.created):
            return self
        return replace(self, part=replace(own, state=state))

    def _with(self, *changed: Decision) -> Decisions:
        return replace(self, entries={**self.entries, **{one.key: one for one in changed}})


def _open(windows: Sequence[Window], now: datetime) -> Iterable[Freeze]:
    if not windows:
        return ()
    from promoter.promotion.windows import standing  # cron is of use only where there are windows

    return standing(windows, now)


def _thawed(freeze: Freeze, at: datetime, by: str) -> Freeze:
    return replace(freeze, state=freeze_file.State.THAWED, since=at, by=by, problem=None) if freeze.stands(at) else freeze


def deploys(release: Release | None, version: RegisteredVersion) -> bool:
    """Whether the release is of this very version: a model that is registered again under its name has the same numbers."""
    return release is not None and is_of(release, version.version, version.created.replace(microsecond=0))


def is_of(release: Release, version: str, created: datetime | None) -> bool:
    """Whether the release is of this version, as far as it is known when either was created."""
    known = {created_at(release), created} - {None}
    return release.version == version and len(known) < 2


def created_at(release: Release) -> datetime | None:
    """When MLflow created the version, as its image's tag has it (`image_tag`); None if promoter did not name the image."""
    found = re.fullmatch(rf"v{re.escape(release.version)}-(\d{{14}})(-.*)?", release.tag)
    try:
        return datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def at(repository: Repository, commit: str, overlay: Overlay, environment: Environment) -> Decisions:
    """The overlay's entries; without a file, those that the history at and below `commit` records.

    Raises:
        ConfigError: the file can't be read: then the state of every version is unknown.
        AuthError, UnreachableError: as the Git server answers.
    """
    path, content = overlay.promotion_file, overlay.promotion
    if content is not None:
        file = opened(path, content)
        return Decisions(environment, path, content, promotion_file.of(file, environment), freeze_file.of(file, environment))
    from promoter.promotion.replay import replayed  # a repository of today has the file

    return replayed(repository, commit, Decisions(environment, path, None, {}))
