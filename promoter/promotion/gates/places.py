"""What became of a version in other environments of its model, read from Git and Argo CD."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from promoter.errors import ConfigError, PromoterError, RefusedError, UnreachableError
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment, ModelVersion
from promoter.promotion import decisions, record, releases
from promoter.promotion.gates import decided
from promoter.promotion.gates.order import Before, Standing
from promoter.promotion.observe import Observer
from promoter.promotion.recorder import Records
from promoter.promotion.verification import Result as Checked
from promoter.promotion.verification import verified
from promoter.verdict import Kind, judge

if TYPE_CHECKING:
    from promoter.argocd.state import ApplicationState, Workload
    from promoter.gitops import Snapshot
    from promoter.promotion.clients import Clients


def decided_before(
    clients: Clients, before: Iterable[Environment], environment: Environment, snapshot: Snapshot, version: ModelVersion
) -> Iterator[Before]:
    """What stands against the version in each of them; `snapshot` is the tip of this environment's branch.

    Raises:
        UnreachableError: a Git server does not answer.
    """
    for one in before:
        try:
            other = clients.with_source(one)
            tip = _tip(clients, other, environment, snapshot)
            overlay = read_overlay(tip, other)
        except UnreachableError:
            raise
        except PromoterError as error:
            yield Before(one.name, unknown=error.message)
            continue
        try:
            known = decisions.at(clients.repository(other.application), tip.commit, overlay, other)
            decided.not_undone(known, version, force=False, unattended=False)
            yield Before(one.name)
        except ConfigError as error:
            yield Before(one.name, against=f"what was decided there can't be read: {error.message}")
        except RefusedError as error:
            yield Before(one.name, against=error.message)


def _tip(clients: Clients, other: Environment, environment: Environment, snapshot: Snapshot) -> Snapshot:
    """Of another environment: on the same branch it is the same commit."""
    theirs, application = other.application, environment.application
    same = (theirs.repo_url, theirs.target_revision) == (application.repo_url, application.target_revision)
    return snapshot if same else clients.repository(theirs).fetch()


def standing(clients: Clients, environment: Environment, digest: str) -> Standing:
    """Whether the environment's release is live; Argo CD is asked only if the release is this image.

    Raises:
        AuthError, UnreachableError, ArgoCDError: as Argo CD and the Git server answer.
    """
    repository = clients.repository(environment.application)
    try:
        committed = releases.current(repository, environment)
    except RefusedError:
        return Standing(None)
    release = committed.release
    if release.digest != digest:
        return Standing(release)
    if not clients.argocd_server:
        return Standing(release, "Argo CD is not configured (ARGOCD_SERVER)")
    observer = Observer(clients.argocd(), repository, environment, committed.expectation(environment))
    seen = observer.first_look(time.sleep)
    verdict = judge(seen, observer.expected)
    if verdict.kind is not Kind.LIVE:
        return Standing(release, f"{verdict.kind}: {verdict.summary}")
    workloads = [one.workload for one in (seen, *seen.others)]
    since = live_since(committed.commit.when, seen.application, [one for one in workloads if one])
    return Standing(release, "Argo CD does not report since when", since)


def records_of(clients: Clients, environment: Environment, earlier: str, digest: str) -> Iterator[str]:
    """What is wrong with each record that the image with this digest was live in the earlier environment, "" for nothing.

    Raises:
        AuthError, UnreachableError, ArgoCDError: none of them is true, and what one of them needs can't be read.
    """
    model = environment.model
    records = Records(clients, model.repository, decides=True)
    wanted = {record.ENVIRONMENT: earlier, record.MODEL: model.name, record.VERDICT: str(Kind.LIVE)}
    listed = [one for one in records.listed(digest) if wanted.items() <= one.annotations.items()]
    missing = None
    for one in verified(clients, records, digest, listed):
        refused = next((check for check in one.checks if check.result is Checked.REFUSED), None)
        unread = next((check.error for check in one.checks if check.error), None)
        if refused or not unread:
            yield f"{refused.of}: {refused.detail}" if refused else ""
        missing = missing or unread
    if missing:
        raise missing


_GOOD = frozenset({"Healthy", "Completed", "Available", "Progressing"})


def live_since(committed: datetime, application: ApplicationState | None, workloads: Sequence[Workload]) -> datetime | None:
    """The last time at which it was not yet live: the commit, the sync, and each change of health. None: no health has a time.

    A Rollout is Healthy and Completed, a Deployment Available and Progressing (its newest ReplicaSet is available).
    """
    health = [one.since for workload in workloads for one in workload.conditions if one.type in _GOOD and one.status == "True"]
    changes = [one for one in (*health, application.health_since if application else None) if one]
    if not changes:
        return None
    synced = application.operation.finished_at if application and application.operation else None
    return max(committed, *changes, *([synced] if synced else []))
