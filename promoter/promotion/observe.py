"""One look at a promotion: Argo CD's Application, the live workloads, their pods and analyses, and Git."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from promoter.argocd.answers import pod_template
from promoter.argocd.client import REFRESH_SECONDS, ArgoCD
from promoter.argocd.errors import NotFoundError
from promoter.argocd.state import (
    AnalysisRunState,
    ApplicationState,
    Difference,
    PodState,
    PodTemplate,
    ResourceRef,
    ResourceTree,
    RunningRelease,
    SyncWindows,
    Workload,
)
from promoter.gitops import Repository
from promoter.models import Environment, Release
from promoter.promotion.lineage import Lineage
from promoter.verdict.live import applied, compared
from promoter.verdict.observation import Expectation, GitFacts, Observation

_COMPARISONS, _BETWEEN_COMPARISONS = 3, 2.0  # Argo CD reports whole seconds
_ENDED = frozenset({"Successful", "Failed", "Error", "Inconclusive"})


@dataclass(frozen=True, slots=True)
class _Found:
    """A workload of the Application, as it is in the cluster; `live` None: it does not exist there."""

    ref: ResourceRef
    live: Workload | None
    by_version: bool = False

    @property
    def kind_order(self) -> bool:
        return self.ref.kind != "Rollout"

    def has_image(self, release: Release) -> bool:
        """It runs an image of the release's repository, or the release was applied to it last."""
        if self.live is None:
            return False
        applied = self.live.applied
        return self.live.template.runs_repository(release) or (applied is not None and applied.runs_digest(release))

    def carries_version_only(self, release: Release) -> bool:
        if self.live is None or self.has_image(release):
            return False
        return any(one.names_version(release) for one in (self.live.template, self.live.applied) if one)


