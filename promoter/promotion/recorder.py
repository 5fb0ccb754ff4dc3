"""Attaches the records of promotions to their images: copies, which nothing needs but the gate that asks for one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from promoter.errors import PromoterError, RefusedError
from promoter.image.attestation import Attested, opened, stored
from promoter.image.manifest import RUN_ID
from promoter.image.oci import MANIFEST, Descriptor, decode, section
from promoter.kustomize.overlay import overlay_paths, promotion_path
from promoter.models import Environment, Release
from promoter.promotion import record
from promoter.promotion.outcome import End
from promoter.promotion.record import Record
from promoter.promotion.standings import newest
from promoter.verdict import Kind

if TYPE_CHECKING:
    from promoter.gitops import Repository
    from promoter.image.referrers import Referrer
    from promoter.image.registry import RegistryRepository
    from promoter.promotion.clients import Clients
    from promoter.verdict import Verdict

PREDICATE_TYPE = "in-toto.io/predicate-type"  # of a layer, as BuildKit has it
_BUNDLE = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": record.PREDICATE}


@dataclass(frozen=True, slots=True)
class Found:
    """A record as it was found: its manifest's digest, its annotations, and what is stored."""

    referrer: Referrer
    attested: Attested


class Records:
    """The records in the image repository of this name. `decides`: something waits for what they are."""

    def __init__(self, clients: Clients, name: str, *, decides: bool = False) -> None:
        self._clients, self._decides, self.name = clients, decides, name

    @cached_property
    def _registry(self) -> RegistryRepository:
        return self._clients.attachments(self.name, decides=self._decides)

    def listed(self, image: str) -> tuple[Referrer, ...]:
        """Those that are attached to the image with this digest.

        Raises:
            PromoterError: as the container registry answers.
        """
        return tuple(one for one in self._registry.referrers.of(image) if record.COMMIT in one.annotations)

    def read(self, referrer: Referrer) -> Found:
        """Raises: as `listed`; RefusedError, if it is damaged."""
        media_type, content = self._registry.referrers.read(referrer)
        return Found(referrer, opened(media_type, content, f"{self.name}@{referrer.digest}"))

    def digest(self, reference: str) -> str:
        """Of the image that a tag or a digest names.

        Raises:
            RefusedError: it does not exist.
        """
        return self._image(reference)[0].digest

    def run(self, image: str) -> str:
        """The MLflow run that the image names; "" for none. Raises as `digest`."""
        return self._image(image)[1]

    def attach(self, made: Record) -> None:
        """Raises: as `listed`; RefusedError, if the image does not exist; UsageError, if the key can't be used."""
        image, run = self._image(made.release.digest)
        content_type, content = stored(replace(made, run=run).statement(), self._clients.signing_key)
        signed = _BUNDLE if self._clients.signing_key else {}
        on_layer = {} if self._clients.signing_key else {PREDICATE_TYPE: record.PREDICATE}
        self._registry.referrers.attach(image, content_type, content, {**made.annotations, **signed}, on_layer)

    def _image(self, reference: str) -> tuple[Descriptor, str]:
        """The image's manifest, and the MLflow run that it names."""
        manifest = self._registry.read_manifest(reference)
        if manifest is None:
            raise RefusedError(f"{self.name} has no image {reference}", hint="it was deleted, or is in another repository")
        value = decode(manifest, f"{self.name}@{reference}")
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        media_type = str(value.get("mediaType") or MANIFEST)
        return Descriptor(media_type, digest, len(manifest)), str(section(value, "annotations").get(RUN_ID, ""))


def of(listed: tuple[Referrer, ...], environment: Environment, commit: str) -> tuple[Referrer, ...]:
    """Those of the promotion that this commit made in this environment."""
    wanted = (environment.name, environment.model.name, commit)
    keys = (record.ENVIRONMENT, record.MODEL, record.COMMIT)
    return tuple(one for one in listed if tuple(one.annotations.get(key) for key in keys) == wanted)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records promotions of an environment, as `record.registry` has it. A refusal is reported, and fails nothing."""

    clients: Clients
    environment: Environment
    say: Callable[[str], None] = lambda _: None

    @property
    def wanted(self) -> bool:
        """Images go to a registry, and records with them."""
        return self.clients.config.record.registry and self.clients.config.image.layout is None

    def write(self, made: Record) -> None:
        """Attaches the record, unless its image has one of this promotion with this verdict."""
        if not self.wanted or not made.release.digest:
            return
        try:
            self._attach(Records(self.clients, made.release.repository), made)
        except PromoterError as error:
            self.say(f"{made.release.image} has no record of its promotion to {self.environment.name!r}: {error.message}")

    def _attach(self, records: Records, made: Record) -> None:
        there = of(records.listed(made.release.digest), self.environment, made.committed.commit.sha)
        if made.close.kind not in {one.annotations.get(record.VERDICT) for one in there}:
            records.attach(made)

    # -- what reconcile adds ------------------------------------------------------------------------------------------

    def complete(self, repository: Repository, tip: str) -> bool:
        """Whether nothing happened since all records were seen: by a note in the cache, without the container registry.

        Raises:
            PromoterError: as the Git server answers.
        """
        if not self.wanted:
            return True
        noted = repository.kept(self._note).decode("ascii", "replace")
        paths = (*overlay_paths(self.environment), promotion_path(self.environment))
        return bool(noted) and repository.newer(paths, tip, noted) == []

    def repair(self, repository: Repository, tip: str, live: Release, verdict: Verdict) -> None:
        """Adds the records that the newest releases lack: `live` with this verdict, the others from Git alone."""
        records = Records(self.clients, self.environment.model.repository)
        try:
            found = newest(repository, self.environment)
            messages = {one.commit.sha: one.commit.text for one, _ in found}
            for committed, ended in found:
                if ended.end is End.DEPLOYED and committed.release == live:
                    self._add(records, Record(self.environment, committed, record.of_verdict(verdict, exit_code=0)))
                elif ended.end not in (End.DEPLOYED, End.UNKNOWN):
                    close = record.of_git(ended, messages.get(ended.commit, ""))
                    self._add(records, Record(self.environment, committed, close))
            repository.keep(self._note, tip.encode())
        except PromoterError as error:
            self.say(f"records of {self.environment.name!r} are not attached to their images: {error.message}")

    def _add(self, records: Records, made: Record) -> None:
        """What Git alone knows only where nothing is known of the promotion. An image that is not here any more gets none."""
        if made.release.repository != self.environment.model.repository or not made.release.digest:
            return
        there = of(records.listed(made.release.digest), self.environment, made.committed.commit.sha)
        known = {one.annotations.get(record.VERDICT) for one in there}
        if str(Kind.LIVE) in known or (there and made.close.kind != Kind.LIVE):
            return
        with suppress(RefusedError):
            records.attach(made)

    @property
    def _note(self) -> str:
        """The name of the file in the cache."""
        parts = ("records", self.environment.name, self.environment.model.name, self.environment.application.path)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
