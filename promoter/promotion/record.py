"""The record of a promotion: one in-toto statement about its image, made from what was seen when it ended. Pure.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. docs/record.schema.json describes the predicate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from promoter import __version__
from promoter.errors import RefusedError, without_credentials
from promoter.image.oci import canonical, decode, objects, section
from promoter.models import Environment, Release, Ruling, Step
from promoter.output import plain
from promoter.promotion import journal, outcome
from promoter.promotion.outcome import End, Outcome

if TYPE_CHECKING:
    from promoter.argocd.state import AnalysisRunState
    from promoter.promotion.ending import Ending, Reviewed
    from promoter.promotion.releases import Committed
    from promoter.verdict import Verdict

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model-promoter.github.io/promotion/v1"
"""The type of the predicate; another form of it gets another number."""

NOT_WATCHED = "not watched"
"""The verdict where nobody saw the end: a signal or an error ended the watch, or what is known comes from Git alone."""

_OURS = "io.github.model-promoter."
ENVIRONMENT, MODEL, COMMIT, VERDICT = (f"{_OURS}{name}" for name in ("environment", "model", "commit", "verdict"))
"""Annotations of a record in its registry, by which one is found without being read."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a watch saw the release get, and when."""

    at: datetime
    kind: str
    step: int | None
    steps: int | None
    weight: int | None

    @classmethod
    def of(cls, verdict: Verdict) -> Stage:
        return cls(verdict.since or datetime.now(UTC), str(verdict.kind), verdict.step, verdict.steps, verdict.weight)

    def goes_on(self, before: Stage) -> bool:
        """It is no further than at the stage before."""
        return (self.kind, self.step, self.weight) == (before.kind, before.step, before.weight)


