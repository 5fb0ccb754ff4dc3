"""The rules that read the Application and Git: is our commit still there, does it render, is it synced?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from promoter.verdict.evidence import about_operation, out_of_sync
from promoter.verdict.live import application_of, applied, compared, unmet
from promoter.verdict.observation import Deployed
from promoter.verdict.result import Kind, Reason, Verdict

if TYPE_CHECKING:
    from promoter.verdict.observation import Expectation, Observation

_FAILED = frozenset({"Failed", "Error"})
_RETRIES_THAT_PROVE = 2  # the first retry failed as well: waiting for the others helps nobody


def application_gone(seen: Observation, _: Expectation) -> Verdict | None:
    if seen.application is None:
        return Verdict(Kind.APPLICATION_GONE, "the Application does not exist")
    if seen.application.deleting:
        return Verdict(Kind.APPLICATION_GONE, f"the Application {seen.application.name} is being deleted")
    return None


def commit_gone(seen: Observation, expected: Expectation) -> Verdict | None:
    if seen.git.reachable is False:
        return Verdict(Kind.COMMIT_GONE, f"commit {expected.commit[:8]} is no longer on the branch: somebody rewrote it")
    return None


def not_observed(seen: Observation, expected: Expectation) -> Verdict | None:
    if compared(seen, expected):
        return None
    revision = application_of(seen).revision[:8] or "nothing"
    return Verdict(Kind.NOT_OBSERVED, f"Argo CD has not looked at {expected.commit[:8]} yet; it compared {revision}")


def superseded(seen: Observation, _: Expectation) -> Verdict | None:
    if seen.git.deployed is Deployed.ANOTHER:
        return Verdict(Kind.SUPERSEDED, f"at {application_of(seen).revision[:8]} the overlay deploys another release")
    return None


def render_failed(seen: Observation, expected: Expectation) -> Verdict | None:
    """Only what Argo CD could not generate: a repository that it could not reach is a ComparisonError too, and passes."""
    if _no_longer_ours(seen, expected):
        return None
    for condition in application_of(seen).conditions:
        if condition.type == "InvalidSpecError":
            return Verdict(Kind.FAILED, "the Application's spec is invalid", Reason.INVALID_SPEC, (condition.message,))
        if condition.type == "ComparisonError" and "failed to generate manifest" in condition.message:
            if seen.git.renders is True:
                told = "a later commit does not render: waiting until somebody fixes it"
                return Verdict(Kind.SYNCING, told, evidence=(condition.message,))
            return _begun_by(seen, Verdict(Kind.FAILED, "the overlay does not render", Reason.RENDER, (condition.message,)))
    return None


def not_comparable(seen: Observation, expected: Expectation) -> Verdict | None:
    application = application_of(seen)
    if application.sync != "Unknown" or applied(seen, expected):
        return None
    messages = tuple(f"{one.type}: {one.message}" for one in application.conditions)
    return Verdict(Kind.NOT_OBSERVED, "Argo CD can't compare at the moment", evidence=messages)


def sync_failed(seen: Observation, expected: Expectation) -> Verdict | None:
    """The operation for our commit ended so, or waits for another retry after the first one failed as well."""
    application = application_of(seen)
    operation = application.operation
    if operation is None or seen.git.operation_ancestor is not True:
        return None
    if operation.revision != expected.commit and _no_longer_ours(seen, expected):
        return None
    ended = operation.phase in _FAILED and not application.operation_in_progress
    failed_again = operation.phase == "Running" and operation.finished_at and operation.retry_count >= _RETRIES_THAT_PROVE
    if not ended and not failed_again:
        return None
    hook = any(one.hook_type and one.hook_phase in _FAILED for one in operation.resources)
    if ended and not hook and application.sync == "Synced":  # fixed since by a commit that left nothing to sync
        return None
    reason = Reason.HOOK if hook else Reason.SYNC
    return _begun_by(seen, Verdict(Kind.FAILED, "Argo CD can't apply our commit", reason, about_operation(application)))


def waits_for_sync(seen: Observation, _: Expectation) -> Verdict | None:
    """OutOfSync at our revision, nothing under way, and the last operation was not for it: will anybody sync it?"""
    application = application_of(seen)
    if application.sync != "OutOfSync" or application.operation_in_progress:
        return None
    if application.operation is not None and seen.git.operation_ancestor is not False:
        return None
    if seen.sync_windows is not None and seen.sync_windows.blocks_auto_sync:
        told = (f"argocd proj windows list {application.project}",)
        return Verdict(Kind.NEEDS_PERSON, "a sync window keeps our commit from being synced", Reason.SYNC_WINDOW, told)
    command = (f"argocd app sync {application.name}",)
    if not application.auto_sync:
        return Verdict(Kind.NEEDS_PERSON, "auto-sync is off: somebody must sync", Reason.AUTO_SYNC_OFF, command)
    if seen.sync_requested:
        return Verdict(Kind.NEEDS_PERSON, "auto-sync skipped our commit: somebody must sync", Reason.AUTO_SYNC_SKIPPED, command)
    return Verdict(Kind.SYNCING, "OutOfSync at our commit, no operation yet", sync_due=True)


def held(seen: Observation, _: Expectation) -> Verdict | None:
    application = application_of(seen)
    if not application.operation_in_progress or application.operation is None or seen.git.operation_ancestor is not False:
        return None
    revision = application.operation.revision
    summary = f"the operation for {revision[:8]} must end before ours can begin"
    return Verdict(Kind.SYNCING, summary, evidence=about_operation(application), held_by=revision)


def syncing(seen: Observation, expected: Expectation) -> Verdict:
    application = application_of(seen)
    waits = unmet(seen, expected)
    operation = application.operation
    failing = about_operation(application) if operation and (operation.retry_count or operation.phase in _FAILED) else ()
    conditions = (f"{one.type}: {one.message}" for one in application.conditions)
    evidence = (*failing, *conditions, *out_of_sync(application))
    return Verdict(Kind.SYNCING, f"waiting until {'; '.join(waits)}", evidence=evidence)


def _no_longer_ours(seen: Observation, expected: Expectation) -> bool:
    """Our release has reached the cluster, and the failure does not begin with us: it is of somebody's later commit."""
    return seen.git.sole_change is not True and applied(seen, expected)


def _begun_by(seen: Observation, verdict: Verdict) -> Verdict:
    """Restore where the failure begins with our own commit; otherwise reverting our commit would fix nothing."""
    if seen.git.sole_change is True:
        return replace(verdict, restore=True)
    last = application_of(seen).last_synced_revision[:8] or "none"
    told = f"other commits since the last synced revision ({last}) may have begun it: Git stays as it is"
    return replace(verdict, evidence=(*verdict.evidence, told))
