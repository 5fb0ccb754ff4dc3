"""The rules that read the Application and Git: is our commit still there, does it render, is it synced?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promoter.models import HEAD, source_path
from promoter.verdict.evidence import (
    TERMINATING,
    about_difference,
    about_operation,
    about_retries,
    about_workload,
    only_controllers_wrote,
    out_of_sync,
)
from promoter.verdict.live import (
    FAILED,
    application_of,
    applied,
    compared,
    digest_runs,
    failed_elsewhere,
    newer_than_operation,
    operation_applied,
    settled,
    unmet,
)
from promoter.verdict.observation import Deployed
from promoter.verdict.result import Kind, Reason, Verdict

if TYPE_CHECKING:
    from promoter.argocd.state import ApplicationState, Workload
    from promoter.models import Application
    from promoter.verdict.observation import Expectation, Observation

_RETRIES_THAT_PROVE = 2  # the first retry failed as well: waiting for the others helps nobody


def application_gone(seen: Observation, expected: Expectation) -> Verdict | None:
    """Argo CD answers the same when the Application was moved to another project."""
    if seen.application is None:
        where = f" {expected.follows.name} does not exist in project {expected.follows.project}" if expected.follows else ""
        return Verdict(Kind.APPLICATION_GONE, f"the Application{where or ' does not exist'}")
    if seen.application.deleting:
        return Verdict(Kind.APPLICATION_GONE, f"the Application {seen.application.name} is being deleted")
    return None


def moved(seen: Observation, expected: Expectation) -> Verdict | None:
    """The Application reads from another source now: its state no longer depends on our commit."""
    now = elsewhere(application_of(seen), expected.follows) if expected.follows is not None else ()
    if not now:
        return None
    return Verdict(Kind.NEEDS_PERSON, f"the Application follows {'; '.join(now)}", Reason.MOVED)


def elsewhere(application: ApplicationState, wanted: Application) -> tuple[str, ...]:
    """Where the Application reads from, as far as that is not where it should."""
    found = []
    if _plain_url(application.repo_url) != _plain_url(wanted.repo_url):
        found.append(f"repository {application.repo_url}, not {wanted.repo_url}")
    if source_path(application.path) != wanted.path:
        found.append(f"path {application.path!r}, not {wanted.path!r}")
    branch = application.target_revision.removeprefix("refs/heads/") or HEAD
    if branch != wanted.target_revision and not (branch == HEAD and wanted.default_branch):
        found.append(f"revision {application.target_revision or 'HEAD'}, not {wanted.target_revision}")
    return tuple(found)


def _plain_url(url: str) -> str:
    """The repository, whichever way it is written: as Argo CD itself compares them, without scheme, user and .git."""
    split = urlsplit(url if "://" in url else f"ssh://{url.replace(':', '/', 1)}")
    return f"{(split.hostname or '').lower()}{split.path.rstrip('/').removesuffix('.git').lower()}"


def commit_gone(seen: Observation, expected: Expectation) -> Verdict | None:
    if seen.git.reachable is False:
        branch = f"branch {expected.follows.target_revision}" if expected.follows else "the branch"
        summary = f"commit {expected.commit[:8]} is no longer on {branch}: somebody rewrote, renamed or deleted it"
        return Verdict(Kind.COMMIT_GONE, summary)
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
                summary = "a later commit does not render: waiting until somebody fixes it"
                return Verdict(Kind.SYNCING, summary, evidence=(condition.message,))
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
    if failed_elsewhere(seen, expected):
        return None
    ended = operation.phase in FAILED and not application.operation_in_progress
    failed_again = operation.phase == "Running" and operation.finished_at and operation.retry_count >= _RETRIES_THAT_PROVE
    if not ended and not failed_again:
        return None
    hook = any(one.hook_type and one.failed for one in operation.resources)
    if ended and not hook and application.sync == "Synced":  # fixed since by a commit that left nothing to sync
        return None
    evidence = about_operation(application)
    if any(one.ill for one in operation.resources) and not any(one.failed for one in operation.resources):
        summary = "another object does not become healthy, and the sync of our commit waits for it"
        return Verdict(Kind.NEEDS_PERSON, summary, Reason.SYNC, evidence)
    if any(TERMINATING in text for text in evidence):
        return Verdict(Kind.NEEDS_PERSON, "the namespace is being deleted: nothing can be applied", Reason.SYNC, evidence)
    reason = Reason.HOOK if hook else Reason.SYNC
    return _begun_by(seen, Verdict(Kind.FAILED, "Argo CD can't apply our commit", reason, evidence))


def waits_for_sync(seen: Observation, _: Expectation) -> Verdict | None:
    """OutOfSync at our revision, nothing under way, and the last operation was not for it: will anybody sync it?

    An operation that contains our commit was not for it either where a later commit changed our workload's pod template.
    """
    application = application_of(seen)
    if application.sync != "OutOfSync" or application.operation_in_progress:
        return None
    if application.operation is not None and seen.git.operation_ancestor is not False and not _changed_since(seen):
        return None
    if seen.sync_windows is not None and seen.sync_windows.blocks_auto_sync:
        command = (f"argocd proj windows list {application.project}",)
        return Verdict(Kind.NEEDS_PERSON, "a sync window keeps our commit from being synced", Reason.SYNC_WINDOW, command)
    command = (f"argocd app sync {application.name}",)
    if not application.auto_sync:
        return Verdict(Kind.NEEDS_PERSON, "auto-sync is off: somebody must sync", Reason.AUTO_SYNC_OFF, command)
    if seen.sync_requested:
        return Verdict(Kind.NEEDS_PERSON, "auto-sync skipped our commit: somebody must sync", Reason.AUTO_SYNC_SKIPPED, command)
    return Verdict(Kind.SYNCING, "OutOfSync at our commit, no operation yet", sync_due=True)


def _changed_since(seen: Observation) -> bool:
    application, difference = application_of(seen), seen.difference
    operation = application.operation
    later = operation is not None and application.revision_is_commit and operation.revision != application.revision
    return later and difference is not None and bool(difference.template)


def held(seen: Observation, _: Expectation) -> Verdict | None:
    application = application_of(seen)
    if not application.operation_in_progress or application.operation is None or seen.git.operation_ancestor is not False:
        return None
    revision = application.operation.revision
    summary = f"the operation for {revision[:8]} must end before ours can begin"
    evidence = (*about_operation(application), *about_retries(application.operation))
    return Verdict(Kind.SYNCING, summary, evidence=evidence, held_by=revision)


def changed_by_hand(seen: Observation, expected: Expectation) -> Verdict | None:
    """The sync that contains our commit succeeded, and since then somebody changed the workload's pod template, or deleted it.

    Or nobody did, and the sync itself did not write it. With self-heal on Argo CD undoes that by itself.
    """
    application, workload, difference = application_of(seen), seen.workload, seen.difference
    operation = application.operation
    if application.self_heal or application.operation_in_progress or operation is None:
        return None
    if operation.revision != application.revision or not newer_than_operation(seen, expected):
        return None
    if not operation_applied(seen, expected):
        return None
    command = f"argocd app sync {application.name}"
    if workload is None and seen.ref is not None and application.sync_of(seen.ref) == "OutOfSync":
        summary = f"{seen.ref.kind} {seen.ref.name} was deleted after the sync: it does not exist in the cluster"
        return Verdict(Kind.NEEDS_PERSON, summary, Reason.CHANGED_BY_HAND, (command,))
    if workload is None or difference is None or not difference.template:
        return None
    evidence = (*about_difference(workload, difference), command)
    if only_controllers_wrote(workload):
        return _not_applied(seen, workload, evidence)
    summary = f"{workload.ref.kind} {workload.ref.name} was changed by hand: its pod template differs from Git"
    return Verdict(Kind.NEEDS_PERSON, summary, Reason.CHANGED_BY_HAND, evidence)


def _not_applied(seen: Observation, workload: Workload, evidence: tuple[str, ...]) -> Verdict:
    """Argo CD may keep a Rollout's whole list of containers under RespectIgnoreDifferences; the next sync applies it.

    It does so where an entry in the cluster is not in its canonical form, such as `value: ""` (argo-cd issues 16799, 26588).
    """
    summary = f"Argo CD's sync of our commit left the pod template of {workload.ref.kind} {workload.ref.name} as it was"
    if application_of(seen).auto_sync and not seen.sync_requested:
        return Verdict(Kind.SYNCING, summary, Reason.NOT_APPLIED, evidence, sync_due=True)
    return Verdict(Kind.NEEDS_PERSON, summary, Reason.NOT_APPLIED, evidence)


def syncing(seen: Observation, expected: Expectation) -> Verdict:
    application = application_of(seen)
    waits = unmet(seen, expected)
    operation = application.operation
    telling = operation and (application.operation_in_progress or operation.retry_count or operation.phase in FAILED)
    about = about_operation(application) if telling else ()
    if operation and operation.retry_count and application.operation_in_progress:
        about = (*about, *about_retries(operation))
    conditions = (f"{one.type}: {one.message}" for one in application.conditions)
    skipped = seen.workload is not None and settled(seen, expected) and not digest_runs(seen, expected)
    why = (
        ("Argo CD calls it Synced and did not apply it: see manifest-generate-paths and ignoreDifferences",) if skipped else ()
    )
    evidence = (*about, *conditions, *why, *about_workload(seen), *out_of_sync(application))
    return Verdict(Kind.SYNCING, f"waiting until {'; '.join(waits)}", evidence=evidence)


def _no_longer_ours(seen: Observation, expected: Expectation) -> bool:
    """Our release has reached the cluster, and the failure does not begin with us: it is of somebody's later commit."""
    return seen.git.sole_change is not True and applied(seen, expected)


def _begun_by(seen: Observation, verdict: Verdict) -> Verdict:
    """Restore where the failure begins with our own commit; otherwise reverting our commit would fix nothing."""
    if seen.git.sole_change is True:
        return replace(verdict, restore=True)
    last = application_of(seen).last_synced_revision[:8] or "none"
    reason = f"other commits since the last synced revision ({last}) may have begun it: Git stays as it is"
    return replace(verdict, evidence=(*verdict.evidence, reason))