@dataclass(frozen=True, slots=True)
class Made:
    """What only the run that promoted knows: what each gate decided, and its own steps."""

    gates: tuple[Ruling, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Close:
    """How a promotion ended: `kind` is the verdict's, or Git's word. `restored` is the commit that brought `stable` back."""

    kind: str
    reason: str = ""
    summary: str = ""
    evidence: tuple[str, ...] = ()
    exit_code: int | None = None
    at: datetime | None = None
    revision: str = ""
    analyses: tuple[AnalysisRunState, ...] = ()
    stages: tuple[Stage, ...] = ()
    restored: str = ""
    stable: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One promotion that has ended. `run` is the MLflow run that the image names; `made` and `reviewed` None: not known."""

    environment: Environment
    committed: Committed
    close: Close
    run: str = ""
    made: Made | None = None
    reviewed: Reviewed | None = None

    @property
    def release(self) -> Release:
        return self.committed.release

    @property
    def annotations(self) -> dict[str, str]:
        when = self.close.at or self.committed.commit.when
        return {
            "org.opencontainers.image.created": _time(when),
            ENVIRONMENT: self.environment.name,
            MODEL: self.release.model,
            COMMIT: self.committed.commit.sha,
            VERDICT: self.close.kind,
        }

    def statement(self) -> bytes:
        """The same bytes each time: no clock is read, and there is one spelling of each value."""
        release = self.release
        subject = {"name": release.repository, "digest": {"sha256": release.digest.removeprefix("sha256:")}}
        value = {"_type": STATEMENT, "subject": [subject], "predicateType": PREDICATE, "predicate": self._predicate()}
        plainly: dict[str, Any] = plain(value)
        return canonical(plainly)

    def _predicate(self) -> dict[str, Any]:
        close, known = self.close, of_commit(self.environment, self.committed)
        reviewed = {
            "pullRequest": self.reviewed.url if self.reviewed else None,
            "approvers": self.reviewed.approvers if self.reviewed else None,
        }
        return {
            **known,
            "promoter": __version__,
            "model": {**known["model"], "run": self.run or None},
            "cluster": {"application": self.environment.application.name, "revision": close.revision or None},
            "git": {**known["git"], **_place(self.environment)},
            "people": {**known["people"], **reviewed},
            "gates": [_gate(one) for one in self.made.gates] if self.made else None,
            "steps": [_step(one) for one in self.made.steps] if self.made else None,
            "stages": [_stage(one) for one in close.stages],
            "analysis": [_analysis(one) for one in close.analyses],
            "verdict": {
                "kind": close.kind,
                "reason": close.reason or None,
                "summary": close.summary,
                "evidence": close.evidence,
                "exitCode": close.exit_code,
                "at": _time(close.at) if close.at else None,
            },
            "restored": {"commit": close.restored, "version": close.stable or None} if close.restored else None,
        }


def of_ending(ending: Ending, stages: Sequence[Stage]) -> Close:
    """Of a release that was watched to its end."""
    return _seen(ending.verdict, stages, int(ending.exit_code), ending.restored or "", ending.stable)


def of_verdict(verdict: Verdict, stages: Sequence[Stage] = (), exit_code: int | None = None) -> Close:
    """Of a release that was looked at."""
    return _seen(verdict, stages, exit_code, "", None)


def _seen(verdict: Verdict, stages: Sequence[Stage], exit_code: int | None, restored: str, stable: Release | None) -> Close:
    return Close(
        kind=str(verdict.kind),
        reason=str(verdict.reason or ""),
        summary=verdict.summary,
        evidence=verdict.evidence,
        exit_code=exit_code,
        at=verdict.since,
        revision=verdict.revision,
        analyses=verdict.analyses,
        stages=tuple(stages),
        restored=restored,
        stable=stable.version if restored and stable else "",
    )


def unwatched(why: str, stages: Sequence[Stage]) -> Close:
    """Of a release that a watch had to leave: `why` in a sentence."""
    return Close(NOT_WATCHED, summary=why, stages=tuple(stages), at=stages[-1].at if stages else None)


def of_git(ended: Outcome, by: str) -> Close:
    """Of a release that nobody watched to its end, from what Git has; `by` is the message of the commit that ended it."""
    restored = ended.commit if ended.end in (End.ABORTED, End.FAILED) else ""
    return Close(
        kind=str(ended.end),
        reason=ended.reason,
        summary="from Git alone: nobody recorded how it ended in the cluster",
        evidence=tuple(line for line in by.splitlines() if line) if restored else (),
        at=ended.until,
        restored=restored,
        stable=ended.version if restored else "",
    )


# -- parts of the predicate -------------------------------------------------------------------------------------------


def of_commit(environment: Environment, committed: Committed) -> dict[str, Any]:
    """What the commit alone decides, and a record of it has: whoever has the branch can check it."""
    release, commit, entry = committed.release, committed.commit, journal.of(committed.commit)
    known: dict[str, Any] = {
        "environment": environment.name,
        "model": {"name": release.model, "version": release.version, "digest": release.model_digest},
        "image": release.image,
        "git": {"commit": commit.sha, "committed": _time(commit.when), "act": str(outcome.act(environment, committed))},
        "people": {"author": commit.author, "requestedBy": entry.requested_by or None, "reason": entry.reason or None},
        "overridden": entry.overridden or None,
    }
    plainly: dict[str, Any] = plain(known)
    return plainly


def _place(environment: Environment) -> dict[str, Any]:
    application = environment.application
    return {
        "repository": without_credentials(application.repo_url),
        "branch": application.target_revision,
        "path": application.path,
    }


def _gate(ruling: Ruling) -> dict[str, Any]:
    return {"gate": ruling.gate, "about": ruling.about, "result": str(ruling.result), "detail": ruling.detail}


def _step(step: Step) -> dict[str, Any]:
    return {"name": step.name, "status": str(step.status), "detail": step.detail, "seconds": round(step.seconds, 3)}


def _stage(stage: Stage) -> dict[str, Any]:
    known = {"at": _time(stage.at), "kind": stage.kind, "step": stage.step, "steps": stage.steps, "weight": stage.weight}
    return {key: value for key, value in known.items() if value is not None}


def _analysis(run: AnalysisRunState) -> dict[str, Any]:
    metrics = [
        {
            "name": one.name,
            "phase": one.phase,
            "message": one.message,
            "limits": dict(one.limits),
            "measurements": one.values,
        }
        for one in run.metrics
    ]
    return {"name": run.name, "phase": run.phase, "message": run.message, "metrics": metrics}


def _time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- read again -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement as it was read: the image's digest that it is about, and its predicate."""

    digest: str
    predicate: Mapping[str, Any]

    def value(self, *keys: str) -> Any:
        """What is under these keys; None if it is not there."""
        found: Any = self.predicate
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def text(self, *keys: str) -> str:
        found = self.value(*keys)
        return found if isinstance(found, str) else ""


def parse(statement: bytes, where: str) -> Stated:
    """The statement, if it is a record of a promotion in the one spelling that promoter writes.

    Raises:
        RefusedError: it is something else; `where` names it.
    """
    hint = "made by another program or another version of promoter, or changed"
    value = decode(statement, where)
    if (value.get("_type"), value.get("predicateType")) != (STATEMENT, PREDICATE):
        raise RefusedError(f"{where} is no record of a promotion ({value.get('predicateType')})", hint=hint)
    subjects = objects(value, "subject", where)
    if len(subjects) != 1 or canonical(value) != statement:
        raise RefusedError(f"{where} is not as promoter writes a record", hint=hint)
    digest = section(subjects[0], "digest").get("sha256")
    return Stated(f"sha256:{digest}", section(value, "predicate"))


def shown(statement: bytes) -> str:
    """For people: the same, in lines."""
    return json.dumps(json.loads(statement), indent=2, ensure_ascii=False)
