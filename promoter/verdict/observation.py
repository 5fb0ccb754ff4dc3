"""Everything observed of a promotion at one instant: the Application, the workload, its pods and analyses, and Git."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from promoter.argocd.state import (
    AnalysisRunState,
    ApplicationState,
    Difference,
    PodState,
    ResourceRef,
    RunningRelease,
    SyncWindows,
    Workload,
)
from promoter.models import Application, Release

# -- Git --------------------------------------------------------------------------------------------------------------


class Deployed(StrEnum):
    """What the overlay at a revision deploys, compared with our release."""

    OURS = "ours"
    ANOTHER = "another release"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GitFacts:
    """Our commit in Git's history. None means unknown (the revision is not in the clone yet: fetch).

    `ancestor`, `deployed`: at ApplicationState.revision; if that is a branch name (rendering failed), at the branch's tip.
    `operation_ancestor`: our commit is the revision of OperationState, or an ancestor of it.
    `reachable`: our commit is still reachable from the branch's tip.
    `sole_change`: from ApplicationState.last_synced_revision to the failing revision (the operation's; the branch's tip
    where rendering failed) our commit alone changed what the Application renders from: the failure begins with it.
    `renders`: where rendering failed, Argo CD can render our own commit: a later one is what fails.
    """

    ancestor: bool | None = None
    deployed: Deployed = Deployed.UNKNOWN
    operation_ancestor: bool | None = None
    reachable: bool | None = None
    sole_change: bool | None = None
    renders: bool | None = None


# -- together ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expectation:
    """What should come true: `release` from `commit` (full SHA). `image_name` is the `images:` entry's name in the overlay.

    `follows` is the source that the Application should read; None if it is not compared.
    """

    commit: str
    release: Release
    image_name: str = ""
    follows: Application | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything seen at one instant. Read the Application first and the workload after it: then a workload that
    does not carry our release was not merely read too early. `application` None: Argo CD answered that it does not exist.
    `sync_requested`: promoter asked for the sync that auto-sync skipped, or may not ask. `difference` is how
    the workload differs from Git, if Argo CD calls it OutOfSync and was asked. `ref` names a workload that does
    not exist. `compared_since`: Argo CD began a comparison after the first look, and has ended it. `by_version`: the workload
    has an image of its own (an explainer), and our model version is what it carries of the release. `others` are the same
    instant for the other workloads of the release: a second Rollout, a batch Deployment.
    """

    application: ApplicationState | None
    git: GitFacts
    workload: Workload | None = None
    pods: tuple[PodState, ...] = ()
    analysis_runs: tuple[AnalysisRunState, ...] = ()
    stable: RunningRelease | None = None
    sync_windows: SyncWindows | None = None
    sync_requested: bool = False
    compared_since: bool = False
    difference: Difference | None = None
    ref: ResourceRef | None = None
    by_version: bool = False
    others: tuple[Observation, ...] = ()
