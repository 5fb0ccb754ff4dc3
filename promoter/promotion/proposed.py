"""The gates of a pull request: shown as its status while it is open, and asked once more about the release that it brought."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from promoter.argocd.state import ContainerImage, RunningRelease
from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.gitops import trailers_of
from promoter.hosting.forge import GatesStatus, State
from promoter.kustomize.overlay import deployed, read_overlay
from promoter.kustomize.promotion_file import State as Decided
from promoter.model_registry import ModelReference
from promoter.models import Environment, Release, Result, Ruling
from promoter.promotion import decisions, journal, outcome, releases
from promoter.promotion.gates import asking, override, table
from promoter.promotion.gates.facts import Facts
from promoter.promotion.outcome import Act
from promoter.promotion.pull_request import UNGATED, branch_of
from promoter.verdict import Kind, Reason, Verdict

if TYPE_CHECKING:
    from promoter.gitops import Commit, Repository, Snapshot
    from promoter.promotion.clients import Clients
    from promoter.promotion.releases import Committed

UNDER_WAY = frozenset({Kind.NOT_OBSERVED, Kind.SYNCING, Kind.ROLLING, Kind.NEEDS_PERSON})
"""What gates may still keep from going live: what is live is left as it is."""


# -- while it is open -------------------------------------------------------------------------------------------------


def status_of(rulings: Sequence[Ruling], version: str) -> GatesStatus:
    """What the status shows of them."""
    if refusals := table.refusals(rulings):
        return GatesStatus(False, f"version {version} is refused: {'; '.join(refusals)}")
    names = dict.fromkeys(one.name for one in rulings if one.result is Result.OVERRIDDEN)
    return GatesStatus(True, f"version {version} may be deployed" + (f"; overridden: {', '.join(names)}" if names else ""))


def refresh(clients: Clients, environment: Environment) -> None:
    """Brings the status of the environment's open pull request up to date. What is not known lets nothing pass.

    Raises:
        PromoterError: as the forge and the Git server answer.
    """
    forge = clients.forge(environment.application)
    branch, base = branch_of(environment), environment.application.target_revision
    found = next((one for one in forge.pull_requests(branch, base) if one.state is State.OPEN), None)
    if found is None:
        return
    entry = journal.proposed(trailers_of(found.body))
    forge.show_gates(found, _status(clients, environment, entry, found.head) if entry.promotion_id else UNGATED)


def _status(clients: Clients, environment: Environment, entry: journal.Entry, head: str) -> GatesStatus:
    repository = clients.repository(environment.application)
    try:
        facts = _facts(clients, environment, entry, repository.fetch(), repository.at(head))
        return status_of(_asked(facts, entry, asking.ask), entry.version)
    except (AuthError, UnreachableError) as error:
        return GatesStatus(False, f"whether version {entry.version} passes is not known: {error.message}")
    except (RefusedError, UsageError) as error:
        return GatesStatus(False, f"version {entry.version} is refused: {error.message}")


# -- once it is merged ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why gates refuse a release that a merge brought; `before` is what Git deployed until then."""

    words: tuple[str, ...]
    before: Release | None = None


def refusal(clients: Clients, environment: Environment, committed: Committed, say: Callable[[str], None]) -> Refusal | None:
    """What gates have against a release that a merge brought, by what Git had then and MLflow has now.

    None of them is asked about a release that was deployed there before. What can't be asked is
    reported to `say`, and refuses nothing: the release is in Git already.
    """
    if committed.restores:
        return None
    try:
        entry = _entry(clients, environment, committed)
        if entry is None:
            return None
        facts = _at_merge(clients, environment, committed, entry)
        words = _refusals(facts, entry)
    except PromoterError as error:
        say(f"gates can't be asked again about what was merged: {error.message}")
        return None
    return Refusal(words, facts.before) if words else None