@dataclass(slots=True)
class Observer:
    """Looks at one promotion, again and again; keeps what can't change between looks.

    `patience`: seconds that Argo CD gets for a refresh.
    """

    argocd: ArgoCD
    repository: Repository
    environment: Environment
    expected: Expectation
    patience: float = REFRESH_SECONDS
    _listed: object = None
    _workloads: tuple[ResourceRef, ...] = ()
    _comparisons: set[datetime] = field(default_factory=set)
    _windows: SyncWindows | None = None
    _replica_sets: dict[ResourceRef, tuple[RunningRelease | None, bool]] = field(default_factory=dict)
    _differences: dict[ResourceRef, tuple[object, Difference | None]] = field(default_factory=dict)
    _ended_runs: dict[ResourceRef, AnalysisRunState] = field(default_factory=dict)
    _lineage: Lineage = field(init=False)

    def __post_init__(self) -> None:
        self._lineage = Lineage(self.argocd, self.repository, self.environment, self.expected)

    def look(self, *, refresh: bool = False, sync_requested: bool = False) -> Observation:
        """What is so now. With `refresh` Argo CD and the Git cache look at the branch's tip first; it costs more.

        Raises:
            AuthError, UnreachableError, ArgoCDError: as Argo CD and the Git server answer.
        """
        application = self._application(refresh=refresh)
        if refresh or not self._lineage.tip:
            self._lineage.look_at_tip()
        if application is None:
            return Observation(None, GitFacts(reachable=self._lineage.reachable))
        since = self._compared_since(application)
        blank = Observation(application, self._lineage.facts(application), sync_requested=sync_requested, compared_since=since)
        found = self._live_workloads(application, refresh=refresh)
        first, *others = [replace(blank, workload=one.live, ref=one.ref, by_version=one.by_version) for one in found] or [blank]
        if not compared(first, self.expected):
            return replace(first, others=tuple(others))  # nothing below the workload would say anything about us
        exist = any(one.live for one in found)
        tree = self.argocd.resource_tree(self.environment.application) if exist else ResourceTree()
        windows = self._sync_windows(application, refresh=refresh)
        first, *others = (replace(self._with_tree(seen, tree), sync_windows=windows) for seen in (first, *others))
        if not others:
            return replace(first, pods=tree.pods)
        return replace(first, others=tuple(others))

    def first_look(self, pause: Callable[[float], None]) -> Observation:
        """For one verdict: as `look` with a refresh, again while only another comparison can show whether it is about us."""
        seen = self.look(refresh=True)
        for _ in range(_COMPARISONS):
            if seen.application is None or seen.application.revision_is_commit or seen.compared_since:
                break
            pause(_BETWEEN_COMPARISONS)
            seen = self.look(refresh=True)
        return seen

    def _compared_since(self, application: ApplicationState) -> bool:
        """The first comparison seen ended before, the second may have begun before: the third began after the first look.

        By Argo CD's own clock alone: a runner's is another one.
        """
        if application.reconciled_at is not None:
            self._comparisons.add(application.reconciled_at)
        return len(self._comparisons) >= _COMPARISONS

    def _with_tree(self, seen: Observation, tree: ResourceTree) -> Observation:
        """With the pods, analyses and stable release of its workload."""
        pods = tuple(pod for pod in tree.pods if seen.workload is None or _is_of(pod, seen.workload.ref.name))
        runs, stable = self._analysis_runs(tree, seen.workload), self._stable(tree, seen)
        return replace(seen, pods=pods, analysis_runs=runs, stable=stable, difference=self._difference(seen))

    # -- Argo CD ------------------------------------------------------------------------------------------------------

    def _application(self, *, refresh: bool) -> ApplicationState | None:
        try:
            seconds = min(self.patience, REFRESH_SECONDS)
            return self.argocd.application(self.environment.application, refresh=refresh, refresh_seconds=seconds)
        except NotFoundError:
            return None

    def _live_workloads(self, application: ApplicationState, *, refresh: bool) -> tuple[_Found, ...]:
        """The Rollouts and Deployments of the release, Rollouts first, also those that do not exist.

        Between two refreshes only these are read again, unless the Application's workloads or its operation change.
        """
        if refresh or (application.workloads, application.operation) != self._listed:
            self._listed, self._workloads = (application.workloads, application.operation), self._candidates(application)
        read = [_Found(ref, self._read_workload(ref)) for ref in self._workloads]
        chosen = self._named(read) if self.environment.workloads else self._of_release(read, application)
        if all(one.live for one in read):
            self._workloads = tuple(one.ref for one in chosen if one.live)
        return tuple(sorted(chosen, key=lambda one: one.kind_order))

    def _candidates(self, application: ApplicationState) -> tuple[ResourceRef, ...]:
        names = self.environment.workloads
        return tuple(ref for ref in application.workloads if not names or ref.name in names)

    def _named(self, read: list[_Found]) -> list[_Found]:
        """Those that promoter.yaml names."""
        names, release = self.environment.workloads, self.expected.release
        listed = {one.ref.name for one in read}
        absent = [_Found(ResourceRef("", "workload", "", name), None) for name in names if name not in listed]
        ours = any(one.has_image(release) for one in read)
        return [*(replace(one, by_version=ours and one.carries_version_only(release)) for one in read), *absent]

    def _of_release(self, read: list[_Found], application: ApplicationState) -> list[_Found]:
        """Those that run an image of the release's repository, or would if nobody had changed them, and those that carry its
        model version with an image of their own. Without any, a single one: one with a MODEL_VERSION, best a Rollout.
        """
        release = self.expected.release
        ours = [one for one in read if one.has_image(release) or _applied_image(application, one.ref, release)]
        if ours:
            others = [one for one in read if one not in ours and one.carries_version_only(release)]
            return ours + [replace(one, by_version=True) for one in others]
        exist = [one for one in read if one.live] or read
        return sorted(exist, key=lambda one: (one.live is None or one.live.template.model_version is None, one.kind_order))[:1]

    def _read_workload(self, ref: ResourceRef) -> Workload | None:
        try:
            return self.argocd.workload(self.environment.application, ref)
        except NotFoundError:
            return None

    def _analysis_runs(self, tree: ResourceTree, workload: Workload | None) -> tuple[AnalysisRunState, ...]:
        """Those of the present pod template only: their names begin with it (`<rollout>-<hash>-<revision>`)."""
        if workload is None or workload.rollout is None:
            return ()
        prefix = f"{workload.ref.name}-{workload.rollout.current_hash}-"
        runs = (self._analysis_run(ref) for ref in tree.analysis_runs if ref.name.startswith(prefix))
        return tuple(run for run in runs if run is not None)

    def _analysis_run(self, ref: ResourceRef) -> AnalysisRunState | None:
        if ref in self._ended_runs:
            return self._ended_runs[ref]
        try:
            run = self.argocd.analysis_run(self.environment.application, ref)
        except NotFoundError:
            return None
        if run.phase in _ENDED:
            self._ended_runs[ref] = run
        return run

    def _difference(self, seen: Observation) -> Difference | None:
        """How the workload differs from Git: asked for once a comparison, and only where Argo CD calls it OutOfSync."""
        application, workload = seen.application, seen.workload
        if application is None or workload is None or application.sync != "OutOfSync" or application.operation_requested:
            return None
        if seen.git.operation_ancestor is not True or application.sync_of(workload.ref) != "OutOfSync":
            return None
        at = workload.generation, application.reconciled_at
        if self._differences.get(workload.ref, (None, None))[0] != at:
            self._differences[workload.ref] = at, self.argocd.difference(self.environment.application, workload.ref)
        return self._differences[workload.ref][1]

    def _sync_windows(self, application: ApplicationState, *, refresh: bool) -> SyncWindows | None:
        """Asked for only where something waits for a sync, and not at every look."""
        if application.sync != "OutOfSync" or application.operation_in_progress:
            self._windows = None
        elif refresh or self._windows is None:
            self._windows = self.argocd.sync_windows(self.environment.application)
        return self._windows

    def _stable(self, tree: ResourceTree, seen: Observation) -> RunningRelease | None:
        """What an abort returns to: the stable ReplicaSet's release; of a Deployment that of old pods that are still ready."""
        workload = seen.workload
        if workload is None or not workload.observed:
            return None
        ours = applied(seen, self.expected)
        if workload.rollout is None:
            running = self._still_ready(tree, seen, workload) if ours else self._release(workload.template)
        elif workload.rollout.stable_hash == "" or (ours and workload.rollout.stable_hash == workload.rollout.current_hash):
            running = None
        else:
            running = next((self._runs(ref)[0] for ref in tree.replica_sets if ref.name == workload.stable_replica_set), None)
        return replace(running, by_version=seen.by_version) if running else None

    def _still_ready(self, tree: ResourceTree, seen: Observation, workload: Workload) -> RunningRelease | None:
        if workload.updated >= workload.total:
            return None
        for ref in tree.replica_sets:
            if ref.name.rpartition("-")[0] == workload.ref.name:
                running, ready = self._runs(ref)
                if ready and running is not None and not self._is_ours(running, seen):
                    return running
        return None

    def _is_ours(self, running: RunningRelease, seen: Observation) -> bool:
        release = self.expected.release
        return running.model_version == release.version if seen.by_version else running.image.digest == release.digest

    def _release(self, template: PodTemplate) -> RunningRelease | None:
        return template.release(self.expected.release.repository)

    def _runs(self, ref: ResourceRef) -> tuple[RunningRelease | None, bool]:
        """The release in a ReplicaSet's pod template, which never changes, and whether a pod of it is ready."""
        if ref not in self._replica_sets:
            manifest = self.argocd.resource(self.environment.application, ref)
            running = self._release(pod_template(manifest["spec"]["template"]))
            self._replica_sets[ref] = running, bool(manifest.get("status", {}).get("readyReplicas"))
        return self._replica_sets[ref]


def _applied_image(application: ApplicationState, ref: ResourceRef, release: Release) -> bool:
    """The last operation applied an image of the release's repository to this object."""
    results = application.operation.resources if application.operation else ()
    images = (image for one in results if (one.kind, one.name) == (ref.kind, ref.name) for image in one.images)
    return any(image.repository == release.repository for image in images)


def _is_of(pod: PodState, workload: str) -> bool:
    """By its name, WORKLOAD-HASH-SUFFIX, of which a long one is cut: another workload's name may begin with this one."""
    if not pod.hash:
        return pod.name.startswith(f"{workload}-")
    return f"{workload}-{pod.hash}".startswith(pod.name.rpartition("-")[0])
