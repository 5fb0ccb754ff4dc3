"""What a verdict can be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promoter.argocd.state import AnalysisRunState, PodState, RunningRelease


class Kind(StrEnum):
    """Where a promotion stands."""

    NOT_OBSERVED = "not observed yet"
    SYNCING = "syncing"
    ROLLING = "rolling"
    LIVE = "live"
    ABORTED = "aborted"
    FAILED = "failed"
    MASKED = "masked"
    NEEDS_PERSON = "needs a person"
    SUPERSEDED = "superseded"
    COMMIT_GONE = "commit gone"
    APPLICATION_GONE = "application gone"


class Reason(StrEnum):
    """Why it aborted, failed or needs a person."""

    ANALYSIS_FAILED = "analysis failed"
    ANALYSIS_ERROR = "analysis could not measure"
    ABORTED_BY_HAND = "aborted by hand"
    PROGRESS_DEADLINE = "progress deadline"
    OTHER = "other"
    RENDER = "render"
    SYNC = "sync"
    HOOK = "hook"
    INVALID_SPEC = "invalid spec"
    IMAGE = "image"
    INCONCLUSIVE = "inconclusive analysis"
    INDEFINITE_PAUSE = "indefinite pause"
    PAUSED_BY_HAND = "paused by hand"
    SYNC_WINDOW = "sync window"
    AUTO_SYNC_OFF = "auto-sync off"
    AUTO_SYNC_SKIPPED = "auto-sync skipped"
    NOT_APPLIED = "not applied"
    CHANGED_BY_HAND = "changed by hand"
    MOVED = "follows something else"
    SCALED_TO_ZERO = "scaled to zero"
    UNWATCHABLE = "can't be watched"
    REFUSED = "refused by a gate"


_ON_THE_WAY = frozenset({Kind.NOT_OBSERVED, Kind.SYNCING, Kind.ROLLING})
_BLAMES_THE_MODEL = frozenset({Reason.ANALYSIS_FAILED, Reason.ABORTED_BY_HAND})


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement: `summary` is one line, `evidence` what a person acts on.

    `restore`: Git should get back the release of the stable pods. `sync_due`: auto-sync skipped our revision; ask for a
    sync once, after a grace. `held_by`: the revision of somebody else's operation that keeps ours from being synced.
    `step` of `steps` and `weight` (percent, the target) show a canary's progress. `override` is the Application's
    image override that masks our release. `workload` (kind and name) is the one that step, analysis and pods are of. `since`
    (UTC) is when a watch saw it get this far. `analyses` are all AnalysisRuns of this attempt that are seen, of every workload;
    `revision` is the commit that Argo CD compared the cluster with. `to_analyse` are the commands that run the analyses of the
    strategy where none of this attempt is seen.
    """

    kind: Kind
    summary: str
    reason: Reason | None = None
    evidence: tuple[str, ...] = ()
    restore: bool = False
    sync_due: bool = False
    held_by: str = ""
    step: int | None = None
    steps: int | None = None
    weight: int | None = None
    analysis: AnalysisRunState | None = None
    override: str = ""
    stable: RunningRelease | None = None
    pods: tuple[PodState, ...] = ()
    workload: str = ""
    since: datetime | None = None
    analyses: tuple[AnalysisRunState, ...] = ()
    revision: str = ""
    to_analyse: tuple[str, ...] = ()

    @property
    def terminal(self) -> bool:
        """It changes no more unless somebody does something."""
        return self.kind not in _ON_THE_WAY

    @property
    def quarantine(self) -> bool:
        """It speaks against the model version itself: an analysis failed, or a person aborted."""
        return self.kind is Kind.ABORTED and self.reason in _BLAMES_THE_MODEL
