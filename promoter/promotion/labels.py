"""Labels in MLflow: tags and an alias that show how the newest releases stand. Copied from Git; nothing is decided by them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from promoter.errors import PromoterError, UsageError
from promoter.model_registry import ModelReference
from promoter.models import Environment, Labelling, Release
from promoter.promotion import decisions
from promoter.promotion.outcome import End, Outcome
from promoter.promotion.standings import newest

if TYPE_CHECKING:
    from promoter.gitops import Repository
    from promoter.model_registry.store import RegisteredVersion
    from promoter.promotion.clients import Clients
    from promoter.promotion.releases import Committed

LIVE = "live"
_LONGEST = 500
_ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@dataclass(frozen=True, slots=True)
class Standing:
    """How the newest release of a version stands: `live`, or how it ended; `since` when, and `commit` deployed it."""

    release: Release
    status: str
    since: datetime
    commit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels versions of an environment's model, as `mlflow.record` has it. A refusal is reported, and fails nothing."""

    clients: Clients
    environment: Environment
    say: Callable[[str], None] = lambda _: None

    @property
    def wanted(self) -> bool:
        """MLflow is known here, and is to have them."""
        clients = self.clients
        known = clients.config.tracking_uri or any(clients.environ.get(name) for name in _ADDRESSES)
        return bool(known) and clients.config.labels is not Labelling.OFF

    def show(self, repository: Repository, live: Release) -> None:
        """Labels the newest releases as Git has them. `live` is proven to be: no other that is deployed is labelled so."""
        if not self.wanted:
            return
        try:
            for standing in standings(repository, self.environment):
                if standing.status != LIVE or standing.release == live:
                    self._write(standing)
        except PromoterError as error:
            self.say(f"MLflow does not show how versions stand in {self.environment.name!r}: {error.message}")

    def named(self, live: Release, aliases: Mapping[str, str]) -> bool:
        """Whether this alias of the model, which is set last of the labels, is on the release's version; False if unknown."""
        return self._aliases and aliases.get(alias(self.environment)) == live.version

    def shown(self, live: Release, known: RegisteredVersion | None = None) -> bool:
        """Whether MLflow has this release as live; `known` is a version that was read before.

        Raises:
            PromoterError: as MLflow answers.
        """
        model = self.environment.model.name
        if known is None or not decisions.deploys(live, known):
            known = self.clients.model_registry.registered(ModelReference(model, version=live.version))
            if not decisions.deploys(live, known):
                return True  # another version of that number: there is none to label
        tagged = known.tags.get(self._key("status")) == LIVE and known.tags.get(self._key("image")) == live.image
        return (tagged or not self._tags) and (alias(self.environment) in known.aliases or not self._aliases)

    def _write(self, standing: Standing) -> None:
        registry, model, version = self.clients.model_registry, self.environment.model.name, standing.release.version
        try:
            known = registry.registered(ModelReference(model, version=version))
        except UsageError:
            return  # deleted in MLflow
        if not decisions.deploys(standing.release, known):
            return
        for key, value in self._values(standing).items():
            if self._tags and known.tags.get(key, "") != value:
                registry.set_tag(model, version, key, value)
        name = alias(self.environment)
        if self._aliases and standing.status == LIVE and name not in known.aliases:
            registry.set_alias(model, name, version)

    def _values(self, standing: Standing) -> Mapping[str, str]:
        values = {
            "since": standing.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": standing.commit,
            "image": standing.release.image,
            "reason": " ".join(standing.reason.split())[:_LONGEST],
            "status": standing.status,  # the last: with it the others are there
        }
        return {self._key(name): value for name, value in values.items()}

    def _key(self, name: str) -> str:
        key = f"promoter.{self.environment.name}.{name}"
        # Unity Catalog refuses . , - = / : in the name of a tag (mlflow/recipes-examples issue 58)
        return re.sub(r"\W", "_", key) if "databricks-uc" in self.clients.model_registry.where else key

    @property
    def _tags(self) -> bool:
        return self.clients.config.labels in (Labelling.TAGS, Labelling.BOTH)

    @property
    def _aliases(self) -> bool:
        return self.clients.config.labels in (Labelling.ALIASES, Labelling.BOTH)


def alias(environment: Environment) -> str:
    """`live-<environment>`; signs that an alias can't have become hyphens, and then six digits keep two apart."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", environment.name)
    apart = "" if name == environment.name else f"-{hashlib.sha256(environment.name.encode()).hexdigest()[:6]}"
    return f"live-{name}{apart}"


def standings(repository: Repository, environment: Environment) -> list[Standing]:
    """Of the newest releases, one for each version, the deployed one first.

    Raises:
        PromoterError: as Git and the overlay's files answer.
    """
    pairs = sorted(newest(repository, environment), key=lambda pair: pair[1].end is not End.DEPLOYED)
    standing: dict[str, Standing] = {}
    for committed, end in pairs:
        if end.end is not End.UNKNOWN:
            standing.setdefault(committed.release.version, _standing(committed, end))
    return list(standing.values())


def _standing(committed: Committed, end: Outcome) -> Standing:
    release, commit = committed.release, committed.commit
    if end.end is End.DEPLOYED:
        return Standing(release, LIVE, commit.when, commit.sha, "")
    reason = end.reason or (f"by {end.by}" if end.by else "")
    return Standing(release, end.end.replace(" ", "-"), end.until or commit.when, commit.sha, reason)
