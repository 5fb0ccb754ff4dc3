"""Whether records of promotions are true: by their signatures, by Git, and by Argo CD."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from promoter.errors import ExitCode, PromoterError, RefusedError, UsageError
from promoter.image.keys import PublicKey
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment
from promoter.promotion import record, standings
from promoter.promotion.observe import Observer
from promoter.promotion.outcome import End
from promoter.promotion.recorder import Found, Records
from promoter.verdict import Kind, judge

if TYPE_CHECKING:
    from promoter.gitops import Repository
    from promoter.image.referrers import Referrer
    from promoter.promotion.clients import Clients
    from promoter.promotion.outcome import Outcome
    from promoter.promotion.record import Stated
    from promoter.promotion.releases import Committed

    Past = list[tuple[Committed, Outcome]]


class Result(StrEnum):
    PASSED = "passed"
    REFUSED = "refused"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, and what was found. `error` is what kept it from being checked."""

    of: str
    result: Result
    detail: str
    exit_code: ExitCode = ExitCode.DONE
    _error: PromoterError | None = field(default=None, repr=False, compare=False)

    @property
    def error(self) -> PromoterError | None:
        return self._error


@dataclass(frozen=True, slots=True)
class Verified:
    """One record: `digest` is that of its manifest; environment, commit and verdict are as its registry lists it."""

    image: str
    digest: str
    environment: str
    commit: str
    verdict: str
    checks: tuple[Check, ...]

    @property
    def refused(self) -> bool:
        return any(check.result is Result.REFUSED for check in self.checks)


def verified(clients: Clients, records: Records, image: str, listed: Iterable[Referrer]) -> Iterator[Verified]:
    """Each of the records that are listed at the image with this digest, checked when it is asked for.

    Raises:
        UsageError: record.key can't be used.
        PromoterError: as the container registry answers.
    """
    key = PublicKey.read(clients.config.record.key, "record.key") if clients.config.record.key else None
    checking = _Checking(clients, records, image, key)
    for one in listed:
        yield Verified(
            image=f"{records.name}@{image}",
            digest=one.digest,
            environment=one.annotations.get(record.ENVIRONMENT, ""),
            commit=one.annotations.get(record.COMMIT, ""),
            verdict=one.annotations.get(record.VERDICT, ""),
            checks=tuple(checking.of(one)),
        )


def _passed(of: str, detail: str) -> Check:
    return Check(of, Result.PASSED, detail)


def _refused(of: str, detail: str) -> Check:
    return Check(of, Result.REFUSED, detail)


def _unknown(of: str, error: PromoterError) -> Check:
    return Check(of, Result.UNKNOWN, error.message, ExitCode(error.exit_code), error)