def _entry(clients: Clients, environment: Environment, committed: Committed) -> journal.Entry | None:
    """Of a promotion, or of a new release that somebody committed by hand; None for one that undoes another."""
    act = outcome.act(environment, committed)
    if act is Act.PROMOTED:
        return journal.of(committed.commit)
    by_hand = act is Act.BY_HAND and not _was_deployed(clients.repository(environment.application), environment, committed)
    return journal.promotion(environment, committed.release, "") if by_hand else None


def _at_merge(clients: Clients, environment: Environment, committed: Committed, entry: journal.Entry) -> Facts:
    repository = clients.repository(environment.application)
    brought = _brought(repository, committed)
    base = repository.at(repository.parent(brought.sha))
    return replace(_facts(clients, environment, entry, base, repository.at(brought.sha)), at=brought.when)


def _refusals(facts: Facts, entry: journal.Entry) -> tuple[str, ...]:
    try:
        return table.refusals(_asked(facts, entry, asking.ask_again))
    except RefusedError as error:
        return (error.message,)


def _was_deployed(repository: Repository, environment: Environment, committed: Committed) -> bool:
    """Somebody has gone back to it by hand."""
    found = releases.history(repository, environment, committed.commit.sha)
    return any(one.release == committed.release and one.commit != committed.commit for one in found)


def _brought(repository: Repository, committed: Committed) -> Commit:
    """The commit of the branch with which it came: a merge commit, or, after a squash or a rebase, its own."""
    above = repository.newer((), repository.fetch().commit, committed.commit.sha) or ()
    return next((one for one in above if committed.commit.sha in one.parents[1:]), committed.commit)


def verdict_on(found: Verdict, committed: Committed, refusal: Refusal) -> Verdict | None:
    """The verdict on a release that gates refuse, where `found` is that on what the cluster does with it.

    None if it is live, and so left as it is, or has failed anyhow.
    """
    if found.kind not in UNDER_WAY:
        return None
    stable, before = found.stable, refusal.before
    if stable is None and before is not None:  # the cluster has not begun with it
        stable = RunningRelease(ContainerImage(before.repository, before.tag, before.digest), before.version or None)
    summary = f"version {committed.release.version} was merged, and gates refuse it"
    verdict = Verdict(Kind.FAILED, summary, Reason.REFUSED, refusal.words, stable=stable)
    return replace(verdict, restore=stable is not None, workload=found.workload, pods=found.pods)


# -- the facts --------------------------------------------------------------------------------------------------------


def _facts(clients: Clients, environment: Environment, entry: journal.Entry, base: Snapshot, proposed: Snapshot) -> Facts:
    """Of the release of `entry`, which is to replace what `base` deploys; `proposed` is the commit with it.

    Raises:
        UsageError: MLflow has no such version any more.
        AuthError, UnreachableError: as MLflow answers.
    """
    repository, release = clients.repository(environment.application), entry.release(environment.model)
    version = clients.model_registry.resolve(ModelReference(release.model, version=release.version))
    files = read_overlay(base, environment)
    known = decisions.at(repository, base.commit, files, environment)
    after = decisions.at(repository, proposed.commit, read_overlay(proposed, environment), environment)
    stands, lifted = known.of_release(release), after.of_release(release)
    return Facts(
        clients,
        version,
        base,
        known,
        deployed(base, environment),
        partial(clients.publisher(environment.model).expect, version, release.tag),
        force=bool(stands and stands.blocks and lifted and lifted.state is Decided.ALLOWED),
        overrides=override.recorded_in(entry.overridden),
    )


def _asked(facts: Facts, entry: journal.Entry, ask: Callable[[Facts], tuple[Ruling, ...]]) -> tuple[Ruling, ...]:
    """Raises: RefusedError, if MLflow has another version under this number by now, or an override is not allowed."""
    version = facts.version
    if not decisions.is_of(entry.release(facts.environment.model), version.version, version.created.replace(microsecond=0)):
        raise RefusedError(
            f"{version.reference} is another one in MLflow by now, created {version.created:%Y-%m-%d %H:%M:%S} UTC"
        )
    return ask(facts)
