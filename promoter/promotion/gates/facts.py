"""What gates ask about a version and an environment: each fact is read when the first gate needs it, and once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from promoter.errors import UsageError
from promoter.image import cosign
from promoter.image.keys import PublicKey
from promoter.model_registry import ModelReference
from promoter.models import Environment, Image, ModelVersion, Release, Ruling
from promoter.output import plain
from promoter.promotion.gates.command import command
from promoter.promotion.gates.live import Live
from promoter.promotion.gates.override import NONE, Overrides
from promoter.promotion.gates.places import records_of
from promoter.promotion.gates.signed import attested, signed

if TYPE_CHECKING:
    from promoter.config.gates import AttestedSection, CommandSection, SignedSection
    from promoter.gitops import Snapshot
    from promoter.promotion.clients import Clients
    from promoter.promotion.decisions import Decisions


@dataclass
class Facts:
    """`snapshot` is the tip that would be built on, `known` and `before` what was decided and is deployed there.

    `changes`: another release would be deployed than is now. `again`: asked on another tip than the plan's, so that what others
    may change in MLflow is read once more. `at`: the time that is asked about, if not now.
    """

    clients: Clients
    version: ModelVersion
    snapshot: Snapshot
    known: Decisions
    before: Release | None
    image: Callable[[], Image | None]
    force: bool = False
    unattended: bool = False
    changes: bool = True
    overrides: Overrides = NONE
    again: bool = False
    at: datetime | None = None
    _checks: dict[bytes, Ruling] = field(default_factory=dict)
    _lives: dict[Release, Live] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.at or datetime.now(UTC)

    @property
    def environment(self) -> Environment:
        return self.known.environment

    def on(self, snapshot: Snapshot, known: Decisions, before: Release | None) -> Facts:
        """The same question on another tip."""
        return replace(self, snapshot=snapshot, known=known, before=before, changes=True, again=True)

    @cached_property
    def digest(self) -> str:
        """Of the version's image, "" if it is not built yet. Raises as `Publisher.expect`."""
        found = self.image()
        return found.digest if found else ""

    def checked(self, rule: CommandSection) -> Ruling:
        """What the team's own check decides; with the same facts it is not run again."""
        live = self.live()
        known = {
            "environment": self.environment.name,
            "model": self.version.name,
            "version": self.labelled,
            "live": live.version if live else None,
            "deployed": self.before,
        }
        facts = json.dumps(plain(known)).encode()
        if facts not in self._checks:
            self._checks[facts] = command(rule, facts, self.clients.config.root, self.clients.environ)
        return self._checks[facts]

    def signed(self, rule: SignedSection) -> Ruling:
        """By what is next to the image in its registry. Raises as the registry answers, and UsageError for a key."""
        key = PublicKey.read(self.clients.config.root / rule.key, "gates.signed.key")
        if not self.digest:
            return signed(rule.key, "", ())
        registry = self.clients.attachments(self.environment.model.repository, decides=True)
        return signed(rule.key, self.digest, cosign.flaws(registry, self.digest, key))

    def attested(self, rule: AttestedSection) -> Ruling:
        """By the records next to the image. Raises as the registry, Git and Argo CD answer, and UsageError for record.key."""
        found = records_of(self.clients, self.environment, rule.environment, self.digest) if self.digest else ()
        return attested(rule.environment, self.digest, found)

    def live(self) -> Live | None:
        """None if the overlay deploys no version yet. Raises as `ModelRegistry.resolve`, except if the version is gone."""
        release = self.before
        if release is None or not release.version:
            return None
        if release not in self._lives:
            self._lives[release] = self._live(release)
        return self._lives[release]

    def _live(self, release: Release) -> Live:
        if release.version == self.version.version:
            return Live(release.version, self.version)
        try:
            found = self.clients.model_registry.resolve(ModelReference(release.model, version=release.version))
        except UsageError:
            return Live(release.version, None)
        return Live(release.version, found)

    @cached_property
    def labelled(self) -> ModelVersion:
        """The version with the tags and aliases that it has now. Raises as `ModelRegistry.registered`."""
        if not self.again:
            return self.version
        reference = ModelReference(self.version.name, version=self.version.version)
        found = self.clients.model_registry.registered(reference)
        return replace(self.version, tags=found.tags, aliases=found.aliases)