class _Checking:
    """The records of one image. What is read of Git is read once for each environment."""

    def __init__(self, clients: Clients, records: Records, image: str, key: PublicKey | None) -> None:
        self._clients, self._records, self._image, self._key = clients, records, image, key
        self._pasts: dict[tuple[str, str], tuple[Environment, Past]] = {}

    def of(self, referrer: Referrer) -> Iterator[Check]:
        """Nothing is checked after a refusal: it would be about a record that nobody made."""
        try:
            found = self._records.read(referrer)
            stated = record.parse(found.attested.statement, f"the record {referrer.digest}")
        except RefusedError as error:
            yield _refused("content", error.message)
            return
        yield self._signature(found)
        yield self._subject(referrer, stated)
        try:
            environment, read = self._past(stated)
        except UsageError as error:
            yield _refused("environment", error.message)
            return
        except PromoterError as error:
            yield _unknown("Git", error)
            return
        yield from self._in_git(environment, read, stated)

    def _signature(self, found: Found) -> Check:
        attested = found.attested
        if self._key is None:
            what = f"signed by {attested.hint}, and record.key names no key" if attested.signatures else "not signed"
            return Check("signature", Result.UNKNOWN, f"{what}: what Git does not have is not proven")
        if not attested.signatures:
            return _refused("signature", "not signed")
        if not attested.signed_by(self._key):
            return _refused("signature", f"not made by the key {self._key.hint}; the record names {attested.hint or 'none'}")
        return _passed("signature", f"made by the key {self._key.hint}")

    def _subject(self, referrer: Referrer, stated: Stated) -> Check:
        if stated.digest != self._image or not stated.text("image").endswith(f"@{self._image}"):
            return _refused("image", f"the record is about {stated.digest}")
        listed = {
            record.ENVIRONMENT: stated.text("environment"),
            record.MODEL: stated.text("model", "name"),
            record.COMMIT: stated.text("git", "commit"),
            record.VERDICT: stated.text("verdict", "kind"),
        }
        wrong = [key for key, value in listed.items() if referrer.annotations.get(key) != value]
        if wrong:
            return _refused("image", f"it is listed with another {', '.join(wrong)}")
        run = self._records.run(self._image)
        if (stated.value("model", "run") or "") != run:
            return _refused("image", f"the record names another MLflow run than the image, which is of {run or 'none'}")
        return _passed("image", f"the record is about {self._image}")

    def _past(self, stated: Stated) -> tuple[Environment, Past]:
        """Raises: UsageError, if promoter.yaml does not have the environment."""
        key = stated.text("environment"), stated.text("model", "name")
        if key not in self._pasts:
            environment = self._clients.environment(*key)
            self._pasts[key] = environment, self._read(environment)
        return self._pasts[key]

    def _read(self, environment: Environment) -> Past:
        """Its releases, newest first. Raises as Git and the overlay's files answer."""
        repository = self._clients.repository(environment.application)
        tip = repository.fetch()
        return standings.indexed(repository, environment, read_overlay(tip, environment), tip, standings.ALL, lambda _: None)

    def _in_git(self, environment: Environment, read: Past, stated: Stated) -> Iterator[Check]:
        commit = stated.text("git", "commit")
        repository, branch = self._clients.repository(environment.application), environment.application.target_revision
        found = next((one for one in read if one[0].commit.sha == commit), None)
        if found is None:
            yield _refused("commit", f"{commit[:10]} is not on {branch}, or deployed no release there")
            return
        yield _passed("commit", f"{commit[:10]} is on {branch}")
        committed, ended = found
        wrong = sorted(_differing(record.of_commit(environment, committed), stated.predicate, ""))
        if wrong:
            yield _refused("Git", f"the record has another {', '.join(wrong)}")
            return
        yield _passed("Git", f"version {committed.release.version} in {environment.name!r}, as {commit[:10]} has it")
        kind, restored = stated.text("verdict", "kind"), stated.text("restored", "commit")
        undone = ended.end in (End.ABORTED, End.FAILED)
        if (restored and restored != ended.commit) or (kind == Kind.LIVE and undone):
            yield _refused(
                "outcome", f"the record has {kind}, and Git {ended.end}" + (f" by {ended.commit[:10]}" if undone else "")
            )
            return
        yield _passed("outcome", f"{kind}; in Git: {ended.end}")
        if kind == Kind.LIVE and ended.end is End.DEPLOYED:
            yield self._in_the_cluster(environment, repository, committed)

    def _in_the_cluster(self, environment: Environment, repository: Repository, committed: Committed) -> Check:
        if not self._clients.argocd_server:
            return Check("cluster", Result.UNKNOWN, "Argo CD is not configured here")
        observer = Observer(self._clients.argocd(), repository, environment, committed.expectation(environment))
        try:
            verdict = judge(observer.first_look(time.sleep), observer.expected)
        except PromoterError as error:
            return _unknown("cluster", error)
        passed = verdict.kind is Kind.LIVE
        return (_passed if passed else _refused)("cluster", f"Argo CD: {verdict.kind}: {verdict.summary}")


def _differing(known: Mapping[str, Any], stated: Mapping[str, Any], path: str) -> Iterator[str]:
    """The keys of what is known that are not stated so."""
    for key, value in known.items():
        found = stated.get(key)
        if isinstance(value, dict):
            yield from _differing(value, found if isinstance(found, dict) else {}, f"{path}{key}.")
        elif found != value:
            yield f"{path}{key}"
