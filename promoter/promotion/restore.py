"""restore: commits the release that the stable pods run, after a release was aborted or can't be applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from promoter.errors import PromoterError, RefusedError, SupersededError
from promoter.gitops import Proposal
from promoter.kustomize import overlay
from promoter.kustomize import release as kustomize
from promoter.models import Environment, OnFailure, Release
from promoter.promotion import decisions, journal, pull_request_body, releases
from promoter.promotion.decisions import Decisions
from promoter.promotion.message import TICKET, facts
from promoter.promotion.pod_logs import last_words
from promoter.promotion.pull_request import PullRequestOpener
from promoter.promotion.releases import Committed

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.gitops import Repository, Snapshot
    from promoter.hosting.forge import Forge
    from promoter.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Restoration:
    """What is to be put back and why. Evidence and logs were read before anything changed, for a restore makes them disappear.

    `logs` are only for the person who asked: they may contain data that must not get into Git.
    """

    environment: Environment
    bad: Committed
    stable: Committed
    verdict: Verdict
    logs: tuple[str, ...]


def plan_restore(
    argocd: ArgoCD, repository: Repository, environment: Environment, bad: Committed, verdict: Verdict
) -> Restoration:
    """The restoration that this verdict calls for.

    Raises:
        RefusedError: there is none, and why.
        AuthError, UnreachableError: as the Git server answers.
    """
    if environment.on_failure is OnFailure.HOLD:
        raise RefusedError(f"environment {environment.name!r} has on-failure: {environment.on_failure}; Git stays as it is")
    if bad.restores:
        raise RefusedError(f"{bad.commit.sha[:10]} is a restore itself, and a restore is never restored")
    if verdict.stable is None:
        raise RefusedError("no earlier stable release to restore")
    stable = releases.of_running(repository, environment, verdict.stable, bad.commit.sha)
    if stable is None:
        raise RefusedError(f"no commit of this overlay deployed {verdict.stable.image}, which the stable pods run")
    return Restoration(environment, bad, stable, verdict, last_words(argocd, environment.application, verdict.pods))


def restore(repository: Repository, argocd: ArgoCD, restoration: Restoration) -> Committed:
    """Commits the stable release on top of the tip, only while the bad one is still there; returns the commit with it.

    Safe to repeat, also while others do the same: there will be one commit.

    Raises:
        SupersededError: the overlay deploys a third release: somebody else decided meanwhile.
        RefusedError, AuthError, UnreachableError: as the Git server answers.
    """
    end_operation(argocd, repository, restoration.environment, restoration.bad.release)
    pushed = repository.apply(_edit(repository, restoration))
    return releases.current(repository, restoration.environment, pushed.tip)


def proposing_restore(repository: Repository, forge: Forge, restoration: Restoration) -> PullRequestOpener:
    """What opens the urgent pull request with the commit of `restore`, each time it is run; not again if it was closed."""
    environment, bad, stable = restoration.environment, restoration.bad.release, restoration.stable.release
    evidence = (restoration.verdict.summary, *restoration.verdict.evidence)

    def describe(diff: str, room: int) -> str:
        return pull_request_body.restoration(environment, bad, stable, evidence, diff, room)

    edit = _edit(repository, restoration)
    return PullRequestOpener(repository, forge, environment, edit, describe, restoring=True, reopen=False)


def restored_by(repository: Repository, environment: Environment, bad: Committed) -> tuple[Committed, str] | None:
    """What somebody else restored after this release, and why, if that is what the overlay deploys now."""
    tip = repository.fetch()
    now = releases.current(repository, environment, tip.commit)
    known = decisions.at(repository, tip.commit, overlay.read_overlay(tip, environment), environment)
    decision = known.restored_after(bad.release, now.release)
    return (now, decision.reason) if decision and repository.is_ancestor(bad.commit.sha, now.commit.sha) else None


def end_operation(argocd: ArgoCD, repository: Repository, environment: Environment, bad: Release) -> None:
    """Ends a running operation of the bad release: while it retries, Argo CD does not look at a newer commit."""
    try:
        operation = argocd.application(environment.application).operation
        if operation is not None and operation.phase == "Running" and deploys(repository, environment, bad)(operation.revision):
            argocd.terminate(environment.application)
    except PromoterError:
        return  # a token that may only read: the operation ends by itself after its last retry


def deploys(repository: Repository, environment: Environment, release: Release) -> Callable[[str], bool]:
    """Whether the overlay deploys this release at a revision."""

    def at(revision: str) -> bool:
        try:
            return overlay.deployed(repository.at(revision), environment) == release
        except PromoterError:
            return False

    return at


def restore_edit(
    repository: Repository,
    environment: Environment,
    bad: Release,
    stable: Release,
    decide: Callable[[Decisions], Decisions],
    propose: Callable[[Mapping[str, bytes]], Proposal],
) -> Callable[[Snapshot], Proposal | None]:
    """The edit that writes `stable` where `bad` is, with what was decided about `bad`; nothing when it is there already.

    The edit raises SupersededError where a third release is, and what `decide` raises.
    """

    def edit(snapshot: Snapshot) -> Proposal | None:
        files = overlay.read_overlay(snapshot, environment)
        parsed = kustomize.parse_overlay(files)
        deployed = parsed.deployed(environment.model)
        if deployed == stable:
            return None
        if deployed != bad:
            raise SupersededError(
                f"environment {environment.name!r} deploys another release at {snapshot.commit[:10]}: nothing to restore",
                hint=f"see what became of it: promoter watch {environment.name}",
            )
        known = decisions.at(repository, snapshot.commit, files, environment)
        decided = known.files(decide(known))
        proposal = propose({**parsed.write(environment.model, stable).files, **decided})
        return replace(proposal, dated=frozenset(decided))

    return edit


def _edit(repository: Repository, restoration: Restoration) -> Callable[[Snapshot], Proposal | None]:
    bad, stable, verdict = restoration.bad, restoration.stable.release, restoration.verdict
    now = datetime.now(UTC)

    def decide(known: Decisions) -> Decisions:
        known.require_not_blocked(stable)  # somebody rejected it while it was live: a person has to choose
        return known.failed(bad.release, stable, _reason(verdict), at=now, commit=bad.commit.sha, quarantine=verdict.quarantine)

    propose = partial(_proposal, restoration)
    return restore_edit(repository, restoration.environment, bad.release, stable, decide, propose)


def _reason(verdict: Verdict) -> str:
    return str(verdict.reason or verdict.kind)


def _proposal(restoration: Restoration, files: Mapping[str, bytes]) -> Proposal:
    bad, stable, verdict = restoration.bad, restoration.stable, restoration.verdict
    entry = journal.restore(
        restoration.environment,
        stable.release,
        stable.commit.sha,
        bad.release,
        _reason(verdict),
        quarantine=verdict.quarantine,
        promotion_id=journal.of(bad.commit).promotion_id if restoration.environment.group else "",
    )
    known = facts(restoration.environment, stable.release, bad.release)
    known["ticket"] = bad.commit.trailers.get(TICKET, "")  # nobody is there who could name one
    return Proposal(files, _subject(restoration), _body(restoration), entry.trailers(), facts=known)


def _subject(restoration: Restoration) -> str:
    bad, stable = restoration.bad.release, restoration.stable.release
    why = _reason(restoration.verdict)
    return f"Restore {stable.model} version {stable.version} in {restoration.environment.name}: version {bad.version}, {why}"


def _body(restoration: Restoration) -> str:
    bad, stable = restoration.bad, restoration.stable
    undone = f"The stable pods run {stable.release.image} ({stable.commit.sha[:10]}); this undoes {bad.commit.sha[:10]}."
    return "\n".join((restoration.verdict.summary, *restoration.verdict.evidence, "", undone))
